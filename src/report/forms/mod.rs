//! How a page looks: one file a form.

pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;

use super::compose;
use super::error::ReportError;
use super::form::Form;
use super::record::Record;

/// Returns the record in a form.
pub fn write(form: Form, record: &Record) -> Result<String, ReportError> {
    match form {
        Form::Html => Ok(html::write(&compose::page(record))),
        Form::Markdown => Ok(markdown::write(&compose::page(record))),
        Form::Json => json::write(record),
        Form::Junit => junit::write(record),
    }
}
