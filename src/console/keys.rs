//! The one table of keys: help, the bottom line and the manual are read from it, so they cannot lie.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::screen::Name;

/// Everything a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Show(Name),
    NextScreen,
    PreviousScreen,
    Up,
    Down,
    Open,
    /// Shows a past run as if it had just ended.
    Look,
    Back,
    Filter,
    Mark,
    Compare,
    /// Makes a past run what later ones are compared with.
    Keep,
    Freeze,
    StopLoad,
    StepNow,
    HoldHere,
    UndoStep,
    Prices,
    WhatIf,
    Check,
    Approve,
    GoNow,
    Hold,
    RollBack,
    Export,
    CopyText,
    Help,
    Quit,
    Interrupt,
    Suspend,
    Yes,
    No,
}

/// Where a key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Everywhere,
    On(Name),
    /// While a question waits for its answer.
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The first is the one that is shown.
    pub keys: &'static [&'static str],
    pub action: Action,
    pub name: &'static str,
    pub place: Place,
    /// Whether it changes the world; then it asks first.
    pub dangerous: bool,
    /// Whether the bottom line has room for it.
    pub bar: bool,
}

const fn bind(keys: &'static [&'static str], action: Action, name: &'static str, place: Place) -> Binding {
    Binding { keys, action, name, place, dangerous: false, bar: true }
}

const fn quiet(binding: Binding) -> Binding {
    Binding { bar: false, ..binding }
}

const fn dangerous(binding: Binding) -> Binding {
    Binding { dangerous: true, ..binding }
}

use Action::{
    Approve, Back, Check, Compare, CopyText, Down, Export, Filter, Freeze, GoNow, Help, Hold, HoldHere, Interrupt,
    Keep, Look, Mark, NextScreen, No, Open, PreviousScreen, Prices, Quit, RollBack, Show, StepNow, StopLoad, Suspend,
    UndoStep, Up, WhatIf, Yes,
};
use Place::{Asked, Everywhere, On};

static TABLE: &[Binding] = &[
    bind(&["up", "k"], Up, "one row up", On(Name::Runs)),
    quiet(bind(&["down", "j"], Down, "one row down", On(Name::Runs))),
    bind(&["enter"], Look, "look into it", On(Name::Runs)),
    bind(&["o"], Open, "open its report", On(Name::Runs)),
    bind(&["space"], Mark, "mark", On(Name::Runs)),
    bind(&["c"], Compare, "compare the marked", On(Name::Runs)),
    bind(&["b"], Keep, "make it the baseline", On(Name::Runs)),
    bind(&["/"], Filter, "filter", On(Name::Runs)),
    bind(&["space"], Freeze, "freeze the picture", On(Name::Load)),
    dangerous(bind(&["s"], StopLoad, "stop the load", On(Name::Load))),
    bind(&["b"], Keep, "make it the baseline", On(Name::Load)),
    quiet(dangerous(bind(&["s"], StopLoad, "stop the run", On(Name::Overview)))),
    dangerous(bind(&["N", "n"], StepNow, "next step now", On(Name::Cost))),
    bind(&["h", "H"], HoldHere, "hold here, or go on", On(Name::Cost)),
    dangerous(bind(&["U", "u"], UndoStep, "undo the last step", On(Name::Cost))),
    bind(&["p"], Prices, "prices", On(Name::Cost)),
    bind(&["w"], WhatIf, "what if", On(Name::Cost)),
    quiet(bind(&["up", "k"], Up, "what if there were more demand", On(Name::Cost))),
    quiet(bind(&["down", "j"], Down, "what if there were less", On(Name::Cost))),
    dangerous(bind(&["s"], StopLoad, "stop the run", On(Name::Cost))),
    quiet(dangerous(bind(&["s"], StopLoad, "stop the run", On(Name::Model)))),
    bind(&["up", "k"], Up, "one check up", On(Name::Incident)),
    quiet(bind(&["down", "j"], Down, "one check down", On(Name::Incident))),
    bind(&["r"], Check, "check again", On(Name::Incident)),
    dangerous(bind(&["R"], RollBack, "roll back", On(Name::Canary))),
    dangerous(bind(&["A"], Approve, "approve", On(Name::Canary))),
    dangerous(bind(&["H"], Hold, "hold / go on", On(Name::Canary))),
    dangerous(bind(&["G"], GoNow, "go now", On(Name::Canary))),
    bind(&["e"], Export, "write the report", Everywhere),
    bind(&["y"], CopyText, "copy", Everywhere),
    quiet(bind(&["1"], Show(Name::Overview), "Overview", Everywhere)),
    quiet(bind(&["2"], Show(Name::Load), "Load", Everywhere)),
    quiet(bind(&["3"], Show(Name::Canary), "Canary", Everywhere)),
    quiet(bind(&["4"], Show(Name::Cost), "Cost", Everywhere)),
    quiet(bind(&["5"], Show(Name::Model), "Model", Everywhere)),
    quiet(bind(&["6"], Show(Name::Incident), "Incident", Everywhere)),
    quiet(bind(&["7"], Show(Name::Runs), "Runs", Everywhere)),
    bind(&["tab", "right", "l"], NextScreen, "next screen", Everywhere),
    quiet(bind(&["shift-tab", "left", "h"], PreviousScreen, "previous screen", Everywhere)),
    quiet(bind(&["esc"], Back, "back", Everywhere)),
    bind(&["?"], Help, "keys", Everywhere),
    dangerous(bind(&["q"], Quit, "quit", Everywhere)),
    quiet(bind(&["ctrl-c"], Interrupt, "stop the run, write the report, leave", Everywhere)),
    quiet(bind(&["ctrl-z"], Suspend, "back to the shell; fg returns", Everywhere)),
    bind(&["y"], Yes, "yes", Asked),
    bind(&["n", "esc", "enter", "q"], No, "no", Asked),
];

/// Returns every key there is.
pub fn table() -> &'static [Binding] {
    TABLE
}

/// Returns what a key does on a screen; the screen's own meaning comes before everybody's.
pub fn action(key: &KeyEvent, on: Name, asked: bool) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let name = name(key)?;
    let works = |place: Place| TABLE.iter().find(|b| b.place == place && b.keys.contains(&name.as_str()));
    let found = if asked {
        works(Asked).or_else(|| works(Everywhere).filter(|b| matches!(b.action, Interrupt | Suspend)))
    } else {
        works(On(on)).or_else(|| works(Everywhere))
    };
    found.map(|b| b.action)
}

/// Returns how the table writes a key.
fn name(key: &KeyEvent) -> Option<String> {
    let plain = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::Left => "left".to_owned(),
        KeyCode::Right => "right".to_owned(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::BackTab => "shift-tab".to_owned(),
        _ => return None,
    };
    let held = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(if held { format!("ctrl-{plain}") } else { plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for (i, a) in TABLE.iter().enumerate() {
            for b in &TABLE[i + 1..] {
                let clash = a.place == b.place && a.keys.iter().any(|k| b.keys.contains(k));
                assert!(!clash, "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn every_key_of_the_table_is_found_again() {
        for binding in TABLE {
            for shown in binding.keys {
                let (held, plain) = shown.strip_prefix("ctrl-").map_or((false, *shown), |p| (true, p));
                let code = match plain {
                    "space" => KeyCode::Char(' '),
                    "up" => KeyCode::Up,
                    "down" => KeyCode::Down,
                    "left" => KeyCode::Left,
                    "right" => KeyCode::Right,
                    "enter" => KeyCode::Enter,
                    "esc" => KeyCode::Esc,
                    "tab" => KeyCode::Tab,
                    "shift-tab" => KeyCode::BackTab,
                    one => KeyCode::Char(one.chars().next().expect("a character")),
                };
                let modifiers = if held { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                let on = if let On(screen) = binding.place { screen } else { Name::Overview };
                let found = action(&KeyEvent::new(code, modifiers), on, binding.place == Asked);
                assert_eq!(found, Some(binding.action), "{shown}");
            }
        }
    }

    #[test]
    fn a_screen_s_own_meaning_comes_first() {
        let table = [
            (KeyCode::Char(' '), Name::Load, Some(Freeze)),
            (KeyCode::Char(' '), Name::Runs, Some(Mark)),
            (KeyCode::Char(' '), Name::Overview, None),
            (KeyCode::Char('s'), Name::Runs, None),
            (KeyCode::Char('S'), Name::Load, None),
        ];
        for (code, on, expected) in table {
            assert_eq!(action(&press(code), on, false), expected, "{code:?} on {on:?}");
        }
        assert_eq!(action(&press(KeyCode::Char('y')), Name::Load, true), Some(Yes));
        assert_eq!(action(&press(KeyCode::Char('s')), Name::Load, true), None);
    }
}
