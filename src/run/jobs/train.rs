//! Does a `serin train`: viewings to a model folder.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::model_work::model_work;
use crate::model::dataset::{Dataset, Source};
use crate::model::files;
use crate::model::kernel;
use crate::model::training::{self, Ask};
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::units::grouped;

#[derive(Debug)]
pub struct Train {
    pub source: Source,
    pub ask: Ask,
    pub out: PathBuf,
    /// 0 is one a core.
    pub threads: usize,
}

impl Job for Train {
    fn kind(&self) -> &'static str {
        "train"
    }

    fn title(&self) -> String {
        format!("rank {}, {} iterations → {}", self.ask.rank, self.ask.iterations, self.out.display())
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let began = Instant::now();
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (trained, told, id) = model_work(desk, self.threads, |tell| {
            self.ask.check()?;
            files::may_write(&self.out)?;
            let data = Dataset::read(&self.source, &desk.stop, tell)?;
            let told = data.told.clone();
            let trained = training::train(data, &self.ask, &desk.stop, tell)?;
            let id = trained.write(&self.out, &now)?;
            Ok((trained, told, id))
        })?;
        let each = median(&trained.factors.seconds);
        let (loss, rss, kernel) = (&trained.factors.loss, peak_rss_mb(), kernel::best().name);
        let seconds = began.elapsed().as_secs_f64();
        let mut lines = told.lines();
        lines.push(format!(
            "{id}: {} viewers, {} programmes, rank {}, {}",
            grouped(trained.viewers() as u64),
            grouped(trained.programmes() as u64),
            self.ask.rank,
            self.ask.convention.word()
        ));
        lines.push(format!(
            "{} iterations of {each:.3} s ({kernel}), {seconds:.1} s in all; loss {:.4e} → {:.4e}{}",
            loss.len(),
            loss.first().copied().unwrap_or_default(),
            loss.last().copied().unwrap_or_default(),
            rss.map_or(String::new(), |mb| format!("; {mb:.0} MB at most"))
        ));
        lines.push(format!("model: {}", self.out.display()));
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: String::new(),
            document: json!({
                "schema": "serin.train/1",
                "id": id,
                "users": trained.viewers(),
                "items": trained.programmes(),
                "interactions": trained.viewings(),
                "rank": self.ask.rank,
                "regularization": as_written(self.ask.regularization),
                "alpha": as_written(self.ask.alpha),
                "convention": self.ask.convention,
                "iterations": self.ask.iterations,
                "seed": self.ask.seed,
                "event_value": self.ask.event,
                "kernel": kernel,
                "read": told,
                "seconds_total": seconds,
                "seconds_per_iteration": each,
                "peak_rss_mb": rss,
                "loss": loss,
                "model": self.out.display().to_string(),
            }),
            lines,
            stopped: false,
        })
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Returns the most memory this process has held, as the kernel counts it (VmHWM).
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kb / 1024.0)
}

/// 0.1 stays 0.1 in a document, and does not become 0.10000000149.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
