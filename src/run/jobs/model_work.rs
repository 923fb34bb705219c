//! What every job about data and models does alike: threads, progress, and errors in the run's words.

use crate::model::error::ModelError;
use crate::model::recommend::pool;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::Desk;
use crate::stats::progress::{Progress, Tell};

/// Does `work` on that many threads (0: one a core), telling the desk of its progress.
pub fn model_work<T: Send>(
    desk: &Desk,
    threads: usize,
    work: impl FnOnce(Tell) -> Result<T, ModelError> + Send,
) -> Result<T, RunError> {
    let done = pool(threads)
        .and_then(|pool| pool.install(|| work(&mut |progress: Progress| desk.tell(Event::Progress(progress)))));
    done.map_err(told)
}

fn told(error: ModelError) -> RunError {
    let run = match &error {
        ModelError::Stopped => RunError::Stopped,
        // A disk that is full or refuses is no misuse; a file that is not there is.
        ModelError::Io { doing: "written", .. } => RunError::cannot_tell(&error),
        _ => RunError::misuse(&error),
    };
    match error.hint() {
        Some(hint) => run.hint(hint),
        None => run,
    }
}
