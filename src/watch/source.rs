//! What a source of numbers must do: say its name, and answer with samples or with why not.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::error::WatchError;
use super::sample::Sample;

/// The longest that one source is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The past that is asked for, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub from: f64,
    pub to: f64,
}

/// What a source answers, in the end.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Vec<Sample>, WatchError>> + Send + 'a>>;

/// A place that numbers come from; its kinds live in `sources/`.
pub trait Source: Send + Sync {
    /// Its name for a person: "metrics of http://..", "Prometheus at ..".
    fn name(&self) -> String;

    /// Returns what it knows of the span; a source without a past returns the present.
    fn ask(&self, span: Span) -> Answering<'_>;
}

/// One source's answer, and how long it took.
#[derive(Clone, Debug)]
pub struct Told {
    pub source: String,
    pub took: Duration,
    pub answer: Result<Vec<Sample>, WatchError>,
}

/// Asks one source, with patience; a hanging one says so and holds up nobody.
pub async fn ask(source: &dyn Source, span: Span) -> Told {
    let began = Instant::now();
    let answer = match tokio::time::timeout(PATIENCE, source.ask(span)).await {
        Ok(answer) => answer,
        Err(_) => Err(WatchError::Late { at: source.name(), after: PATIENCE }),
    };
    Told { source: source.name(), took: began.elapsed(), answer }
}
