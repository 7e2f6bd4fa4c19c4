//! The report as one HTML file that needs nothing else: no script, no other file, no network.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sinter_metrics::Summary;

use super::Section;
use super::section::{Column, Picture, ShownClaim, TableRow};
use crate::{Better, Verdict, text, unix_time};

/// Rows of a table; the rest is in the CSV file.
const ROWS: usize = 400;
/// Bytes of a picture; larger ones are left out.
const PICTURE: u64 = 2 << 20;

/// A report of sections.
pub fn html(title: &str, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header {
                    h1 { (title) }
                    p.soft { "Sinter " (env!("CARGO_PKG_VERSION")) ", " (unix_time::date(unix_time::now())) " UTC" }
                    @if sections.len() > 1 { (contents(sections)) }
                }
                main { @for section in sections { (self::section(section)) } }
                footer.soft {
                    "Numbers are means over seeds with [least, largest]. A claim is held or not held where the interval "
                    "of the difference lies to one side of what is claimed, and undecided otherwise."
                }
            }
        }
    };
    page.into_string()
}

/// One line an experiment.
fn contents(sections: &[Section]) -> Markup {
    html! {
        table {
            thead { tr { th { "experiment" } th { "size" } @for verdict in Verdict::ALL { th.number { (verdict.words()) } } } }
            tbody {
                @for section in sections {
                    tr {
                        td data-label="experiment" { a href=(format!("#{}-{}", section.name, section.tier)) { (section.title) } }
                        td data-label="size" { (section.tier) }
                        @for verdict in Verdict::ALL {
                            td.number data-label=(verdict.words()) { (section.count(verdict)) }
                        }
                    }
                }
            }
        }
    }
}

fn section(section: &Section) -> Markup {
    html! {
        section id=(format!("{}-{}", section.name, section.tier)) {
            h2 { (section.title) }
            @if let Some(paper) = &section.paper { p.soft { (paper) } }
            @if !section.question.is_empty() { p { (section.question) } }
            @if !section.tier.is_empty() {
                ul.standing {
                    li { "size: " strong { (section.tier) } }
                    @for line in &section.standing { li { (line) } }
                }
            }
            @if !section.claims.is_empty() {
                h3 { "Claims" }
                div.claims { @for claim in &section.claims { (self::claim(claim)) } }
            }
            h3 { "Results" }
            (results(section))
            @for note in &section.notes { p.soft { (note) } }
            @if !section.scatters.is_empty() {
                h3 { "By parameter" }
                div.charts { @for scatter in &section.scatters { (scatter.markup()) } }
            }
            @if !section.charts.is_empty() {
                h3 { "Learning curves" }
                div.charts { @for chart in &section.charts { (chart.markup()) } }
            }
            @if !section.pictures.is_empty() {
                h3 { "Pictures" }
                div.pictures { @for picture in &section.pictures { (self::picture(picture)) } }
            }
            @if !section.failures.is_empty() {
                h3 { "Failed cells" }
                @for failure in &section.failures {
                    p { strong { (failure.label) } ": " (failure.message) }
                    @if !failure.tail.is_empty() { pre { (failure.tail) } }
                }
            }
            @if !section.provenance.is_empty() {
                h3 { "Provenance" }
                dl { @for (name, value) in &section.provenance { dt { (name) } dd { (value) } } }
            }
        }
    }
}

fn claim(shown: &ShownClaim) -> Markup {
    let (class, sign) = match shown.judged.verdict {
        Verdict::Held => ("held", "✓"),
        Verdict::NotHeld => ("not_held", "✗"),
        Verdict::Undecided => ("undecided", "?"),
    };
    let claim = &shown.claim;
    html! {
        article class=(format!("claim {class}")) {
            p { span.verdict { (sign) " " (shown.judged.verdict.words()) } }
            p { (claim.statement) " " span.soft { "(" (claim.table) ")" } }
            p.expect { "Expected here: " (shown.expect) }
            @if !claim.numbers.is_empty() {
                table {
                    thead {
                        tr {
                            th { "" }
                            th.number { "paper: " (claim.measured.as_deref().unwrap_or("")) }
                            th.number { "here: " (shown.metric) }
                        }
                    }
                    tbody {
                        @for (number, ours) in claim.numbers.iter().zip(&shown.ours) {
                            tr {
                                td data-label="" { (number.of) }
                                td.number data-label="paper" { (text::number(number.value)) }
                                td.number data-label="here" { (value(ours.as_ref())) }
                            }
                        }
                    }
                }
            }
            @if !shown.judged.evidence.is_empty() || !shown.judged.reasons.is_empty() {
                ul {
                    @for line in &shown.judged.evidence { li { (line) } }
                    @for line in &shown.judged.reasons { li { (line) } }
                }
            }
        }
    }
}

/// A mean with its range.
fn value(summary: Option<&Summary>) -> Markup {
    html! {
        @match summary {
            None => span.soft { "–" },
            Some(summary) => span {
                strong { (text::number(summary.mean)) }
                @if summary.n > 1 {
                    " " span.range { "[" (text::number(summary.min)) ", " (text::number(summary.max)) "] n=" (summary.n) }
                }
            },
        }
    }
}

fn results(section: &Section) -> Markup {
    let best: Vec<Option<f64>> = (0..section.columns.len()).map(|place| best(section, place)).collect();
    html! {
        table {
            thead {
                tr {
                    @for axis in &section.axes { th { (axis) } }
                    @for column in &section.columns { th.number { (heading(column)) } }
                    th.number { "minutes" }
                    @if !section.tier.is_empty() { th.number { "done" } }
                }
            }
            tbody { @for row in section.rows.iter().take(ROWS) { (self::row(section, row, &best)) } }
        }
        @if section.rows.len() > ROWS {
            p.soft { (section.rows.len() - ROWS) " more rows are in the CSV file." }
        }
    }
}

fn heading(column: &Column) -> Markup {
    let arrow = match column.better {
        Some(Better::Less) => " ↓",
        Some(Better::Greater) => " ↑",
        None => "",
    };
    html! {
        (column.title) (arrow)
        @if let Some(record) = &column.record { @if *record != column.title { br; span.soft { (record) } } }
    }
}

fn row(section: &Section, row: &TableRow, best: &[Option<f64>]) -> Markup {
    html! {
        tr {
            @for (axis, level) in section.axes.iter().zip(&row.levels) { td data-label=(axis) { span { (level) } } }
            @for ((column, summary), best) in section.columns.iter().zip(&row.values).zip(best) {
                @let is_best = summary.as_ref().is_some_and(|summary| Some(summary.mean) == *best);
                td class=(if is_best { "number best" } else { "number" }) data-label=(column.title) { (value(summary.as_ref())) }
            }
            td.number data-label="minutes" { span { (row.minutes.map_or_else(|| "–".to_owned(), |minutes| format!("{minutes:.2}"))) } }
            @if !section.tier.is_empty() { td.number data-label="done" { span { (row.done) " of " (row.seeds) } } }
        }
    }
}

/// The best mean of a column.
fn best(section: &Section, place: usize) -> Option<f64> {
    let means = section.rows.iter().filter_map(|row| row.values[place].as_ref()).map(|summary| summary.mean);
    match section.columns[place].better? {
        Better::Less => means.min_by(f64::total_cmp),
        Better::Greater => means.max_by(f64::total_cmp),
    }
}

fn picture(picture: &Picture) -> Markup {
    let small = std::fs::metadata(&picture.path).is_ok_and(|file| file.len() <= PICTURE);
    let bytes = if small { std::fs::read(&picture.path).ok() } else { None };
    html! {
        figure {
            figcaption { (picture.caption) }
            @match bytes {
                Some(bytes) => img alt=(picture.caption) src=(format!("data:image/png;base64,{}", STANDARD.encode(bytes)));,
                None => p.soft { "not inlined: " (picture.path.display()) },
            }
        }
    }
}
