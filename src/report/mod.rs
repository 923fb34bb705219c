//! A run as a page, in several forms; read from the run's folder alone, so that a killed run has its report too.
//!
//! `compose` decides what is said and in which order; a form only decides how it looks. Pictures are data on the page
//! (slices of time, values, the objective's line), with a sentence that tells the same to who cannot see them.

pub mod compose;
pub mod error;
pub mod form;
pub mod forms;
pub mod page;
pub mod record;
pub mod svg;
pub mod walk;
pub mod way;

use std::path::Path;

use error::ReportError;
use form::Form;
use record::Record;

/// Returns a run's report in one form.
pub fn render(folder: &Path, form: Form) -> Result<String, ReportError> {
    forms::write(form, &Record::read(folder)?)
}

/// Writes every form of a run's report into its folder; what fails never stops the rest, and the first failure is told.
pub fn write_all(folder: &Path) -> Result<(), ReportError> {
    let record = Record::read(folder)?;
    let gate = record.story.began.as_ref().is_some_and(|b| b.kind == "gate");
    let wanted = [Form::Html, Form::Markdown].into_iter().chain(gate.then_some(Form::Junit));
    let written = wanted.map(|form| {
        let path = folder.join(form.file());
        let text = forms::write(form, &record)?;
        crate::durable::write(&path, text.as_bytes()).map_err(|e| ReportError::Unwritable(path, e))
    });
    written.collect::<Vec<_>>().into_iter().collect()
}
