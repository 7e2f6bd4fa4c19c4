//! A merged configuration against its schema: everything that is wrong, at once.

use serde_json::Value as Json;
use toml::map::Map;

use crate::key::{element, entry};
use crate::node::{Node, Value};
use crate::schema::{Keywords, Schema, format_range, known, list, property, types, words};
use crate::{Located, Origin, Problem, nearest};

/// Longer lists of names are not printed whole.
const SHORT_LIST: usize = 12;

/// Every place where `root` does not meet `schema`.
pub(crate) fn check(schema: &Schema, root: &Node) -> Vec<Located> {
    let mut checker = Checker { schema, problems: Vec::new() };
    checker.value(schema.document(), root, "");
    checker.problems
}

struct Checker<'a> {
    schema: &'a Schema,
    problems: Vec<Located>,
}

impl Checker<'_> {
    fn push(&mut self, key: &str, origin: &Origin, message: String, help: Option<String>) {
        let problem = Problem { key: key.to_owned(), message, help };
        self.problems.push(Located { problem, origin: Some(origin.clone()) });
    }

    fn value(&mut self, schema: &Json, node: &Node, key: &str) {
        let alternatives = self.schema.alternatives(schema);
        let (fitting, other): (Vec<_>, Vec<_>) = alternatives.into_iter().partition(|keywords| fits(keywords, node));
        match fitting.as_slice() {
            [] if other.is_empty() => {}
            [] => self.wrong_type(&other, node, key),
            [one] => self.plain(one, node, key),
            several => self.one_of(several, node, key),
        }
    }

    /// A value whose TOML type `keywords` allows.
    fn plain(&mut self, keywords: &Keywords, node: &Node, key: &str) {
        match &node.value {
            Value::Table(table) => self.table(keywords, table, node, key),
            Value::Array(items) => self.array(keywords, items, node, key),
            Value::Leaf(toml::Value::String(word)) => {
                if let Some(allowed) = words(keywords) {
                    self.word(&allowed, word, node, key);
                }
            }
            Value::Leaf(toml::Value::Integer(number)) => self.number(keywords, *number as f64, node, key),
            Value::Leaf(toml::Value::Float(number)) => self.number(keywords, *number, node, key),
            Value::Leaf(_) => {}
        }
    }

    /// A value that several alternatives could mean.
    fn one_of(&mut self, alternatives: &[Keywords], node: &Node, key: &str) {
        match &node.value {
            Value::Leaf(toml::Value::String(word)) => {
                let allowed: Option<Vec<_>> = alternatives.iter().map(words).collect();
                if let Some(allowed) = allowed {
                    self.word(&allowed.concat(), word, node, key);
                }
            }
            Value::Table(table) if let Some(tag) = common_tag(alternatives) => {
                self.tagged(tag, alternatives, table, node, key);
            }
            _ => {
                // Untagged: what the user meant is most likely the alternative of which least is wrong.
                let attempts = alternatives.iter().map(|keywords| {
                    let mut attempt = Checker { schema: self.schema, problems: Vec::new() };
                    attempt.plain(keywords, node, key);
                    attempt.problems
                });
                self.problems.extend(attempts.min_by_key(Vec::len).unwrap_or_default());
            }
        }
    }

    fn tagged(&mut self, tag: &str, alternatives: &[Keywords], table: &Map<String, Node>, node: &Node, key: &str) {
        let type_of = |keywords| property(keywords, tag).and_then(|tag| tag.get("const")).and_then(Json::as_str);
        let names: Vec<_> = alternatives.iter().filter_map(type_of).collect();
        match table.get(tag).map(|tag| (tag, &tag.value)) {
            None => {
                let message = format!("missing required key `{tag}`");
                self.push(key, &node.origin, message, listed("one of", &names));
            }
            Some((_, Value::Leaf(toml::Value::String(name)))) if names.contains(&name.as_str()) => {
                for keywords in alternatives.iter().filter(|keywords| type_of(keywords) == Some(name)) {
                    self.table(keywords, table, node, key);
                }
            }
            Some((tag_node, Value::Leaf(toml::Value::String(name)))) => {
                self.push(
                    &entry(key, tag),
                    &tag_node.origin,
                    format!("unknown {tag} `{name}`"),
                    suggestion(name, &names),
                );
            }
            Some((tag_node, _)) => {
                let message = format!("expected a string, found {}", found(tag_node));
                self.push(&entry(key, tag), &tag_node.origin, message, listed("one of", &names));
            }
        }
    }

    fn table(&mut self, keywords: &Keywords, table: &Map<String, Node>, node: &Node, key: &str) {
        let rest = keywords.get("additionalProperties").or_else(|| keywords.get("unevaluatedProperties"));
        // A struct that does not say so is closed all the same; a schema that says nothing at all allows anything.
        let open = types(keywords).is_empty() && keywords.get("properties").is_none();
        for (name, inner) in table {
            let path = entry(key, name);
            match (property(keywords, name), rest) {
                (Some(schema), _) => self.value(schema, inner, &path),
                (None, Some(schema @ (Json::Object(_) | Json::Bool(true)))) => self.value(schema, inner, &path),
                (None, _) if open => {}
                (None, _) => {
                    let names: Vec<_> = known(keywords).collect();
                    self.push(&path, &inner.key, "unknown key".to_owned(), suggestion(name, &names));
                }
            }
        }
        for name in list(keywords, "required").filter_map(Json::as_str).filter(|&name| !table.contains_key(name)) {
            self.push(&entry(key, name), &node.origin, "missing, and it has no default".to_owned(), None);
        }
    }

    fn array(&mut self, keywords: &Keywords, items: &[Node], node: &Node, key: &str) {
        let limit = |name| keywords.get(name).and_then(Json::as_u64);
        let (least, most) = (limit("minItems"), limit("maxItems"));
        let count = items.len() as u64;
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let expected = match (least, most) {
                (Some(least), Some(most)) if least == most => format!("{least}"),
                (Some(least), Some(most)) => format!("{least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (None, most) => format!("at most {}", most.unwrap_or_default()),
            };
            self.push(key, &node.origin, format!("expected an array of {expected}, found {count}"), None);
        }
        let first: Vec<_> = list(keywords, "prefixItems").collect();
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).copied().or_else(|| keywords.get("items")) {
                self.value(schema, item, &element(key, index));
            }
        }
    }

    fn word(&mut self, allowed: &[&str], word: &str, node: &Node, key: &str) {
        if !allowed.contains(&word) {
            self.push(key, &node.origin, format!("unknown value `{word}`"), suggestion(word, allowed));
        }
    }

    fn number(&mut self, keywords: &Keywords, number: f64, node: &Node, key: &str) {
        let bound = |name| keywords.get(name).and_then(Json::as_f64);
        let (least, most) = format_range(keywords).unzip();
        let rules = [
            ("at least", bound("minimum").or(least), f64::ge as fn(&f64, &f64) -> bool),
            ("greater than", bound("exclusiveMinimum"), f64::gt),
            ("at most", bound("maximum").or(most), f64::le),
            ("less than", bound("exclusiveMaximum"), f64::lt),
        ];
        for (relation, bound, holds) in rules {
            if let Some(bound) = bound.filter(|bound| !holds(&number, bound)) {
                self.push(key, &node.origin, format!("must be {relation} {bound}, found {}", found(node)), None);
            }
        }
    }

    fn wrong_type(&mut self, alternatives: &[Keywords], node: &Node, key: &str) {
        let mut expected: Vec<&str> = Vec::new();
        for name in alternatives.iter().flat_map(types).filter(|&name| name != "null").map(type_name) {
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
        let message = format!("expected {}, found {}", expected.join(" or "), found(node));
        let help = match &node.value {
            // 2e6 is how many people write a count, but to TOML it is a float.
            Value::Leaf(toml::Value::Float(number))
                if expected.contains(&"an integer") && number.fract() == 0.0 && number.abs() < 1e18 =>
            {
                Some(format!("write {}", grouped(*number as i64)))
            }
            Value::Leaf(_) if expected == ["a table"] => {
                common_tag(alternatives).map(|tag| format!("such as {{ {tag} = ... }}"))
            }
            _ => None,
        };
        self.push(key, &node.origin, message, help);
    }
}

/// Whether a value's TOML type is one that a schema allows.
fn fits(keywords: &Keywords, node: &Node) -> bool {
    let types = types(keywords);
    let any = |names: &[&str]| types.is_empty() || types.iter().any(|name| names.contains(name));
    match &node.value {
        Value::Table(_) => any(&["object"]),
        Value::Array(_) => any(&["array"]),
        Value::Leaf(toml::Value::String(_)) => any(&["string"]),
        Value::Leaf(toml::Value::Integer(_)) => any(&["integer", "number"]),
        Value::Leaf(toml::Value::Float(_)) => any(&["number"]),
        Value::Leaf(toml::Value::Boolean(_)) => any(&["boolean"]),
        Value::Leaf(_) => any(&[]),
    }
}

/// The key that every alternative fixes to a word of its own, such as `type`.
fn common_tag(alternatives: &[Keywords]) -> Option<&str> {
    let is_tag =
        |keywords: &Keywords, name: &str| property(keywords, name).is_some_and(|tag| tag.get("const").is_some());
    let (first, others) = alternatives.split_first()?;
    known(first).find(|name| is_tag(first, name) && others.iter().all(|keywords| is_tag(keywords, name)))
}

fn type_name(name: &str) -> &str {
    match name {
        "object" => "a table",
        "array" => "an array",
        "string" => "a string",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    }
}

fn found(node: &Node) -> String {
    match &node.value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Leaf(value @ toml::Value::String(_)) => format!("the string {value}"),
        Value::Leaf(value @ toml::Value::Datetime(_)) => format!("the date {value}"),
        Value::Leaf(value) => value.to_string(),
    }
}

/// The nearest of the known names, and all of them if they are few.
fn suggestion(name: &str, names: &[&str]) -> Option<String> {
    let near = nearest(name, names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    match (near, listed("known:", names)) {
        (Some(near), Some(list)) => Some(format!("{near} {list}")),
        (near, list) => near.or(list),
    }
}

fn listed(lead: &str, names: &[&str]) -> Option<String> {
    (!names.is_empty() && names.len() <= SHORT_LIST).then(|| format!("{lead} {}", names.join(", ")))
}

/// 2000000 as `2_000_000`.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{}{}", if number < 0 { "-" } else { "" }, groups.join("_"))
}
