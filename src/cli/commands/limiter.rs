//! `serin limiter`: a table's limits before a local DynamoDB server, until it is told to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::table_limit::{Front, Limits, serve};
use crate::stats::units::parse_duration;

/// Put a table's limits before a local DynamoDB server
///
/// Local servers never throttle. This one does as DynamoDB would: read and write units a second, five minutes of unused
/// ones kept, ProvisionedThroughputExceededException and unprocessed items beyond. UpdateTable changes the limits,
/// GetMetricData tells what CloudWatch would, `GET /limits` what would be billed.
#[derive(clap::Args)]
#[command(after_help = "Example: serin limiter --upstream http://127.0.0.1:8000 --wcu 500 --rcu 500")]
pub struct Limiter {
    /// Where it listens
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8001)))]
    listen: SocketAddr,
    /// The server behind it
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Read units a second
    #[arg(long, value_name = "UNITS", default_value_t = 40_000.0)]
    rcu: f64,
    /// Write units a second
    #[arg(long, value_name = "UNITS", default_value_t = 40_000.0)]
    wcu: f64,
    /// How much unused capacity is kept
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    burst: Duration,
}

impl Limiter {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if [self.rcu, self.wcu].iter().any(|u| !u.is_finite() || *u <= 0.0) {
            return Err(RunError::misuse("--rcu and --wcu must be above zero"));
        }
        let front = Front::new(&self.upstream, Limits::new(self.rcu, self.wcu, self.burst.as_secs_f64()));
        let front = Arc::new(front.map_err(RunError::misuse)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let quiet = session.global.quiet;
        let stop = session.stop.clone();
        let told = move |at| {
            if !quiet {
                eprintln!("ready: http://{at}");
            }
        };
        let failed = |e: std::io::Error| {
            RunError::misuse(format!("cannot listen on {}: {e}", self.listen))
                .hint("choose another address with --listen")
        };
        runtime.map_err(RunError::cannot_tell)?.block_on(async {
            tokio::select! {
                ended = serve(self.listen, front, told) => ended.map_err(failed),
                () = async { while !stop.requested() { tokio::time::sleep(Duration::from_millis(50)).await } } => Ok(()),
            }
        })?;
        Ok(Exit::Go)
    }
}
