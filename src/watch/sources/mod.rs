//! The kinds of sources; those of AWS stand behind the feature `aws`.

#[cfg(feature = "aws")]
pub mod cloudwatch;
#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod metrics;
pub mod prometheus;
