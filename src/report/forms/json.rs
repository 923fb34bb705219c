//! For machines: the run's own document, as `--json` printed it.

use crate::report::error::ReportError;
use crate::report::record::Record;

pub fn write(record: &Record) -> Result<String, ReportError> {
    let text = serde_json::to_string_pretty(&record.document);
    text.map(|t| t + "\n").map_err(|e| ReportError::Form(e.to_string()))
}
