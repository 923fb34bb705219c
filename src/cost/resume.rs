//! How a way down begins: from recorded demand, from the journal of an earlier life, or from what is set.

use super::demand::Demand;
use super::descend::Order;
use super::error::CostError;
use super::record::Record;
use super::simulate::units_of;
use super::step::StepVerdict;
use super::way::{Ended, Way};

/// Shorter outages than this (a restart) do not hold the way down for a day.
pub(super) const OUTAGE_S: f64 = 900.0;

pub(super) fn begins(history: Option<&Demand>, kept: &[Record], now: f64) -> f64 {
    let first = kept.iter().find_map(|r| match r {
        Record::Began { at, .. } => Some(*at),
        _ => None,
    });
    let recorded = history.and_then(|d| d.samples.first()).map(|s| s.from);
    first.into_iter().chain(recorded).fold(now, f64::min)
}

impl Way<'_> {
    /// Lets the planner see recorded demand, up to now.
    pub fn learn(&mut self, demand: &Demand, now: f64) -> Result<(), CostError> {
        let mut until = f64::NAN;
        for sample in demand.samples.iter().filter(|s| s.until <= now + 60.0) {
            let rate = units_of(sample, &self.plan.unit, &demand.name)?;
            if sample.from > until + 1e-6 {
                self.planner.blind(sample.from);
            }
            self.planner.saw(rate, sample.from, sample.until);
            until = sample.until;
        }
        for (at, why) in demand.zones.iter().filter(|(at, _)| *at <= now) {
            self.planner.doubts(*at, why.clone());
        }
        self.learnt = until.max(0.0);
        if now - until > OUTAGE_S {
            self.planner.blind(now);
        }
        Ok(())
    }

    /// Takes up an earlier life from its journal: what was seen, what was set, and what was only meant.
    pub fn resume(&mut self, kept: &[Record], reading: u64, now: f64) -> Result<Option<Ended>, CostError> {
        let mut expected = None;
        let mut meant: Option<(u64, u64, StepVerdict)> = None;
        let mut until = f64::NAN;
        for record in kept {
            match record {
                Record::Began { capacity, at } => {
                    expected = Some(*capacity);
                    self.planner.took(*at, *capacity, StepVerdict::Hold);
                }
                Record::Saw { from, until: end, units } => {
                    if *from > until.max(self.learnt) + OUTAGE_S {
                        self.planner.blind(*from);
                    }
                    until = *end;
                    if *end <= self.learnt {
                        continue; // the recorded demand tells the same time
                    }
                    self.planner.saw(units / (end - from).max(1e-3), *from, *end);
                }
                Record::Intent { from, to, verdict, .. } => meant = Some((*from, *to, *verdict)),
                Record::Set { at, capacity } => {
                    let verdict = meant.take().map_or(StepVerdict::Hold, |m| m.2);
                    self.planner.took(*at, *capacity, verdict);
                    expected = Some(*capacity);
                }
                Record::Incident { at, floor } => self.planner.recall(*at, floor.clone()),
                Record::Held { on, .. } => self.planner.stay(*on),
                Record::Ended { .. } => {}
            }
        }
        if now > until.max(self.learnt) + OUTAGE_S {
            self.planner.blind(now);
        }
        let Some(expected) = expected else { return self.start(reading, now).map(|()| None) };
        match meant {
            // Killed between the act and its record: what the knob says is what happened.
            Some((_, to, verdict)) if reading == to => {
                self.planner.took(now, to, verdict);
                self.write(&Record::Set { at: now, capacity: to })?;
            }
            _ if reading == expected => self.planner.took(now, reading, StepVerdict::Hold),
            _ => return Ok(Some(self.foreign(now, expected, reading))),
        }
        (self.say)(format!("goes on from the journal at {reading} {}", self.plan.unit.name));
        let reason = format!("goes on at {reading}, {} records kept", kept.len());
        self.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason });
        Ok(None)
    }

    /// The first life: from what is set, up to the plan's start where less is set, never down to it unproved.
    fn start(&mut self, reading: u64, now: f64) -> Result<(), CostError> {
        self.write(&Record::Began { at: now, capacity: reading })?;
        self.planner.took(now, reading, StepVerdict::Hold);
        let reason = format!("starts with {reading} {}, as it is set", self.plan.unit.name);
        self.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason });
        if reading < self.plan.start {
            let reason = format!("the plan starts with {}", self.plan.start);
            self.planner.took(now, self.plan.start, StepVerdict::Up);
            self.act(now, reading, Order { to: self.plan.start, verdict: StepVerdict::Up, reason })?;
        }
        Ok(())
    }
}
