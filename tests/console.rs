//! The console without a terminal: recorded runs drawn at three sizes, every size, and keys with their effects.

mod found;
mod recorded;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serin::canary::order::Wish as CanaryWish;
use serin::console::app::App;
use serin::console::look::Look;
use serin::console::screen::Effect;
use serin::console::theme::Theme;
use serin::console::watcher::Told;
use serin::cost::told::Wish;
use serin::run::event::Event;

const LOOK: Look = Look { theme: Theme::Default, ascii: false, motion: true };
const SIZES: [(u16, u16); 3] = [(100, 30), (80, 24), (60, 16)];

struct Shown {
    app: App,
    begin: Instant,
    /// Where past runs lie.
    reports: tempfile::TempDir,
}

/// An app that has heard some of a recorded run, at a fixed time.
fn shown(look: Look, events: &[Event]) -> Shown {
    let reports = tempfile::tempdir().expect("a folder");
    let begin = Instant::now();
    let mut app = App::new(look, reports.path(), Some(PathBuf::from("reports/RUN")), begin);
    let now = begin + Duration::from_secs(41);
    events.iter().for_each(|e| app.hear(e, now));
    app.pass(now);
    if matches!(events.last(), Some(Event::Ended(_))) {
        app.ended(None);
    }
    Shown { app, begin, reports }
}

fn press(shown: &mut Shown, code: KeyCode) -> Effect {
    shown.app.key(&KeyEvent::new(code, KeyModifiers::NONE), shown.begin + Duration::from_secs(41))
}

fn draw(app: &App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| app.draw(frame)).expect("drawn");
    terminal.backend().buffer().clone()
}

/// Glyphs, then styles as one letter a cell, then what the letters mean: colours are part of what is shown.
fn picture(buffer: &Buffer) -> String {
    let mut legend: Vec<String> = vec!["Reset".to_owned()];
    let (mut glyphs, mut styles) = (String::new(), String::new());
    for y in 0..buffer.area.height {
        let mut style_row = String::new();
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            glyphs.push_str(cell.symbol());
            let style = if cell.modifier.is_empty() {
                format!("{:?}", cell.fg)
            } else {
                format!("{:?} {:?}", cell.fg, cell.modifier)
            };
            let at = legend.iter().position(|s| *s == style).unwrap_or_else(|| {
                legend.push(style);
                legend.len() - 1
            });
            style_row.push(if at == 0 { ' ' } else { char::from(b'a' + at as u8 - 1) });
        }
        while glyphs.ends_with(' ') {
            glyphs.pop();
        }
        glyphs.push('\n');
        styles.push_str(style_row.trim_end());
        styles.push('\n');
    }
    let legend: String =
        legend.iter().enumerate().skip(1).map(|(i, s)| format!("{} {s}\n", char::from(b'a' + i as u8 - 1))).collect();
    format!("{glyphs}\n{styles}\n{legend}")
}

fn snapshots(name: &str, app: &App) {
    for (width, height) in SIZES {
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture(&draw(app, width, height)));
    }
}

#[test]
fn preparing() {
    snapshots("preparing", &shown(LOOK, &recorded::evening(60, false)[..5]).app);
}

#[test]
fn a_load_under_way() {
    let events = recorded::evening(60, true);
    let ticks = events.iter().position(|e| matches!(e, Event::Tick(_))).expect("ticks");
    let mut load = shown(LOOK, &events[..ticks + 41]);
    snapshots("load", &load.app);
    press(&mut load, KeyCode::Char('1'));
    snapshots("overview", &load.app);
    press(&mut load, KeyCode::Char('q'));
    snapshots("asking", &load.app);
}

#[test]
fn ended_with_no() {
    snapshots("ended", &shown(LOOK, &recorded::evening(60, true)).app);
}

#[test]
fn a_canary_that_is_walked_and_one_that_goes_back() {
    let mut walk = shown(LOOK, &recorded::walk(45, false));
    snapshots("canary", &walk.app);
    press(&mut walk, KeyCode::Char('R'));
    snapshots("canary_asking", &walk.app);
    snapshots("canary_back", &shown(LOOK, &recorded::walk(45, true)).app);
}

#[test]
fn a_walk_hears_keys_only_after_a_yes() {
    let events = recorded::walk(45, false);
    for (key, wish) in
        [('R', CanaryWish::RollBack), ('A', CanaryWish::Approve), ('H', CanaryWish::Freeze), ('G', CanaryWish::Go)]
    {
        let mut walk = shown(LOOK, &events);
        assert_eq!(press(&mut walk, KeyCode::Char(key)), Effect::Nothing);
        assert_eq!(press(&mut walk, KeyCode::Enter), Effect::Nothing, "no is the default");
        assert_eq!(press(&mut walk, KeyCode::Char(key)), Effect::Nothing);
        assert_eq!(press(&mut walk, KeyCode::Char('y')), Effect::Wish(wish));
    }
    // The same keys mean nothing where no walk is on top.
    let mut walk = shown(LOOK, &events);
    press(&mut walk, KeyCode::Char('1'));
    press(&mut walk, KeyCode::Char('R'));
    assert_ne!(press(&mut walk, KeyCode::Char('y')), Effect::Wish(CanaryWish::RollBack));
}

#[test]
fn help_and_ascii() {
    let mut load = shown(Look { ascii: true, theme: Theme::Mono, ..LOOK }, &recorded::evening(60, false));
    press(&mut load, KeyCode::Char('?'));
    let buffer = draw(&load.app, 100, 30);
    assert!(buffer.content.iter().all(|c| c.symbol().is_ascii()), "ASCII only");
    insta::assert_snapshot!("help_ascii", picture(&buffer));
}

/// A run whose stack is seen beside it, and was checked.
fn watched() -> Shown {
    let events = recorded::evening(60, true);
    let ticks = events.iter().position(|e| matches!(e, Event::Tick(_))).expect("ticks");
    let mut run = shown(LOOK, &events[..ticks + 41]);
    let now = run.begin + Duration::from_secs(40);
    run.app.see(Told::Seen(Box::new(found::seen())), now);
    run.app.pass(run.begin + Duration::from_secs(41));
    run
}

#[test]
fn the_stack_and_its_incident() {
    let mut run = watched();
    press(&mut run, KeyCode::Char('1'));
    snapshots("stack", &run.app);
    // Who comes there first wants to know what is wrong.
    assert_eq!(press(&mut run, KeyCode::Char('6')), Effect::Check);
    let text = picture(&draw(&run.app, 100, 30));
    assert!(text.contains("checking: fifteen questions"), "{text}");
    run.app.see(Told::Checked(Box::new(found::look())), run.begin + Duration::from_secs(41));
    press(&mut run, KeyCode::Char('j'));
    snapshots("incident", &run.app);
    assert_eq!(press(&mut run, KeyCode::Char('r')), Effect::Check);
    assert_eq!(press(&mut run, KeyCode::Char('1')), Effect::Nothing);
    assert_eq!(press(&mut run, KeyCode::Char('6')), Effect::Nothing, "it was checked");
    let copied = press(&mut run, KeyCode::Char('y'));
    assert!(matches!(&copied, Effect::Copy(text) if text.starts_with("# serin check · local · ✗ NO")), "{copied:?}");
}

#[test]
fn every_size_draws_a_watched_stack() {
    for key in ['1', '6'] {
        let mut run = watched();
        press(&mut run, KeyCode::Char(key));
        run.app.see(Told::Checked(Box::new(found::look())), run.begin);
        for width in (0..=140).step_by(7) {
            for height in 0..=50 {
                draw(&run.app, width, height);
            }
        }
    }
}

#[test]
fn a_way_down_under_way_and_at_its_end() {
    snapshots("cost", &shown(LOOK, &recorded::way(6.5)).app);
    snapshots("cost_ended", &shown(LOOK, &recorded::way(14.0)).app);
}

#[test]
fn a_model_in_training_and_one_that_is_judged() {
    for (name, whole) in [("model_training", false), ("model", true)] {
        let mut model = shown(LOOK, &recorded::training(whole));
        press(&mut model, KeyCode::Char('5'));
        snapshots(name, &model.app);
        for size in [(0, 0), (20, 4), (76, 18), (140, 50)] {
            draw(&model.app, size.0, size.1);
        }
    }
}

#[test]
fn wishes_for_a_way_down_ask_before_they_change_anything() {
    let heard = |wish| Effect::CostWish("reports/RUN/wishes.jsonl".into(), wish);
    let mut way = shown(LOOK, &recorded::way(6.5));
    assert_eq!(press(&mut way, KeyCode::Char('h')), heard(Wish::Hold), "to stay changes nothing");
    for (key, wish) in [('n', Wish::Step), ('u', Wish::Undo)] {
        assert_eq!(press(&mut way, KeyCode::Char(key)), Effect::Nothing);
        assert_eq!(press(&mut way, KeyCode::Enter), Effect::Nothing, "enter is no");
        assert_eq!(press(&mut way, KeyCode::Char(key)), Effect::Nothing);
        let asked: String = draw(&way.app, 100, 30).content.iter().map(|c| c.symbol().to_owned()).collect();
        assert!(asked.contains("the table of the local stack"), "{asked}");
        assert_eq!(press(&mut way, KeyCode::Char('y')), heard(wish));
    }
    let mut ended = shown(LOOK, &recorded::way(14.0));
    for key in ['n', 'u', 'h', 'y'] {
        let effect = press(&mut ended, KeyCode::Char(key));
        assert!(!matches!(effect, Effect::CostWish(..)), "{key}: {effect:?}");
    }
}

#[test]
fn every_size_draws() {
    for day in [1.5, 14.0] {
        let way = shown(LOOK, &recorded::way(day));
        for width in (0..=140).step_by(20) {
            for height in (0..=50).step_by(3) {
                draw(&way.app, width, height);
            }
        }
    }
    let walk = recorded::walk(40, true);
    for until in [1, 3, walk.len()] {
        let shown = shown(LOOK, &walk[..until]);
        (0..=140)
            .step_by(7)
            .for_each(|width| (0..=50).step_by(3).for_each(|height| drop(draw(&shown.app, width, height))));
    }
    let events = recorded::evening(60, true);
    for until in [0, 5, 40, events.len()] {
        let mut shown = shown(LOOK, &events[..until]);
        for key in ['1', '2', '4', '7', '?'] {
            press(&mut shown, KeyCode::Char(key));
            for width in (0..=140).step_by(if until == 40 && key == '2' { 1 } else { 35 }) {
                for height in (0..=50).step_by(if until == 40 && key == '2' { 1 } else { 5 }) {
                    draw(&shown.app, width, height);
                }
            }
        }
    }
}

#[test]
fn the_smallest_terminal_still_says_verdict_and_p99() {
    let ended = shown(LOOK, &recorded::evening(60, true));
    let text: String = draw(&ended.app, 30, 2).content.iter().map(|c| c.symbol().to_owned()).collect();
    assert!(text.contains("✗ NO") && text.contains("p99 "), "{text}");
}

#[test]
fn keys_and_what_they_do() {
    let events = recorded::evening(60, false);
    let live = &events[..events.len() - 1];
    // A live run is asked about first, and anything but yes is no.
    let mut run = shown(LOOK, live);
    assert_eq!(press(&mut run, KeyCode::Char('q')), Effect::Nothing);
    assert_eq!(press(&mut run, KeyCode::Char('x')), Effect::Nothing);
    assert_eq!(
        press(&mut run, KeyCode::Char('y')),
        press(&mut shown(LOOK, live), KeyCode::Char('y')),
        "it was no: y copies again"
    );
    assert_eq!(press(&mut run, KeyCode::Char('q')), Effect::Nothing);
    assert_eq!(press(&mut run, KeyCode::Char('y')), Effect::StopRun);
    assert!(run.app.quitting());
    // s asks, stops, and stays.
    let mut run = shown(LOOK, live);
    assert_eq!(press(&mut run, KeyCode::Char('s')), Effect::Nothing);
    assert_eq!(press(&mut run, KeyCode::Char('y')), Effect::StopRun);
    assert!(!run.app.quitting());
    // Ctrl-C stops at once.
    let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    let mut run = shown(LOOK, live);
    assert_eq!(run.app.key(&control, run.begin), Effect::StopRun);
    assert!(run.app.quitting());
    // What has ended is left without a question.
    let mut ended = shown(LOOK, &events);
    assert_eq!(press(&mut ended, KeyCode::Char('s')), Effect::Nothing);
    assert_eq!(press(&mut ended, KeyCode::Char('q')), Effect::Quit);
    assert!(ended.app.quitting());
    let mut run = shown(LOOK, live);
    assert_eq!(press(&mut run, KeyCode::Char('e')), Effect::Export);
}

#[test]
fn a_frozen_picture_stands_still_while_the_run_goes_on() {
    let events = recorded::evening(60, true);
    let ticks = events.iter().position(|e| matches!(e, Event::Tick(_))).expect("ticks");
    let mut load = shown(LOOK, &events[..ticks + 20]);
    press(&mut load, KeyCode::Char(' '));
    let before = picture(&draw(&load.app, 100, 30));
    let heat = |p: &str| p.lines().skip(5).take(9).map(str::to_owned).collect::<Vec<_>>();
    events[ticks + 20..ticks + 50].iter().for_each(|e| load.app.hear(e, load.begin));
    let after = picture(&draw(&load.app, 100, 30));
    assert!(after.contains("frozen at 00:20"), "{after}");
    assert_eq!(heat(&before), heat(&after));
    press(&mut load, KeyCode::Char(' '));
    assert_ne!(heat(&before), heat(&picture(&draw(&load.app, 100, 30))));
}

/// The glyphs alone, row by row.
fn glyphs(app: &App) -> String {
    let buffer = draw(app, 110, 34);
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>() + "\n";
    (0..buffer.area.height).map(row).collect()
}

#[test]
fn past_runs_are_looked_into_and_compared() {
    let events = recorded::evening(60, false);
    let mut run = shown(LOOK, &events);
    for (name, missed) in [("2026-11-22-a", false), ("2026-11-23-b", true)] {
        let folder = run.reports.path().join(name);
        std::fs::create_dir_all(&folder).expect("made");
        let kept = recorded::evening(60, missed);
        let mut journal = serin::run::journal::RunJournal::create(&folder).expect("a journal");
        kept.chunks(10).for_each(|part| journal.append(part).expect("appended"));
        if let Some(Event::Ended(summary)) = kept.last() {
            let text = serde_json::to_vec(&summary.document).expect("a document");
            std::fs::write(folder.join("summary.json"), text).expect("written");
        }
    }
    // From any screen to Runs, which is the last one.
    press(&mut run, KeyCode::BackTab);
    while !glyphs(&run.app).contains("2 of 2") {
        press(&mut run, KeyCode::BackTab);
    }
    assert!(glyphs(&run.app).contains("p99 of the last 2"), "{}", glyphs(&run.app));
    press(&mut run, KeyCode::Char('o'));
    assert_eq!(press(&mut run, KeyCode::Enter), Effect::Nothing);
    let looked = glyphs(&run.app);
    assert!(looked.contains("esc back") && looked.contains("objectives"), "{looked}");
    // What has ended cannot be stopped.
    assert_eq!(press(&mut run, KeyCode::Char('s')), Effect::Nothing);
    press(&mut run, KeyCode::Esc);
    for key in [KeyCode::Char(' '), KeyCode::Down, KeyCode::Char(' '), KeyCode::Char('c')] {
        press(&mut run, key);
    }
    let compared = glyphs(&run.app);
    assert!(compared.contains("two runs side by side") && compared.contains("p99: "), "{compared}");
    assert!(["slower", "faster", "same", "cannot tell"].iter().any(|word| compared.contains(word)), "{compared}");
}
