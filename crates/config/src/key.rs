//! Dotted key paths such as `data.sources[2]."odd name"`.

/// One step down from a table or an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

/// `name` as it is written in TOML: bare where it can be, quoted otherwise.
pub(crate) fn written(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

/// The path of the entry `name` in the table at `path`.
pub(crate) fn entry(path: &str, name: &str) -> String {
    if path.is_empty() { written(name) } else { format!("{path}.{}", written(name)) }
}

/// The path of the element `index` of the array at `path`.
pub(crate) fn element(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The steps of a path; what is not well formed is taken as a name that will not be found.
pub(crate) fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (step, length) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            (Step::Name(quoted[..end].to_owned()), (end + 2).min(rest.len()))
        } else if let Some((index, length)) = index(rest) {
            (Step::Index(index), length)
        } else {
            let end = rest.char_indices().skip(1).find(|(_, sign)| matches!(sign, '.' | '['));
            let end = end.map_or(rest.len(), |(end, _)| end);
            (Step::Name(rest[..end].to_owned()), end)
        };
        steps.push(step);
        rest = &rest[length..];
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    steps
}

/// `[2]` at the start of `text`, and its length.
fn index(text: &str) -> Option<(usize, usize)> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(']')?;
    Some((inner[..end].parse().ok()?, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_undo_entry_and_element() {
        let path = element(&entry(&entry("data", "odd name"), "b-1"), 12);
        assert_eq!(path, "data.\"odd name\".b-1[12]");
        let name = |name: &str| Step::Name(name.into());
        assert_eq!(steps(&path), [name("data"), name("odd name"), name("b-1"), Step::Index(12)]);
        assert_eq!(steps("[0].x"), [Step::Index(0), name("x")]);
        assert!(steps("").is_empty());
    }

    #[test]
    fn any_text_ends() {
        for text in ["\"", "[", "[x]", ".", "..", "a.[", "é.ß", "\"a\"b"] {
            assert!(!steps(text).is_empty(), "{text}");
        }
    }
}
