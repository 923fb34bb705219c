//! Load: scenarios, engines, the recorder, and what a second of load looks like.

pub mod answer;
pub mod audience;
pub mod dress;
pub mod engine;
pub mod engines;
pub mod error;
pub mod fold;
pub mod health;
pub mod library;
pub mod limit;
pub mod machine;
pub mod question;
pub mod recorder;
pub mod redact;
pub mod replay;
pub mod rows;
pub mod scenario;
pub mod schedule;

pub mod summary;
pub mod target;
pub mod template;
pub mod tick;
pub mod tls;
