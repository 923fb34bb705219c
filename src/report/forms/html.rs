//! One file: no script, no network, light and dark, and it prints.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::judge::verdict::Verdict;
use crate::report::page::{Block, Page, Row, Table, Tone};
use crate::report::svg;

const STYLE: &str = include_str!("page.css");

pub fn write(page: &Page) -> String {
    let (class, sign) = match page.verdict {
        Some(v @ Verdict::Go) => ("good", v.sign()),
        Some(v @ Verdict::No) => ("bad", v.sign()),
        Some(v @ Verdict::CannotTell) => ("unknown", v.sign()),
        None => ("plain", "done"),
    };
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (sign) " " (page.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.title { (page.title) }
                    h1 class=(class) { (sign) }
                    p.reason { (page.reason) }
                    @if !page.gist.is_empty() { p { (page.gist) } }
                }
                main {
                    @for section in &page.sections {
                        section {
                            h2 { (section.title) }
                            @for block in &section.blocks { (piece(block)) }
                        }
                    }
                }
                @if !page.again.is_empty() {
                    footer { p { "Again: " code { (page.again) } } }
                }
            }
        }
    };
    document.into_string()
}

fn piece(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (text) } },
        Block::Table(table) => html! { div.scroll { (grid(table)) } },
        Block::Heat(heat) => html! {
            figure { (svg::heat(heat)) figcaption { (heat.caption) ". " (heat.told) } }
        },
        Block::Curve(curve) => html! {
            figure {
                (svg::curve(curve))
                figcaption { (curve.caption) ": ● held, ○ guess · " (curve.told) }
            }
        },
        Block::Lines(lines) => html! {
            figure {
                (svg::lines(lines))
                figcaption {
                    (lines.caption) ": "
                    @for (i, series) in lines.series.iter().enumerate() {
                        span class=(format!("key{i}")) { "■ " } (series.name) " "
                    }
                    "· " (lines.told)
                }
            }
        },
    }
}

fn grid(table: &Table) -> Markup {
    let class = |number: bool| number.then_some("number");
    html! {
        table {
            caption { (table.caption) }
            thead { tr { @for column in &table.head { th scope="col" class=[class(column.number)] { (column.title) } } } }
            tbody {
                @for row in &table.rows {
                    tr class=[tone(row)] {
                        @for (i, (cell, column)) in row.cells.iter().zip(&table.head).enumerate() {
                            @if i == 0 { th scope="row" { (cell) } } @else { td class=[class(column.number)] { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

fn tone(row: &Row) -> Option<&'static str> {
    match row.tone {
        Tone::Plain => None,
        Tone::Good => Some("good"),
        Tone::Bad => Some("bad"),
        Tone::Unknown => Some("unknown"),
    }
}
