//! What a Python pickle imports, found without running it.

/// The instructions of a pickle by what follows them in the file (Python's `pickletools`).
enum Argument {
    /// So many bytes.
    Bytes(usize),
    /// A length of so many bytes, and as many bytes as it says.
    Counted(usize),
    /// So many lines of text.
    Lines(usize),
}

impl Argument {
    fn of(instruction: u8) -> Option<Self> {
        Some(match instruction {
            b'(' | b'.' | b'0' | b'1' | b'2' | b')' | b']' | b'}' | b'a' | b'b' | b'd' | b'e' | b'l' | b'o' | b'R'
            | b's' | b't' | b'u' | b'N' | b'Q' => Self::Bytes(0),
            0x81 | 0x85..=0x89 | 0x8f..=0x94 | 0x97 | 0x98 => Self::Bytes(0),
            b'K' | b'h' | b'q' | 0x80 => Self::Bytes(1),
            b'M' => Self::Bytes(2),
            b'J' | b'j' | b'r' => Self::Bytes(4),
            b'G' | 0x95 => Self::Bytes(8),
            b'U' | b'C' | 0x8a | 0x8c => Self::Counted(1),
            b'T' | b'X' | b'B' | 0x8b => Self::Counted(4),
            0x8d | 0x8e | 0x96 => Self::Counted(8),
            b'F' | b'I' | b'L' | b'S' | b'V' | b'g' | b'p' | b'P' => Self::Lines(1),
            b'c' | b'i' => Self::Lines(2),
            // Among them the extension registry (0x82 to 0x84), whose numbers stand for imports.
            _ => return None,
        })
    }
}

/// Every `module.name` that the pickle at the start of `rest` would import, in the order of the file; `rest` is then what
/// follows it.
///
/// # Errors
/// The reason, if it does not end as a pickle does, or imports something whose name it computes.
pub(super) fn imports(rest: &mut &[u8]) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    // The last two values that were pushed, and what was remembered, where they are text: a name for `STACK_GLOBAL`.
    let mut last: [Option<String>; 2] = [None, None];
    let mut memory: Vec<(u64, Option<String>)> = Vec::new();
    let mut remembered = 0;
    loop {
        let instruction = take(rest, 1)?[0];
        let argument = Argument::of(instruction).ok_or(format!("unknown instruction {instruction:#04x}"))?;
        let argument = match argument {
            Argument::Bytes(count) => take(rest, count)?.to_vec(),
            Argument::Counted(width) => {
                let count = number(take(rest, width)?);
                take(rest, usize::try_from(count).unwrap_or(usize::MAX))?.to_vec()
            }
            Argument::Lines(count) => {
                let mut lines = Vec::new();
                for _ in 0..count {
                    let length = rest.iter().position(|byte| *byte == b'\n').ok_or("it ends within a line")?;
                    lines.extend_from_slice(&take(rest, length + 1)?[..length]);
                    lines.push(b'.');
                }
                lines.pop();
                lines
            }
        };
        let text = || String::from_utf8_lossy(&argument).into_owned();
        match instruction {
            b'.' => return Ok(found),
            b'c' | b'i' => found.push(text()),
            0x93 => {
                let [Some(module), Some(name)] = &last else { return Err("it computes the name of an import".into()) };
                found.push(format!("{module}.{name}"));
            }
            b'q' | b'r' => memory.push((number(&argument), last[1].clone())),
            b'p' => memory.push((text().parse().unwrap_or(u64::MAX), last[1].clone())),
            0x94 => {
                memory.push((remembered, last[1].clone()));
                remembered += 1;
            }
            _ => {}
        }
        let pushed = match instruction {
            b'X' | b'U' | b'T' | 0x8c | 0x8d => Some(text()),
            b'h' | b'j' => recalled(&memory, number(&argument)),
            b'g' => recalled(&memory, text().parse().unwrap_or(u64::MAX)),
            // These push nothing.
            b'q' | b'r' | b'p' | 0x94 | 0x80 | 0x95 => continue,
            _ => None,
        };
        last.swap(0, 1);
        last[1] = pushed;
    }
}

/// What was remembered last under a number, if it is text.
fn recalled(memory: &[(u64, Option<String>)], number: u64) -> Option<String> {
    memory.iter().rev().find(|(key, _)| *key == number).and_then(|(_, text)| text.clone())
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(count).ok_or("it ends before its last instruction")?;
    *rest = left;
    Ok(taken)
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    /// Of a pickle that nothing follows.
    fn imports(mut pickle: &[u8]) -> Result<Vec<String>, String> {
        super::imports(&mut pickle)
    }

    #[test]
    fn imports_of_both_kinds_are_found() {
        // Protocol 2 writes names as lines, protocol 4 pushes them; the second time both come from memory.
        assert_eq!(
            imports(b"\x80\x02cposix\nsystem\nq\x00X\x02\x00\x00\x00lsq\x01\x85R."),
            Ok(vec!["posix.system".into()])
        );
        let four = b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93h\x00h\x01\x93.";
        assert_eq!(imports(four), Ok(vec!["os.system".into(), "os.system".into()]));
        assert_eq!(imports(b"\x80\x02}q\x00X\x01\x00\x00\x00wK\x01s."), Ok(vec![]));
    }

    #[test]
    fn what_follows_is_left() {
        let mut rest: &[u8] = b"\x80\x02N.\x80\x02cos\nsystem\n.data";
        assert_eq!(super::imports(&mut rest), Ok(vec![]));
        assert_eq!(super::imports(&mut rest), Ok(vec!["os.system".into()]));
        assert_eq!(rest, b"data");
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        assert!(imports(b"").is_err());
        assert!(imports(b"\x80\x02X\xff\xff\xff\xff").is_err());
        assert!(imports(b"\x80\x02cos").is_err());
        assert!(imports(b"\x82\x01.").is_err());
        // A name that was put together: a tuple, then text, then the import.
        assert_eq!(imports(b"\x80\x04)\x8c\x01a\x93."), Err("it computes the name of an import".into()));
    }
}
