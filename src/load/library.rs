//! The scenarios that come with serin, inside the binary; `scenarios/` holds the same files.

use std::path::Path;

use super::error::LoadError;
use super::scenario::{self, Scenario};

macro_rules! scenarios {
    ($($name:literal),*) => {
        /// Name and text of each.
        pub const SCENARIOS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*];
    };
}

scenarios!("evening-short", "evening-peak", "viewing-evening", "ramp", "spike", "soak", "personalize-wall");

/// Opens a file if there is one of this name, else the scenario that is built in: `evening-peak`,
/// `scenarios/evening-peak.toml`.
pub fn open(asked: &Path) -> Result<Scenario, LoadError> {
    if asked.is_file() {
        return scenario::read(asked);
    }
    let text = asked.to_string_lossy();
    let name = text.trim_start_matches("scenarios/").trim_end_matches(".toml");
    if let Some((_, text)) = SCENARIOS.iter().find(|(known, _)| *known == name) {
        return scenario::parse(&format!("scenarios/{name}.toml"), text, None);
    }
    let known: Vec<&str> = SCENARIOS.iter().map(|(n, _)| *n).collect();
    let near = crate::toml_file::nearest(name, known.iter().copied());
    let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    let built_in = known.join(", ");
    Err(LoadError::Asked(format!("there is no scenario {text}{hint} (a file, or one of: {built_in})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_sound_and_opens_by_either_name() {
        for (name, _) in SCENARIOS {
            let one = open(Path::new(name)).unwrap_or_else(|e| panic!("{e}"));
            let two = open(Path::new(&format!("scenarios/{name}.toml"))).expect("opens");
            assert_eq!(one.name, two.name);
            assert!(one.schedule.planned().is_some_and(|n| n > 1000), "{name}");
            assert!(!one.objectives.is_empty(), "{name}");
        }
        let error = open(Path::new("evening-paek")).err().expect("refused").to_string();
        assert!(error.contains("did you mean `evening-peak`?"), "{error}");
    }
}
