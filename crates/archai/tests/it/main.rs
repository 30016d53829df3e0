//! The program as its users meet it: commands in, text, files and exit status out.

mod algos;
mod config;
mod desc;
mod help;
mod report;
mod run;
mod support;
