use std::sync::Arc;

use crate::node::{Node, Value};
use crate::origin::OVERRIDE;
use crate::{ConfigError, Origin, Source};

/// The layer that an override `a.b=value` makes.
pub(crate) fn parse(text: &str) -> Result<Node, ConfigError> {
    let source = Arc::new(Source { name: OVERRIDE.into(), text: text.into() });
    let fail =
        |key: &str, message: &str| Err(ConfigError::one(key, message, Some(Origin::new(&source, 0..text.len()))));
    let Some((key, value)) = text.split_once('=') else {
        return fail("", "an override is written key=value");
    };
    // Parsed with a value that cannot be wrong, so that an error is the key's.
    let with_zero = Arc::new(Source { name: OVERRIDE.into(), text: format!("{key}=0") });
    let mut layer = match Node::parse(&with_zero) {
        Ok(layer) if !key.contains('\n') => layer,
        _ => return fail("", &format!("`{}` is not a dotted key; arrays are set whole", key.trim())),
    };
    if key.trim() == "extends" {
        return fail("extends", "only a file can extend others");
    }
    if value.trim().is_empty() {
        return fail(key.trim(), "the override has no value; an empty string is written ''");
    }
    if let Ok(whole) = Node::parse(&source)
        && whole.same_keys(&layer)
    {
        return Ok(whole);
    }
    if value.trim_start().starts_with(['[', '{', '"', '\'']) {
        return fail(key.trim(), "the value is not TOML");
    }
    layer.replace_leaf(&source, value.trim());
    Ok(layer)
}

impl Node {
    /// Whether this is the chain of one-key tables that `chain` is, whatever value stands at its end.
    fn same_keys(&self, chain: &Node) -> bool {
        match (&self.value, &chain.value) {
            (Value::Table(ours), Value::Table(theirs)) => {
                ours.len() == 1
                    && ours.iter().zip(theirs).all(|(our, their)| our.0 == their.0 && our.1.same_keys(their.1))
            }
            (_, Value::Table(_)) => false,
            _ => true,
        }
    }

    /// Puts a string at the end of a chain of one-key tables, and `source` behind all of it.
    fn replace_leaf(&mut self, source: &Arc<Source>, text: &str) {
        self.key = Origin::new(source, self.key.span.clone());
        self.origin = Origin::new(source, self.origin.span.clone());
        if let Value::Table(table) = &mut self.value {
            for (_, node) in table.iter_mut() {
                node.replace_leaf(source, text);
            }
        } else {
            let start = source.text.rfind(text).unwrap_or(0);
            self.origin = Origin::new(source, start..start + text.len());
            self.value = Value::Leaf(toml::Value::String(text.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> toml::Value {
        parse(text).unwrap().plain()
    }

    #[test]
    fn values_are_typed_as_in_a_file() {
        for text in
            ["a=1", "a=1_000", "a=2e-4", "a=true", "a=[1, 2]", "a={ b = 'x', c = [0.5] }", "a='1'", "a=\"=\"", "a=inf"]
        {
            assert_eq!(value(text), toml::from_str::<toml::Value>(text).unwrap(), "{text}");
        }
        assert_eq!(value("model . depth = 12"), toml::from_str::<toml::Value>("model.depth = 12").unwrap());
    }

    #[test]
    fn bare_words_are_strings() {
        for word in ["cifar10", "dit-s-2", "../runs/a=b", "1,2", "True", "0x", "é ü", "1\nb=2"] {
            let value = value(&format!("a.b={word}"));
            assert_eq!(value["a"]["b"].as_str(), Some(word));
        }
    }

    #[test]
    fn origins_lie_in_the_override() {
        for (text, expected) in [("a.b = 12", "12"), ("a.b= word ", "word"), ("b=b", "b")] {
            let mut node = &parse(text).unwrap();
            while let Value::Table(table) = &node.value {
                node = table.values().next().unwrap();
            }
            assert_eq!(&text[node.origin.span.clone()], expected);
            assert_eq!(&text[node.key.span.clone()], "b");
            assert_eq!(node.origin.source.text, text);
        }
    }

    #[test]
    fn refuses_what_is_no_override() {
        for (text, message) in [
            ("a", "--set a: an override is written key=value"),
            ("=1", "--set =1: `` is not a dotted key; arrays are set whole"),
            ("a[0]=1", "--set a[0]=1: `a[0]` is not a dotted key; arrays are set whole"),
            ("[a]\nb=1", "--set [a]\nb=1: `[a]\nb` is not a dotted key; arrays are set whole"),
            ("a= ", "--set a= : a: the override has no value; an empty string is written ''"),
            ("a=[1, 2", "--set a=[1, 2: a: the value is not TOML"),
            ("extends=x", "--set extends=x: extends: only a file can extend others"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }
}
