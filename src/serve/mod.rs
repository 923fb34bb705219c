//! Serving: the catalogue, filters, published lists, tokens, the HTTP API, and the stack on one machine.
//!
//! Why a file of our own for the lists, and not a database: they are written once a night and read all day. One
//! immutable file a generation, found through a small index in memory, is swapped by one rename and rolled back the
//! same way; a database would give transactions that nobody needs and take them out of every read. Lists are read with
//! `pread`, not through a memory map: a disk that fails gives an error, which becomes a degraded answer, where a map
//! would end the process. A store that must take single writes all day would change our mind.
//!
//! Why hyper by hand, and not a framework: one route takes nearly every request. What it costs is measured by
//! `cargo bench --bench serve`; a second busy route would make a router worth its price.

pub mod answer;
pub mod api;
pub mod auth;
pub mod aws;
pub mod bits;
pub mod catalogue;
pub mod error;
pub mod exposures;
pub mod expression;
pub mod expression_text;
pub mod faults;
pub mod filter;
pub mod front;
pub mod jwks;
pub mod limiter;
pub mod live;
pub mod meter;
pub mod personalize;
pub mod posts;
pub mod practice;
pub mod problem;
pub mod publish;
#[cfg(feature = "aws")]
pub mod publish_table;
pub mod recent;
pub mod refresh;
pub mod replicas;
pub mod router;
pub mod routes;
pub mod rules;
pub mod rules_file;
pub mod secret;
pub mod server;
pub mod stack;
pub mod stand_in;
pub mod store;
pub mod stores;
pub mod supervisor;
pub mod table_limit;
pub mod tally;
pub mod trail;
pub mod trouble;
pub mod viewers;
pub mod wish;
pub mod world;
