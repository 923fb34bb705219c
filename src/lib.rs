//! serin takes a recommendation service to production and keeps it there.
//!
//! The rooms lie on floors; imports run down only (`tests/house.rs` guards that):
//! `cli` 7, `console` and `report` 6, `run` 5, `canary` `cost` `incident` `experiment` 4,
//! `load` `serve` 3, `model` `watch` `judge` 2, `stats` `domain` `durable` `journal` `lock` `sigv4` 1.

pub mod cli;

pub mod console;
pub mod report;

pub mod run;

pub mod canary;
pub mod cost;
pub mod experiment;
pub mod incident;

pub mod load;
pub mod serve;

pub mod judge;
pub mod model;
pub mod watch;

pub mod domain;
pub mod durable;
pub mod journal;
pub mod lock;
pub mod program;
pub mod sigv4;
pub mod stats;
pub mod stop;
pub mod toml_file;
