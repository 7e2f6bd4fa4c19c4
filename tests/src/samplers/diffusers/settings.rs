//! Settings of a run as its file's metadata hold them: every one is read, or the run cannot be built.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

/// The settings of a scheduler, its `step` and its `set_timesteps`, with a record of those that were read.
pub(super) struct Settings<'a> {
    settings: Vec<(&'a str, &'a Value)>,
    read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Settings<'a> {
    /// The settings of the objects of one run.
    pub(super) fn new(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let settings = objects.into_iter().filter_map(Value::as_object).flatten();
        Self { settings: settings.map(|(key, value)| (key.as_str(), value)).collect(), read: RefCell::default() }
    }

    /// The setting, where it is given and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.settings.iter().find(|setting| setting.0 == key)?;
        self.read.borrow_mut().insert(key);
        (!value.is_null()).then_some(*value)
    }

    /// A number; infinity may be written as text.
    pub(super) fn number(&self, key: &str, default: f64) -> f64 {
        self.optional_number(key).unwrap_or(default)
    }

    pub(super) fn optional_number(&self, key: &str) -> Option<f64> {
        let value = self.get(key)?;
        value.as_f64().or_else(|| value.as_str()?.to_lowercase().replace("infinity", "inf").parse().ok())
    }

    pub(super) fn count(&self, key: &str, default: usize) -> usize {
        self.get(key).and_then(Value::as_u64).map_or(default, |count| count as usize)
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    pub(super) fn text(&self, key: &str, default: &'a str) -> &'a str {
        self.get(key).and_then(Value::as_str).unwrap_or(default)
    }

    /// Fails if a setting was never read: the run would not be what the file says.
    pub(super) fn all_read(&self) -> Result<(), String> {
        let read = self.read.borrow();
        let left: Vec<&str> = self.settings.iter().map(|setting| setting.0).filter(|key| !read.contains(key)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("unknown settings: {}", left.join(", "))) }
    }
}
