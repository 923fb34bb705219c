//! The plans that come with serin, inside the binary; `scenarios/` holds the same files.

macro_rules! plans {
    ($($name:literal),*) => {
        /// Name and text of each.
        pub const PLANS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*];
    };
}

plans!("canary-good", "canary-errors", "canary-slow", "canary-empty", "canary-blind");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::plan::Plan;

    #[test]
    fn every_plan_is_sound() {
        for (name, text) in PLANS {
            let plan = Plan::parse(name, text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(plan.wiring.lacks(&plan.driver), None, "{name}");
        }
    }
}
