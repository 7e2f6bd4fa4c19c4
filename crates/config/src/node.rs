use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};
use toml::map::Map;

use crate::key::Step;
use crate::{ConfigError, Located, Origin, Problem, Source};

/// A TOML value every part of which remembers where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Where its key stands; an array's element has none, and its value's place stands for it.
    pub(crate) key: Origin,
    /// Where its value stands.
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A string, integer, float, boolean or date.
    Leaf(toml::Value),
    Array(Vec<Node>),
    Table(Map<String, Node>),
}

impl Node {
    /// The document that a source holds, or every place where it is not TOML.
    pub(crate) fn parse(source: &Arc<Source>) -> Result<Self, ConfigError> {
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        if !errors.is_empty() {
            let problems = errors.iter().map(|error| Located {
                problem: Problem { key: String::new(), message: format!("not TOML: {}", error.message()), help: None },
                origin: Some(Origin::new(source, error.span().unwrap_or_default())),
            });
            return Err(ConfigError { problems: problems.collect() });
        }
        let mut node = Self::table(source, 0..0, document.into_inner())?;
        node.key = node.origin.clone();
        Ok(node)
    }

    fn table(source: &Arc<Source>, span: Range<usize>, table: DeTable<'_>) -> Result<Self, ConfigError> {
        let mut entries = Map::new();
        for (key, value) in table {
            let place = Origin::new(source, key.span());
            let node = Self::value(source, value.span(), value.into_inner())?;
            entries.insert(key.into_inner().into_owned(), Self { key: place, ..node });
        }
        Ok(Self::at(source, span, Value::Table(entries)))
    }

    fn value(source: &Arc<Source>, span: Range<usize>, value: DeValue<'_>) -> Result<Self, ConfigError> {
        let too_large = || ConfigError::one("", "the number is too large", Some(Origin::new(source, span.clone())));
        let value = match value {
            DeValue::Table(table) => return Self::table(source, span, table),
            DeValue::Array(array) => Value::Array(
                array
                    .into_iter()
                    .map(|item| Self::value(source, item.span(), item.into_inner()))
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::String(text) => Value::Leaf(toml::Value::String(text.into_owned())),
            DeValue::Boolean(flag) => Value::Leaf(toml::Value::Boolean(flag)),
            DeValue::Datetime(date) => Value::Leaf(toml::Value::Datetime(date)),
            DeValue::Integer(digits) => {
                let number = i64::from_str_radix(digits.as_str(), digits.radix()).map_err(|_| too_large())?;
                Value::Leaf(toml::Value::Integer(number))
            }
            DeValue::Float(digits) => {
                let number = digits.as_str().parse().map_err(|_| too_large())?;
                Value::Leaf(toml::Value::Float(number))
            }
        };
        Ok(Self::at(source, span, value))
    }

    pub(crate) fn at(source: &Arc<Source>, span: Range<usize>, value: Value) -> Self {
        let origin = Origin::new(source, span);
        Self { key: origin.clone(), origin, value }
    }

    /// Lays `later` over this value. Tables merge key by key; anything else is replaced, and so is a table whose
    /// `type` changes, since the keys of one type mean nothing to another.
    pub(crate) fn merge(&mut self, later: Node) {
        match (&mut self.value, later) {
            (Value::Table(table), Node { key, origin, value: Value::Table(entries) })
                if !changes_type(table, &entries) =>
            {
                (self.key, self.origin) = (key, origin);
                for (name, node) in entries {
                    match table.get_mut(&name) {
                        Some(earlier) => earlier.merge(node),
                        None => {
                            table.insert(name, node);
                        }
                    }
                }
            }
            (_, later) => *self = later,
        }
    }

    /// The node that stands at a path.
    pub(crate) fn find(&self, steps: &[Step]) -> Option<&Node> {
        steps.iter().try_fold(self, |node, step| node.step(step))
    }

    /// The deepest node on the way to a path.
    pub(crate) fn nearest(&self, steps: &[Step]) -> &Node {
        let mut node = self;
        for step in steps {
            match node.step(step) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node
    }

    fn step(&self, step: &Step) -> Option<&Node> {
        match (&self.value, step) {
            (Value::Table(table), Step::Name(name)) => table.get(name),
            (Value::Array(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// The plain value, without places.
    pub(crate) fn plain(&self) -> toml::Value {
        match &self.value {
            Value::Leaf(value) => value.clone(),
            Value::Array(items) => toml::Value::Array(items.iter().map(Node::plain).collect()),
            Value::Table(table) => toml::Value::Table(plain_table(table)),
        }
    }
}

pub(crate) fn plain_table(table: &Map<String, Node>) -> toml::Table {
    table.iter().map(|(name, node)| (name.clone(), node.plain())).collect()
}

fn changes_type(earlier: &Map<String, Node>, later: &Map<String, Node>) -> bool {
    let tag = |table: &Map<String, Node>| table.get("type").map(Node::plain);
    matches!((tag(earlier), tag(later)), (Some(before), Some(after)) if before != after)
}
