//! Why a request failed, and what is wrong with an answer that came whole.

use super::answer::{Answer, Broken, says_throttled};
use super::question::Check;

/// Why a request failed; the words are those of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Timeout,
    Connect,
    Tls,
    Reset,
    /// Closed in the middle of an answer, or without one.
    Closed,
    Protocol,
    TooLarge,
    Redirect,
    Throttled,
    Status,
    Check,
    /// Unanswered when somebody stopped the run.
    Stopped,
}

impl Fault {
    /// What an answer that cannot be read is counted as.
    pub fn of_broken(broken: Broken) -> Self {
        match broken {
            Broken::TooLarge => Self::TooLarge,
            Broken::Closed => Self::Closed,
            _ => Self::Protocol,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::TooLarge => "too-large",
            Self::Redirect => "redirect",
            Self::Throttled => "throttled",
            Self::Status => "status",
            Self::Check => "check",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the time it took says something: what was never sent has no latency.
    pub fn has_latency(self) -> bool {
        !matches!(self, Self::Connect | Self::Tls)
    }
}

/// Returns what is wrong with a whole answer, if anything is.
pub fn of_answer(answer: &Answer, check: Option<&Check>) -> Option<(Fault, String)> {
    let said = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
    let bad = !(200..300).contains(&answer.status) && answer.status != 304;
    if bad && check.and_then(|c| c.status) != Some(answer.status) {
        let throttled = answer.throttled || answer.status == 429 || says_throttled(&answer.body);
        let fault = match answer.status {
            _ if throttled => Fault::Throttled,
            300..400 => Fault::Redirect,
            _ => Fault::Status,
        };
        return Some((fault, format!("{} {}", answer.status, said())));
    }
    check.and_then(|c| c.fault(answer.status, &answer.body)).map(|why| (Fault::Check, why))
}
