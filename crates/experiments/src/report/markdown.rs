//! The report as Markdown, for pages that are kept beside the code.

use std::fmt::Write;

use sinter_metrics::Summary;

use super::Section;
use crate::{Better, Verdict, text};

/// Rows of a table; the rest is in the CSV file.
const ROWS: usize = 400;

/// A report of sections.
pub fn markdown(title: &str, sections: &[Section]) -> String {
    let mut page = format!("# {title}\n");
    if sections.len() > 1 {
        write_contents(&mut page, sections);
    }
    for section in sections {
        write_section(&mut page, section);
    }
    page
}

/// One line an experiment, and how all claims stand together.
fn write_contents(page: &mut String, sections: &[Section]) {
    let heads = Verdict::ALL.map(|verdict| verdict.words()).join(" | ");
    let _ = writeln!(page, "\n| experiment | size | {heads} |\n|---|---|{}", "---:|".repeat(Verdict::ALL.len()));
    let mut line = |title: &str, size: &str, count: &dyn Fn(Verdict) -> usize| {
        let counts = Verdict::ALL.map(|verdict| count(verdict).to_string()).join(" | ");
        let _ = writeln!(page, "| {} | {size} | {counts} |", cell(title));
    };
    for section in sections {
        line(&section.title, &section.tier, &|verdict| section.count(verdict));
    }
    line("**all**", "", &|verdict| sections.iter().map(|section| section.count(verdict)).sum());
}

fn write_section(page: &mut String, section: &Section) {
    let _ = write!(page, "\n## {}\n\n", section.title);
    if let Some(paper) = &section.paper {
        let _ = writeln!(page, "{paper}.\n");
    }
    if !section.question.is_empty() {
        let _ = writeln!(page, "{}\n", section.question);
    }
    if !section.tier.is_empty() {
        let _ = writeln!(page, "Size `{}`: {}.\n", section.tier, section.standing.join("; "));
    }
    for shown in &section.claims {
        let claim = &shown.claim;
        let verdict = shown.judged.verdict.words();
        let _ = writeln!(page, "**{verdict}**: {} ({})\n", claim.statement, claim.table);
        let _ = writeln!(page, "- expected here: {}", shown.expect);
        for line in shown.judged.evidence.iter().chain(&shown.judged.reasons) {
            let _ = writeln!(page, "- {line}");
        }
        if !claim.numbers.is_empty() {
            let measured = claim.measured.as_deref().unwrap_or("");
            let _ =
                writeln!(page, "\n| | paper: {} | here: {} |\n|---|---:|---:|", cell(measured), cell(&shown.metric));
            for (number, ours) in claim.numbers.iter().zip(&shown.ours) {
                let _ = writeln!(
                    page,
                    "| {} | {} | {} |",
                    cell(&number.of),
                    text::number(number.value),
                    value(ours.as_ref())
                );
            }
        }
        page.push('\n');
    }
    table(page, section);
    for note in &section.notes {
        let _ = writeln!(page, "\n{note}");
    }
    for failure in &section.failures {
        let _ = writeln!(page, "\nFailed: `{}`: {}", failure.label, failure.message);
        if !failure.tail.is_empty() {
            let _ = writeln!(page, "\n```\n{}\n```", failure.tail.replace("```", "'''"));
        }
    }
    if !section.provenance.is_empty() {
        page.push('\n');
        for (name, value) in &section.provenance {
            let _ = writeln!(page, "- {name}: {value}");
        }
    }
}

fn table(page: &mut String, section: &Section) {
    let arrow = |better| match better {
        Some(Better::Less) => " ↓",
        Some(Better::Greater) => " ↑",
        None => "",
    };
    let mut heads: Vec<String> = section.axes.iter().map(|axis| cell(axis)).collect();
    heads.extend(section.columns.iter().map(|column| format!("{}{}", cell(&column.title), arrow(column.better))));
    heads.push("minutes".into());
    let rule = format!("{}{}", "|---".repeat(section.axes.len()), "|---:".repeat(section.columns.len() + 1));
    let _ = writeln!(page, "| {} |\n{rule}|", heads.join(" | "));
    for row in section.rows.iter().take(ROWS) {
        let mut cells: Vec<String> = row.levels.iter().map(|level| cell(level)).collect();
        cells.extend(row.values.iter().map(|summary| value(summary.as_ref())));
        cells.push(row.minutes.map_or(String::new(), |minutes| format!("{minutes:.2}")));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
    if section.rows.len() > ROWS {
        let _ = writeln!(page, "\n{} more rows are in the CSV file.", section.rows.len() - ROWS);
    }
}

/// A mean with its range.
fn value(summary: Option<&Summary>) -> String {
    summary.map_or(String::new(), |summary| {
        let mean = text::number(summary.mean);
        match summary.n {
            1 => mean,
            n => format!("{mean} [{}, {}] (n = {n})", text::number(summary.min), text::number(summary.max)),
        }
    })
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
