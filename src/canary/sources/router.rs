//! What the router of the local stack counted of each side and slice since it was asked last.

use std::path::Path;

use crate::canary::drivers::local::At;
use crate::canary::source::{Source, Taken};
use crate::canary::split::Counted;
use crate::judge::interval::{Interval, Side};
use crate::serve::router::Page;

#[derive(Debug)]
pub struct Router {
    at: At,
    last: Option<Page>,
}

impl Router {
    pub fn new(home: &Path) -> Result<Self, String> {
        Ok(Self { at: At::new(home)?, last: None })
    }

    fn page(&self) -> Result<Page, String> {
        let url = self.at.url()?.ok_or_else(|| "no stack is up".to_owned())?;
        let told = self.at.ask(false, &url)?;
        serde_json::from_value(told).map_err(|e| format!("its page is not as it should be: {e}"))
    }
}

impl Source for Router {
    fn name(&self) -> String {
        "the router of the local stack".to_owned()
    }

    fn take(&mut self) -> Result<Taken, String> {
        let page = self.page()?;
        let last = self.last.replace(page.clone());
        let last = last.ok_or_else(|| "its counters were read for the first time".to_owned())?;
        if last.epoch != page.epoch {
            return Err("the router was started again, and its counters with it".to_owned());
        }
        taken(&page, &last)
    }
}

fn taken(page: &Page, last: &Page) -> Result<Taken, String> {
    let since = |now: &Side, then: &Side| now.since(then).ok_or_else(|| "its counters went back".to_owned());
    let canary = since(&page.canary, &last.canary)?;
    let slices: Vec<Side> = page.slices.iter().zip(&last.slices).map(|(n, t)| since(n, t)).collect::<Result<_, _>>()?;
    let baseline = slices.iter().fold(Side::default(), |sum, one| sum.and(one));
    let interval = Interval {
        baseline: Some(baseline),
        canary: Some(canary),
        slices: slices.into_iter().map(Some).collect(),
        ..Interval::default()
    };
    let viewers = page.viewers.map(|(canary, all)| Counted { canary: canary as f64, all: all as f64 });
    Ok(Taken { interval, viewers })
}
