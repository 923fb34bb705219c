//! What a person wants of a way down under way, heard between two looks: step, hold, go on, undo.

use super::descend::Order;
use super::record::Record;
use super::step::StepVerdict;
use super::told::{self, Wish};
use super::way::Way;

impl Way<'_> {
    /// What a person asked for since the last look; the newest wish counts.
    pub fn wished(&mut self, now: f64) -> Option<Order> {
        let asked = told::asked(self.wishes.as_deref().filter(|path| path.is_file())?);
        let wish = *asked.get(self.heard..)?.last()?;
        self.heard = asked.len();
        let capacity = self.planner.capacity();
        let stay = |reason: String| Some(Order { to: capacity, verdict: StepVerdict::Hold, reason });
        match wish {
            Wish::Step if self.proving.is_some() => stay(format!("stays at {capacity}: the next step is being proved")),
            Wish::Step => {
                self.planner.stay(false);
                Some(self.planner.step_now(now))
            }
            Wish::Hold | Wish::GoOn => {
                self.stay(now, wish == Wish::Hold);
                let on = wish == Wish::Hold;
                stay(if on { format!("stays at {capacity}: somebody asked") } else { "goes on, as asked".to_owned() })
            }
            Wish::Undo => match self.climbed.pop() {
                Some(to) => {
                    self.stay(now, true);
                    self.planner.took(now, to, StepVerdict::Up);
                    let reason = format!(
                        "{capacity} → {to}: somebody asked for the step back; stays there until told otherwise"
                    );
                    Some(Order { to, verdict: StepVerdict::Up, reason })
                }
                None => stay(format!("stays at {capacity}: there is no step to undo")),
            },
        }
    }

    fn stay(&mut self, now: f64, on: bool) {
        self.give_up_proof(now);
        self.planner.stay(on);
        if let Err(e) = self.write(&Record::Held { at: now, on }) {
            (self.say)(e.to_string());
        }
    }
}
