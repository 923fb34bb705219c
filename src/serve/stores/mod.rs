//! The kinds of stores.

#[cfg(feature = "aws")]
pub mod dynamo;
pub mod embedded;
pub mod objects;
pub mod remote;
pub mod table;
#[cfg(feature = "aws")]
pub mod writer;
