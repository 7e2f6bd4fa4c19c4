//! Numbers and files as text.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::ExperimentError;

/// A number for people: four significant digits, without an exponent where that reads well.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value == 0.0 {
        return "0".into();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..7).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = usize::try_from(3 - magnitude).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number with a sign.
pub(crate) fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

/// A count with thousands apart.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Minutes for people.
pub(crate) fn minutes(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} s", value * 60.0)
    } else if value < 100.0 {
        format!("{value:.1} min")
    } else {
        format!("{:.1} h", value / 60.0)
    }
}

/// The last lines of a text, without colours and without what a progress bar wrote over.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let shown = |line: &str| -> String {
        let last = line.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or("");
        let mut plain = String::new();
        let mut characters = last.chars();
        while let Some(character) = characters.next() {
            if character == '\u{1b}' {
                // `ESC [ ... letter`.
                characters.by_ref().find(char::is_ascii_alphabetic);
            } else if !character.is_control() || character == '\t' {
                plain.push(character);
            }
        }
        plain.trim_end().to_owned()
    };
    let all: Vec<String> = text.lines().map(shown).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Writes a file whole or not at all: to a temporary name of this process, renamed.
pub(crate) fn write(path: &Path, text: &[u8]) -> Result<(), ExperimentError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(ExperimentError::file(folder))?;
    }
    let temporary = path.with_extension(format!("partial-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        File::create(&temporary)?.write_all(text)?;
        fs::rename(&temporary, path)
    };
    write().map_err(ExperimentError::file(path))
}

/// A value as indented JSON with a line's end.
pub(crate) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Lowercase hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (44.28, "44.28"),
            (0.012_343, "0.01234"),
            (-7.100_04, "-7.1"),
            (1234.56, "1235"),
            (1e-9, "1.000e-9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((signed(0.5), count(1_234_567), minutes(0.25)), ("+0.5".into(), "1,234,567".into(), "15 s".into()));
    }

    #[test]
    fn a_tail_is_what_a_person_saw() {
        let log = "one\n\u{1b}[2Ktwo\n\n 10%\r 20%\r\nthree\r\n";
        assert_eq!(tail(log, 3), "two\n 20%\nthree");
        assert_eq!(tail(log, 99), "one\ntwo\n 20%\nthree");
    }
}
