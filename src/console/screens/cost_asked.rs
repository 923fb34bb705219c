//! What the cost screen tells when it is asked: the price list that counts here, and what other capacities would cost.

use ratatui::text::Line;

use super::cost::capacity;
use crate::console::look::Look;
use crate::console::theme::Tone;
use crate::console::widgets::frame::cut;
use crate::cost::bill::MONTH_H;
use crate::run::story::CostStory;
use crate::stats::units::Usd;

/// Demand is tried in steps of a tenth, from half of what it is to three times as much.
const TENTHS: (i32, i32) = (5, 30);

/// What is asked beside the way down itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Asked {
    #[default]
    Nothing,
    Prices,
    /// With so many tenths of the demand that was seen.
    WhatIf(i32),
}

impl Asked {
    /// Asks, or takes the question back.
    pub fn turn(self, other: Self) -> Self {
        if std::mem::discriminant(&self) == std::mem::discriminant(&other) { Self::Nothing } else { other }
    }

    /// So many tenths of demand more; nothing where nothing is tried.
    pub fn more(self, tenths: i32) -> Option<Self> {
        match self {
            Self::WhatIf(now) => Some(Self::WhatIf((now + tenths).clamp(TENTHS.0, TENTHS.1))),
            _ => None,
        }
    }

    pub fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Nothing => ("", ""),
            Self::Prices => ("prices", "p closes"),
            Self::WhatIf(_) => ("what if", "↑↓ more or less demand · w closes"),
        }
    }

    pub fn lines(self, look: &Look, cost: &CostStory, width: u16) -> Vec<Line<'static>> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Prices => prices(look, cost, usize::from(width)),
            Self::WhatIf(tenths) => what_if(look, cost, f64::from(tenths) / 10.0, usize::from(width)),
        }
    }
}

/// The row that counts for the steps first, then the region's others, each with its day; guesses marked.
fn prices(look: &Look, cost: &CostStory, width: usize) -> Vec<Line<'static>> {
    let road = &cost.road;
    let line = |text: String, tone: Tone| Line::from(look.span(cut(&text, width), tone));
    let mut lines = vec![line(format!("the steps count {}", road.price.from), Tone::Plain)];
    if road.prices.is_empty() {
        lines.push(line(
            format!("no price of {} is known: what is not known is not free", road.price.region),
            Tone::Warn,
        ));
    } else {
        lines
            .push(line(format!("{:<27} {:>9} {:>12}    {:<10}  from", "item", "above", "US dollars", "of"), Tone::Dim));
    }
    for row in &road.prices {
        let sign = if row.guess { "~" } else { " " };
        let day = row.date.as_deref().unwrap_or("?");
        let text = format!("{:<27} {:>9} {:>12} {sign}  {day:<10}  {}", row.item, row.above, row.usd, row.source);
        lines.push(line(text, if row.guess { Tone::Dim } else { Tone::Plain }));
    }
    lines.push(line(format!("of {}; ~ guesses; without tax · serin cost prices update", road.price.region), Tone::Dim));
    lines
}

/// Other capacities and other ways to pay, beside what is paid now; guesses say that they are.
fn what_if(look: &Look, cost: &CostStory, demand: f64, width: usize) -> Vec<Line<'static>> {
    let (road, now) = (&cost.road, capacity(cost));
    let head = format!("{:<34} {:>8} {:>11} {:>12} {:>13}", "", road.unit, "$/h", "a month", "a year");
    let mut lines = vec![Line::from(look.span(cut(&head, width), Tone::Dim))];
    let paid = road.price.per_hour(now as f64);
    let mut row = |what: String, units: Option<f64>, usd: Option<f64>, tone: Tone| {
        let unknown = || "?".to_owned();
        let least = units.map_or_else(String::new, |u| format!("{u:.0}"));
        let hour = usd.map_or_else(unknown, |u| format!("{u:.4}"));
        let month = usd.map_or_else(unknown, |u| Usd(u * MONTH_H).to_string());
        let apart = usd.zip(paid).map(|(usd, paid)| (usd - paid) * MONTH_H * 12.0);
        let apart = apart.map_or_else(unknown, |u| {
            let sign = if u < 0.0 { "-" } else { "+" };
            format!("{sign}{}", Usd(u.abs()))
        });
        let text = format!("{what:<34} {least:>8} {hour:>11} {month:>12} {apart:>13}");
        lines.push(Line::from(look.span(cut(&text, width), tone)));
    };
    let of = |units: f64| road.price.per_hour(units);
    row("as it is now".to_owned(), Some(now as f64), paid, Tone::Strong);
    row("as at the start".to_owned(), Some(road.start as f64), of(road.start as f64), Tone::Plain);
    let Some(view) = &cost.view else { return lines };
    if let Some(next) = view.ahead.first() {
        row("~ the next step".to_owned(), Some(next.capacity as f64), of(next.capacity as f64), Tone::Dim);
    }
    let needed = (view.needed as f64 * demand).ceil();
    let times = if (demand - 1.0).abs() < 1e-9 {
        "the demand seen".to_owned()
    } else {
        format!("{demand:.1} x the demand seen")
    };
    row(
        format!("the least for {times}"),
        Some(needed),
        of(needed),
        if demand > 1.0 { Tone::Warn } else { Tone::Plain },
    );
    let hours = (view.t - road.from) / 3_600.0;
    let a_month = view.requests / hours.max(1e-9) * MONTH_H * demand;
    if let Some(each) = road.on_demand_usd.filter(|_| view.requests > 0.0) {
        row(format!("~ on demand, {times}"), None, Some(a_month * each / MONTH_H), Tone::Plain);
    }
    if let Some(usd) = road.campaign_usd_per_hour {
        row("~ a campaign, for what is planned".to_owned(), None, Some(usd), Tone::Plain);
    }
    if now as f64 > 0.0 && needed > now as f64 {
        let text = format!("! {now} {} would not hold {times}", road.unit);
        lines.push(Line::from(look.span(cut(&text, width), Tone::Warn)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_again_takes_the_question_back() {
        let asked = Asked::Nothing.turn(Asked::WhatIf(10));
        assert_eq!(asked.more(3), Some(Asked::WhatIf(13)));
        assert_eq!(asked.more(300), Some(Asked::WhatIf(30)));
        assert_eq!(asked.turn(Asked::Prices), Asked::Prices);
        assert_eq!(Asked::WhatIf(13).turn(Asked::WhatIf(10)), Asked::Nothing);
        assert_eq!(Asked::Prices.more(1), None);
    }
}
