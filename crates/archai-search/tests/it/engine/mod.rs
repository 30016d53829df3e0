mod cells;
mod forest;
mod front;
mod journal;
mod optimisers;
mod study;
