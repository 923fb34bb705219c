//! For CI: one test case an objective, and one for the verdict, so that "cannot tell" is never green.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::judge::verdict::Verdict;
use crate::report::error::ReportError;
use crate::report::record::Record;
use crate::run::objectives;

pub fn write(record: &Record) -> Result<String, ReportError> {
    let name = record.story.began.as_ref().map_or("serin".to_owned(), |b| format!("serin {} {}", b.kind, b.title));
    let mut suite = TestSuite::new(name.as_str());
    let verdict = match record.verdict() {
        Some(Verdict::Go) | None => TestCaseStatus::success(),
        Some(Verdict::No) => missed(NonSuccessKind::Failure, record.reason()),
        Some(Verdict::CannotTell) => missed(NonSuccessKind::Error, record.reason()),
    };
    suite.add_test_case(case("verdict", verdict, record));
    for judged in record.load.iter().flat_map(|l| &l.objectives) {
        let reason = if judged.reason.is_empty() { objectives::shown(judged) } else { judged.reason.clone() };
        let status = match judged.met {
            Some(true) => TestCaseStatus::success(),
            Some(false) => missed(NonSuccessKind::Failure, &reason),
            None => missed(NonSuccessKind::Error, &reason),
        };
        suite.add_test_case(case(&judged.expression, status, record));
    }
    let mut report = Report::new("serin");
    report.add_test_suite(suite);
    report.to_string().map_err(|e| ReportError::Form(e.to_string()))
}

fn missed(kind: NonSuccessKind, why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(why);
    status
}

fn case(name: &str, status: TestCaseStatus, record: &Record) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname("serin");
    if let Some(load) = &record.load {
        case.set_time(Duration::try_from_secs_f64(load.duration_s).unwrap_or_default());
    }
    case
}
