//! JSON Schema as schemars writes it, read as far as typed configuration needs.

use serde_json::{Map, Value};

/// A schema's keywords, with `$ref` and `allOf` taken in.
pub(crate) type Keywords = Map<String, Value>;

/// The schema of a whole configuration.
pub(crate) struct Schema {
    document: Value,
}

impl Schema {
    pub(crate) fn of<T: schemars::JsonSchema>() -> Self {
        Self::new(schemars::schema_for!(T).to_value())
    }

    pub(crate) fn new(document: Value) -> Self {
        Self { document }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// The plain schemas of which a value must meet one: `schema` itself, or what its `oneOf` or `anyOf` offers, each
    /// joined with the keywords beside. `null` is left out, since TOML cannot say it.
    pub(crate) fn alternatives(&self, schema: &Value) -> Vec<Keywords> {
        let mut plain = Vec::new();
        self.collect(self.expand(schema), &mut plain);
        plain
    }

    fn collect(&self, mut keywords: Keywords, plain: &mut Vec<Keywords>) {
        let offered = keywords.remove("oneOf").or_else(|| keywords.remove("anyOf"));
        match offered {
            Some(Value::Array(offered)) => {
                for alternative in &offered {
                    let mut joined = keywords.clone();
                    join(&mut joined, self.expand(alternative));
                    self.collect(joined, plain);
                }
            }
            _ if types(&keywords) == ["null"] => {}
            _ => plain.push(keywords),
        }
    }

    /// A schema's own keywords over those that it refers to.
    fn expand(&self, schema: &Value) -> Keywords {
        let Some(own) = schema.as_object() else { return Keywords::new() };
        let mut keywords = Keywords::new();
        let target = own.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        for part in target.and_then(|target| self.document.pointer(target)).into_iter().chain(list(own, "allOf")) {
            join(&mut keywords, self.expand(part));
        }
        let own = own.iter().filter(|(name, _)| !matches!(name.as_str(), "$ref" | "allOf" | "$defs"));
        join(&mut keywords, own.map(|(name, value)| (name.clone(), value.clone())).collect());
        keywords
    }
}

/// Adds `more` to `keywords`: properties and required names are joined, the rest replaced.
fn join(keywords: &mut Keywords, more: Keywords) {
    for (name, value) in more {
        match (keywords.get_mut(&name), value) {
            (Some(Value::Object(ours)), Value::Object(theirs)) if name == "properties" => ours.extend(theirs),
            (Some(Value::Array(ours)), Value::Array(theirs)) if name == "required" => ours.extend(theirs),
            (_, value) => {
                keywords.insert(name, value);
            }
        }
    }
}

/// The elements of an array keyword; none where it is missing.
pub(crate) fn list<'a>(keywords: &'a Keywords, name: &str) -> impl Iterator<Item = &'a Value> {
    keywords.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The names of the JSON types that are allowed; empty if all are.
pub(crate) fn types(keywords: &Keywords) -> Vec<&str> {
    match keywords.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The schema of a table's entry.
pub(crate) fn property<'a>(keywords: &'a Keywords, name: &str) -> Option<&'a Value> {
    keywords.get("properties")?.get(name)
}

/// The names of a table's known entries.
pub(crate) fn known(keywords: &Keywords) -> impl Iterator<Item = &str> {
    keywords.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).map(String::as_str)
}

/// The strings to which a schema restricts a string; none if any is allowed.
pub(crate) fn words(keywords: &Keywords) -> Option<Vec<&str>> {
    match keywords.get("const") {
        Some(word) => Some(word.as_str().into_iter().collect()),
        None => keywords.get("enum")?.as_array().map(|words| words.iter().filter_map(Value::as_str).collect()),
    }
}

/// The least and the greatest number that an integer format holds, where a TOML integer can lie outside.
pub(crate) fn format_range(keywords: &Keywords) -> Option<(f64, f64)> {
    Some(match keywords.get("format")?.as_str()? {
        "int8" => (i8::MIN.into(), i8::MAX.into()),
        "int16" => (i16::MIN.into(), i16::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "uint8" => (0.0, u8::MAX.into()),
        "uint16" => (0.0, u16::MAX.into()),
        "uint32" => (0.0, u32::MAX.into()),
        "uint" | "uint64" => (0.0, f64::INFINITY),
        _ => return None,
    })
}
