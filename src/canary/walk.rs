//! What the walk does next: state and what is seen in, one order out. Pure; `now` is any clock that never goes back.

use super::order::{Ending, Order, Phase, Seen, Wish};
use super::plan::{Plan, Policies, Stage, Undecided};
use crate::judge::sequential::Call;
use crate::judge::verdict::Verdict;
use crate::stats::units::Share;

/// A share that reads back within this is the one that was asked: weights are whole numbers.
const NEAR: f64 = 0.006;
/// How long a share that was set may take to read back as set.
const PATIENCE_S: f64 = 15.0;
/// So often a share that somebody else changed is set again within one stage.
const ASK_AGAIN: u32 = 5;
/// A look older than so many looks decides nothing.
const FRESH_LOOKS: f64 = 2.5;
/// How long zero is asked for again before the walk gives up and says so.
const ZERO_S: f64 = 60.0;

#[derive(Clone, Debug)]
pub struct Walk {
    stages: Vec<Stage>,
    policies: Policies,
    look_s: f64,
    /// The baseline alone is listened to before the first stage.
    warm_up_s: f64,
    phase: Phase,
    frozen: bool,
    approved: Option<usize>,
    /// The last judgement of this stage, and when it was made.
    judged: Option<(f64, Call, String)>,
    blind_since: Option<f64>,
    asked_again: u32,
    unread_since: Option<f64>,
    /// The stage and the share that an ended walk was left at.
    left_at: (usize, Option<f64>),
    /// Whose walk it is, for the sentence that asks for approval.
    target: String,
}

impl Walk {
    pub fn new(plan: &Plan) -> Self {
        Self {
            stages: plan.stages.clone(),
            policies: plan.policies,
            look_s: plan.look.as_secs_f64(),
            warm_up_s: plan.warm_up.as_secs_f64(),
            phase: Phase::Waiting,
            frozen: false,
            approved: None,
            judged: None,
            blind_since: None,
            asked_again: 0,
            unread_since: None,
            left_at: (0, None),
            target: plan.target.clone(),
        }
    }

    /// Looks come in this rhythm, where the numbers have one that is slower than the plan's.
    #[must_use]
    pub fn looking_each(mut self, look: std::time::Duration) -> Self {
        self.look_s = look.as_secs_f64();
        self
    }

    /// Takes up an earlier life in this stage, whose share was at least asked for.
    pub fn resume(&mut self, stage: usize, approved: bool, now: f64) -> Order {
        self.approved = approved.then_some(stage);
        self.set(stage, now, "resumed: the share is set and read again, and the stage's time begins anew".to_owned())
    }

    /// Takes up an earlier life that was on its way back.
    pub fn resume_back(&mut self, stage: usize, ending: Ending, now: f64) -> Order {
        self.back_to(stage, 0.0, ending, now, now)
    }

    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    pub fn frozen(&self) -> bool {
        self.frozen
    }

    /// Returns the stage that the share belongs to, counted from zero.
    pub fn stage(&self) -> usize {
        match self.phase {
            Phase::Setting { stage, .. } | Phase::Soaking { stage, .. } => stage,
            Phase::Back { from, .. } => from,
            Phase::Waiting => 0,
            Phase::Ended(_) => self.left_at.0,
        }
    }

    /// Returns the share that ought to be in force, where one was asked for.
    pub fn wanted(&self) -> Option<f64> {
        match self.phase {
            Phase::Setting { stage, .. } | Phase::Soaking { stage, .. } => Some(self.stages[stage].share.0),
            Phase::Back { share, .. } => Some(share),
            Phase::Waiting => None,
            Phase::Ended(_) => self.left_at.1,
        }
    }

    /// Returns the next order. Asked often; what it waits for may come at any time.
    pub fn step(&mut self, now: f64, seen: &Seen<'_>) -> Order {
        let mut go_now = false;
        for wish in seen.wishes {
            match wish {
                Wish::Freeze => self.frozen = true,
                Wish::Thaw => self.frozen = false,
                Wish::Approve => self.approved = Some(self.stage()),
                Wish::Go => go_now = true,
                Wish::RollBack => return self.back("somebody asked to roll back".to_owned(), Verdict::No, now),
            }
        }
        match self.phase.clone() {
            Phase::Waiting if self.frozen || seen.quiet.is_some() || now < self.warm_up_s => Order::Wait,
            Phase::Waiting => self.set(0, now, "the walk begins".to_owned()),
            Phase::Setting { stage, since } => self.verify(stage, since, now, seen),
            Phase::Soaking { stage, since } => self.soak(stage, since, go_now, now, seen),
            Phase::Back { from, share, since, began, ending } => {
                self.return_from(from, share, (since, began), ending, now, seen)
            }
            Phase::Ended(ending) => Order::End(ending),
        }
    }

    fn set(&mut self, stage: usize, now: f64, why: String) -> Order {
        self.phase = Phase::Setting { stage, since: now };
        self.judged = None;
        self.blind_since = None;
        self.asked_again = 0;
        self.unread_since = None;
        Order::Set { stage, share: self.stages[stage].share.0, why }
    }

    fn verify(&mut self, stage: usize, since: f64, now: f64, seen: &Seen<'_>) -> Order {
        let wanted = self.stages[stage].share;
        let found = match &seen.share {
            Some(Ok(share)) if (share - wanted.0).abs() <= NEAR => {
                self.phase = Phase::Soaking { stage, since: now };
                return Order::Begun { stage };
            }
            Some(Ok(share)) => format!("it reads {}", Share(*share)),
            Some(Err(why)) => format!("it cannot be read: {why}"),
            None => return Order::Wait,
        };
        if now - since < PATIENCE_S {
            return Order::Wait;
        }
        let reason =
            format!("{wanted} was set {PATIENCE_S:.0} s ago and {found}: the driver does not do what it is told");
        self.back(reason, Verdict::CannotTell, now)
    }

    fn soak(&mut self, stage: usize, since: f64, go_now: bool, now: f64, seen: &Seen<'_>) -> Order {
        if let Some(order) = self.watch_share(stage, now, seen) {
            return order;
        }
        if let Some(look) = seen.look {
            self.judged = Some((now, look.verdict, look.reason.clone()));
            if look.verdict == Call::Rollback {
                return self.back(look.reason.clone(), Verdict::No, now);
            }
            if look.verdict == Call::CannotTell {
                self.blind_since.get_or_insert(now);
            } else {
                self.blind_since = None;
            }
        }
        if let (Some(since), Some(most)) = (self.blind_since, self.policies.blind)
            && now - since >= most.as_secs_f64()
        {
            let why = self.judged.as_ref().map_or("", |j| j.2.as_str());
            let reason = format!("no verdict for {:.0} s, as the plan allows at most: {why}", now - since);
            return self.back(reason, Verdict::No, now);
        }
        let held = now - since;
        let own = &self.stages[stage];
        let fresh = self.judged.as_ref().filter(|j| now - j.0 <= FRESH_LOOKS * self.look_s + 1.0);
        let healthy = fresh.is_some_and(|j| j.1 == Call::Go);
        if held >= own.longest.as_secs_f64() && !healthy && !go_now {
            let may_rise = !self.frozen && seen.quiet.is_none();
            return if may_rise || self.policies.undecided != Undecided::Go {
                self.undecided(stage, now)
            } else {
                Order::Wait
            };
        }
        let held_long_enough = held >= own.hold.as_secs_f64() && healthy;
        if !(held_long_enough || go_now) || !self.may_advance(stage, go_now, seen) {
            return Order::Wait;
        }
        let why = if go_now { "somebody said go".to_owned() } else { fresh.map_or_else(String::new, |j| j.2.clone()) };
        self.advance(stage, why, now)
    }

    /// Whether nobody but the evidence holds the stage.
    fn may_advance(&self, stage: usize, go_now: bool, seen: &Seen<'_>) -> bool {
        let approved = !self.stages[stage].approval || self.approved == Some(stage) || go_now;
        approved && !self.frozen && seen.quiet.is_none()
    }

    fn advance(&mut self, stage: usize, why: String, now: f64) -> Order {
        if stage + 1 < self.stages.len() {
            return self.set(stage + 1, now, why);
        }
        let share = self.stages[stage].share;
        let reason = format!("walked out to {share} in {} stages; at the last one {why}", self.stages.len());
        self.end(Ending { verdict: Verdict::Go, reason, rolled_back: false })
    }

    fn undecided(&mut self, stage: usize, now: f64) -> Order {
        let (share, longest) = (self.stages[stage].share, self.stages[stage].longest);
        let last = self.judged.as_ref().map_or("nothing was judged", |j| j.2.as_str());
        let why = format!("stage {} at {share} was not decided in {:.0} s: {last}", stage + 1, longest.as_secs_f64());
        match self.policies.undecided {
            Undecided::Hold => {
                let reason = format!("{why}; held at {share}, as the plan says");
                self.end(Ending { verdict: Verdict::CannotTell, reason, rolled_back: false })
            }
            Undecided::RollBack => self.back(format!("{why}; rolled back, as the plan says"), Verdict::No, now),
            Undecided::Go => self.advance(stage, format!("{why}; goes on, as the plan says"), now),
        }
    }

    /// Notices a share that is not the one that was set: a proxy that restarted, or somebody else.
    fn watch_share(&mut self, stage: usize, now: f64, seen: &Seen<'_>) -> Option<Order> {
        let wanted = self.stages[stage].share;
        match seen.share.as_ref()? {
            Ok(share) if (share - wanted.0).abs() <= NEAR => {
                self.unread_since = None;
                None
            }
            Ok(share) if self.asked_again < ASK_AGAIN => {
                self.asked_again += 1;
                let why = format!("it read {} where {wanted} was set: set again", Share(*share));
                Some(Order::Set { stage, share: wanted.0, why })
            }
            Ok(share) => {
                let reason = format!(
                    "the share is changed to {} again and again where {wanted} was set: somebody else sets it too, and it \
                     is not fought over",
                    Share(*share)
                );
                Some(self.end(Ending { verdict: Verdict::CannotTell, reason, rolled_back: false }))
            }
            Err(_) => {
                self.unread_since.get_or_insert(now);
                None
            }
        }
    }

    fn back(&mut self, reason: String, verdict: Verdict, now: f64) -> Order {
        let ending = Ending { verdict, reason, rolled_back: true };
        if matches!(self.phase, Phase::Waiting | Phase::Ended(_)) {
            return self.end(ending);
        }
        if let Phase::Back { from, share, .. } = self.phase {
            // Already on its way: somebody who asks once more wants it at once.
            return if share > 0.0 { self.back_to(from, 0.0, ending, now, now) } else { Order::Wait };
        }
        let stage = self.stage();
        let urgent = self.policies.graceful.is_none() || verdict == Verdict::No && self.judged_bad();
        let share = if urgent || stage == 0 { 0.0 } else { self.stages[stage - 1].share.0 };
        self.back_to(stage, share, ending, now, now)
    }

    fn judged_bad(&self) -> bool {
        self.judged.as_ref().is_some_and(|j| j.1 == Call::Rollback)
    }

    fn back_to(&mut self, from: usize, share: f64, ending: Ending, now: f64, began: f64) -> Order {
        let reason = ending.reason.clone();
        self.phase = Phase::Back { from, share, since: now, began, ending };
        Order::Back { share, reason }
    }

    /// On the way back: asks again until it reads zero and nobody reaches the canary any more.
    fn return_from(
        &mut self,
        from: usize,
        share: f64,
        (since, began): (f64, f64),
        ending: Ending,
        now: f64,
        seen: &Seen<'_>,
    ) -> Order {
        let pause = self.policies.graceful.map_or(0.0, |g| g.as_secs_f64());
        if share > 0.0 {
            if now - since < pause {
                return Order::Wait;
            }
            let below = self.stages.iter().rev().map(|s| s.share.0).find(|s| *s < share).unwrap_or(0.0);
            return self.back_to(from, below, ending, now, began);
        }
        let zero = matches!(seen.share, Some(Ok(read)) if read <= 1e-9);
        if zero && seen.after_zero.is_none_or(|n| n == 0) {
            return self.end(ending);
        }
        if now - began >= ZERO_S {
            let why = match &seen.share {
                Some(Err(why)) => why.clone(),
                Some(Ok(read)) => format!("it reads {}", Share(*read)),
                None => "it cannot be read".to_owned(),
            };
            let reason = format!("{}; but zero could not be verified: {why}", ending.reason);
            return self.end(Ending { verdict: Verdict::CannotTell, reason, rolled_back: false });
        }
        if !zero && now - since >= 1.0 && seen.share.is_some() {
            return self.back_to(from, 0.0, ending, now, began);
        }
        Order::Wait
    }

    fn end(&mut self, ending: Ending) -> Order {
        self.left_at = (self.stage(), self.wanted());
        self.phase = Phase::Ended(ending.clone());
        Order::End(ending)
    }

    /// Says what the walk waits for, for a person.
    pub fn waits_for(&self, now: f64, quiet: Option<&str>) -> String {
        match &self.phase {
            Phase::Waiting => match quiet {
                Some(name) => format!("waits for the end of {name}"),
                None if now < self.warm_up_s => {
                    format!("listens to the baseline for {:.0} more s before it begins", self.warm_up_s - now)
                }
                None => "waits to begin".to_owned(),
            },
            Phase::Setting { stage, .. } => format!("waits for {} to read back", self.stages[*stage].share),
            Phase::Soaking { stage, since } => self.soaks_for(*stage, now - since, quiet),
            Phase::Back { share, .. } => format!("goes back to {}", Share(*share)),
            Phase::Ended(ending) => ending.reason.clone(),
        }
    }

    fn soaks_for(&self, stage: usize, held: f64, quiet: Option<&str>) -> String {
        let own = &self.stages[stage];
        let left = own.hold.as_secs_f64() - held;
        let last = self.judged.as_ref().map_or("waits for the first look".to_owned(), |j| j.2.clone());
        if left > 0.0 {
            return format!("{left:.0} s of its shortest time left; {last}");
        }
        let healthy = self.judged.as_ref().is_some_and(|j| j.1 == Call::Go);
        match (healthy, self.frozen, quiet) {
            (true, true, _) => "go, but frozen by somebody".to_owned(),
            (true, _, Some(name)) => format!("go, but not during {name}"),
            (true, ..) if own.approval && self.approved != Some(stage) => {
                format!("go, and waits for approval: `serin canary approve {}`, or A on the screen", self.target)
            }
            _ => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::sequential::Look;

    const PLAN: &str = "[canary]\ntarget='t'\ndriver='command'\nlook='1s'\n[[stage]]\nshare='10%'\nhold='10s'\nlongest='40s'\n\
                        [[stage]]\nshare='30%'\nhold='10s'\nlongest='40s'\napproval=true\n";

    fn plan(more: &str) -> Plan {
        Plan::parse("p", &PLAN.replace("look='1s'", &format!("look='1s'\n{more}"))).expect("reads")
    }

    fn look(verdict: Call) -> Look {
        Look { t: 0.0, verdict, reason: format!("{verdict:?}"), evidence: Vec::new() }
    }

    fn reads(share: f64) -> Seen<'static> {
        Seen { share: Some(Ok(share)), ..Seen::default() }
    }

    /// Lets seconds pass at a share that reads right, with the same judgement each second; stops at the first order.
    fn pass(walk: &mut Walk, from: f64, seconds: u32, share: f64, call: Call) -> (f64, Order) {
        let judged = look(call);
        for s in 0..seconds {
            let now = from + f64::from(s);
            match walk.step(now, &Seen { look: Some(&judged), ..reads(share) }) {
                Order::Wait => {}
                order => return (now, order),
            }
        }
        (from + f64::from(seconds), Order::Wait)
    }

    fn soaking() -> Walk {
        let mut walk = Walk::new(&plan(""));
        assert!(matches!(walk.step(0.0, &Seen::default()), Order::Set { stage: 0, .. }));
        assert_eq!(walk.step(0.5, &reads(0.1)), Order::Begun { stage: 0 });
        walk
    }

    #[test]
    fn a_healthy_canary_is_held_then_goes_on_then_waits_for_approval() {
        let mut walk = soaking();
        let (at, order) = pass(&mut walk, 1.0, 60, 0.1, Call::Go);
        assert!((10.5..12.0).contains(&at), "{at}");
        assert!(matches!(order, Order::Set { stage: 1, .. }), "{order:?}");
        assert_eq!(walk.step(12.0, &reads(0.3)), Order::Begun { stage: 1 });
        let (_, order) = pass(&mut walk, 13.0, 100, 0.3, Call::Go);
        assert_eq!(order, Order::Wait, "it waits as long as nobody approves");
        let told = walk.waits_for(113.0, None);
        assert_eq!(told, "go, and waits for approval: `serin canary approve t`, or A on the screen");
        let approve = Seen { wishes: &[Wish::Approve], ..reads(0.3) };
        let order = walk.step(113.0, &approve);
        assert!(matches!(&order, Order::End(e) if e.verdict == Verdict::Go), "{order:?}");
        assert_eq!((walk.stage(), walk.wanted()), (1, Some(0.3)), "an ended walk says where it was left");
    }

    #[test]
    fn a_bad_canary_goes_back_at_once_and_is_verified() {
        let mut walk = soaking();
        let bad = look(Call::Rollback);
        let order = walk.step(1.0, &Seen { look: Some(&bad), ..reads(0.1) });
        assert_eq!(order, Order::Back { share: 0.0, reason: "Rollback".to_owned() });
        assert_eq!(walk.step(1.2, &reads(0.1)), Order::Wait);
        assert!(matches!(walk.step(2.3, &reads(0.1)), Order::Back { share: 0.0, .. }), "asked again");
        assert_eq!(walk.step(2.4, &Seen { after_zero: Some(3), ..reads(0.0) }), Order::Wait, "requests still arrive");
        let order = walk.step(2.5, &Seen { after_zero: Some(0), ..reads(0.0) });
        assert!(matches!(&order, Order::End(e) if e.rolled_back && e.verdict == Verdict::No), "{order:?}");
    }

    #[test]
    fn without_numbers_it_neither_goes_on_nor_back_and_ends_undecided() {
        let mut walk = soaking();
        let (at, order) = pass(&mut walk, 1.0, 100, 0.1, Call::CannotTell);
        assert!((40.5..42.0).contains(&at), "{at}");
        let Order::End(ending) = order else { panic!("{order:?}") };
        assert_eq!((ending.verdict, ending.rolled_back), (Verdict::CannotTell, false));
        assert!(ending.reason.contains("held at 10.0 %"), "{}", ending.reason);
    }

    #[test]
    fn the_policies_of_a_plan_are_kept() {
        let cases = [
            ("undecided='roll back'", Call::Wait, "Back"),
            ("undecided='go'", Call::Wait, "Set"),
            ("blind='roll back after 5s'", Call::CannotTell, "Back"),
        ];
        for (policy, call, does) in cases {
            let mut walk = Walk::new(&plan(policy));
            walk.step(0.0, &Seen::default());
            walk.step(0.5, &reads(0.1));
            let (at, order) = pass(&mut walk, 1.0, 100, 0.1, call);
            assert!(format!("{order:?}").starts_with(does), "{policy}: {order:?}");
            assert!(call == Call::Wait || at < 8.0, "{policy}: {at}");
        }
    }

    #[test]
    fn a_lying_driver_is_taken_back_and_cannot_be_told() {
        let mut walk = Walk::new(&plan(""));
        walk.step(0.0, &Seen::default());
        let order = (1..40).map(|s| walk.step(f64::from(s), &reads(0.9))).find(|o| *o != Order::Wait);
        let Some(Order::Back { share, reason }) = order else { panic!("{order:?}") };
        assert_eq!(share, 0.0);
        assert!(reason.contains("10.0 % was set 15 s ago and it reads 90.0 %"), "{reason}");
    }

    #[test]
    fn a_restarted_proxy_is_set_again_and_a_rival_is_not_fought() {
        let mut walk = soaking();
        assert!(matches!(walk.step(1.0, &reads(0.0)), Order::Set { stage: 0, .. }));
        assert_eq!(walk.step(2.0, &reads(0.1)), Order::Wait);
        let last = (3..30).map(|s| walk.step(f64::from(s), &reads(0.5))).last();
        assert!(matches!(last, Some(Order::End(e)) if e.verdict == Verdict::CannotTell));
    }

    #[test]
    fn frozen_or_quiet_nothing_rises_but_it_still_goes_back() {
        for (wishes, quiet) in [(vec![Wish::Freeze], None), (vec![], Some("the final"))] {
            let mut walk = soaking();
            walk.step(1.0, &Seen { wishes: &wishes, ..reads(0.1) });
            let good = look(Call::Go);
            for s in 2..200 {
                let order = walk.step(f64::from(s), &Seen { look: Some(&good), quiet, ..reads(0.1) });
                assert_eq!(order, Order::Wait);
            }
            let bad = look(Call::Rollback);
            let order = walk.step(200.0, &Seen { look: Some(&bad), quiet, ..reads(0.1) });
            assert!(matches!(order, Order::Back { .. }));
        }
    }

    #[test]
    fn a_graceful_way_back_stops_at_the_stages_between() {
        let mut walk = Walk::new(&plan("graceful='3s'"));
        walk.resume(1, false, 0.0);
        walk.step(0.5, &reads(0.3));
        let order = walk.step(1.0, &Seen { wishes: &[Wish::RollBack], ..reads(0.3) });
        assert!(matches!(order, Order::Back { share, .. } if share == 0.1), "{order:?}");
        assert_eq!(walk.step(2.0, &reads(0.1)), Order::Wait);
        assert!(matches!(walk.step(4.5, &reads(0.1)), Order::Back { share, .. } if share == 0.0));
    }

    #[derive(Clone, Debug)]
    struct Moment {
        pause: f64,
        share: Option<Result<f64, String>>,
        call: Option<Call>,
        wish: Option<Wish>,
        quiet: bool,
    }

    fn moments() -> impl Strategy<Value = Vec<Moment>> {
        let share = prop_oneof![
            Just(None),
            Just(Some(Err("gone".to_owned()))),
            prop_oneof![Just(0.0), Just(0.1), Just(0.3), Just(0.77)].prop_map(|s| Some(Ok(s))),
        ];
        let call = prop::option::of(prop_oneof![
            6 => Just(Call::Go), 3 => Just(Call::Wait), 2 => Just(Call::CannotTell), 1 => Just(Call::Rollback)]);
        let wish = prop::option::weighted(
            0.1,
            prop_oneof![
                Just(Wish::Approve),
                Just(Wish::Freeze),
                Just(Wish::Thaw),
                Just(Wish::Go),
                Just(Wish::RollBack)
            ],
        );
        let one = (0.0..15.0f64, share, call, wish, prop::bool::weighted(0.1));
        let one = one.prop_map(|(pause, share, call, wish, quiet)| Moment { pause, share, call, wish, quiet });
        prop::collection::vec(one, 0..120)
    }

    proptest! {
        #[test]
        fn no_share_rises_without_a_reason_and_none_after_the_way_back(moments in moments()) {
            let plan = plan("");
            let mut walk = Walk::new(&plan);
            let (mut now, mut highest, mut back) = (0.0, 0.0_f64, false);
            for m in moments {
                now += m.pause;
                let judged = m.call.map(look);
                let wishes: Vec<Wish> = m.wish.into_iter().collect();
                let stage = walk.stage();
                let was = walk.phase().clone();
                let seen = Seen {
                    share: m.share, look: judged.as_ref(), wishes: &wishes,
                    quiet: m.quiet.then_some("the final"), after_zero: None,
                };
                match walk.step(now, &seen) {
                    Order::Set { share, stage: to, .. } => {
                        prop_assert!(!back, "a share was set on the way back");
                        prop_assert!(to <= stage + 1);
                        prop_assert_eq!(share, plan.stages[to].share.0);
                        if share > highest && highest > 0.0 {
                            let Phase::Soaking { since, .. } = was else { panic!("rose out of {was:?}") };
                            prop_assert!(wishes.contains(&Wish::Go) || now - since >= 10.0);
                            prop_assert!(!m.quiet);
                        }
                        highest = highest.max(share);
                    }
                    Order::Back { share, .. } => { prop_assert_eq!(share, 0.0); back = true; }
                    Order::End(e) => {
                        prop_assert!(!e.rolled_back || highest == 0.0 || matches!(seen.share, Some(Ok(s)) if s == 0.0) || matches!(was, Phase::Ended(_)));
                        prop_assert!(e.verdict != Verdict::Go || highest == 0.3);
                    }
                    Order::Begun { .. } | Order::Wait => {}
                }
                if judged.as_ref().is_some_and(|l| l.verdict == Call::Rollback) && matches!(was, Phase::Soaking { .. }) {
                    prop_assert!(!matches!(walk.phase(), Phase::Setting { .. }), "it rose against the verdict");
                }
            }
        }
    }
}
