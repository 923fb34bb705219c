//! For a pull-request comment: under 60 lines, the verdict and what decides it first, the rest folded away.

use crate::report::page::{Block, Page, Table};

/// Rows of a table that are shown; the others are counted.
const ROWS: usize = 8;
/// Lines of the whole.
const LINES: usize = 58;

pub fn write(page: &Page) -> String {
    let sign = page.verdict.map_or("done", |v| v.sign());
    let mut lines = vec![format!("# {} · {sign}", text(&page.title)), text(&page.reason)];
    if !page.gist.is_empty() {
        lines.push(page.gist.clone());
    }
    for section in page.sections.iter().filter(|s| s.first) {
        section.blocks.iter().for_each(|b| block(b, &mut lines));
    }
    let again = (!page.again.is_empty()).then(|| format!("Again: `{}`", page.again.replace('`', "'")));
    let room = LINES - 6 - again.iter().len();
    let mut folded = Vec::new();
    for section in page.sections.iter().filter(|s| !s.first) {
        let mut part = vec![String::new(), format!("**{}**", text(&section.title))];
        section.blocks.iter().for_each(|b| block(b, &mut part));
        // A section that does not fit whole is left to the other forms.
        if part.len() > 2 && lines.len() + folded.len() + part.len() <= room {
            folded.append(&mut part);
        }
    }
    if !folded.is_empty() {
        lines.extend([String::new(), "<details><summary>Details</summary>".to_owned()]);
        lines.append(&mut folded);
        lines.extend([String::new(), "</details>".to_owned()]);
    }
    lines.extend(again.into_iter().flat_map(|a| [String::new(), a]));
    lines.join("\n") + "\n"
}

fn block(block: &Block, lines: &mut Vec<String>) {
    match block {
        Block::Text(t) => lines.push(text(t)),
        Block::Table(t) => table(t, lines),
        Block::Heat(h) => lines.push(text(&h.told)),
        Block::Lines(l) => lines.push(text(&l.told)),
        Block::Curve(c) => lines.push(text(&c.told)),
    }
}

fn table(table: &Table, lines: &mut Vec<String>) {
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    lines.push(String::new());
    lines.push(row(table.head.iter().map(|c| text(&c.title)).collect()));
    lines.push(format!("|{}", table.head.iter().map(|c| if c.number { "---:|" } else { "---|" }).collect::<String>()));
    for one in table.rows.iter().take(ROWS) {
        lines.push(row(one.cells.iter().map(|c| text(c)).collect()));
    }
    if table.rows.len() > ROWS {
        let mut cells = vec![String::new(); table.head.len()];
        cells[0] = format!("and {} more", table.rows.len() - ROWS);
        lines.push(row(cells));
    }
    lines.push(String::new());
}

/// Keeps what others wrote (an error's example, a title) from being read as Markdown or HTML, on one line.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            '&' => out.push_str("&amp;"),
            // `p99 < 120ms` reads as it stands: what a space follows is no tag.
            '<' if rest.peek() != Some(&' ') => out.push_str("&lt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '#' | '@' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
