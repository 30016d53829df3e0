//! The program as its users meet it: commands in, text, files and exit status out.

mod algos;
mod arrows;
mod config;
mod crash;
mod data_faults;
mod data_found;
mod desc;
mod first_use;
mod front_door;
mod help;
mod import;
mod includes;
mod lab;
mod open;
mod pages;
mod predict;
mod proxies;
mod report;
mod run;
mod runs;
mod support;
mod template;
mod terminal;
mod track;
mod train;
mod vscode;
