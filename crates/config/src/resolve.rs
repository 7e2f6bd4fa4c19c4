use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::schema::Schema;
use crate::{ConfigError, Layered, Problem, Problems, check};

/// The typed configuration that merged layers say, defaults filled in by serde.
///
/// What serde cannot report all at once or with its place (unknown keys, unknown types, wrong types, missing keys,
/// ranges) is found by the type's JSON Schema first.
///
/// # Errors
///
/// Every problem found, each with its key and place.
pub fn resolve<T: DeserializeOwned + JsonSchema>(layered: &Layered) -> Result<T, ConfigError> {
    Resolver::new().resolve(layered)
}

/// [`resolve`] for many configurations of a type, whose schema is made once.
pub struct Resolver<T> {
    schema: Schema,
    resolved: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + JsonSchema> Resolver<T> {
    /// A resolver.
    #[allow(clippy::new_without_default, reason = "nothing is a default here: the type says all")]
    pub fn new() -> Self {
        Self { schema: Schema::of::<T>(), resolved: PhantomData }
    }

    /// The typed configuration that merged layers say.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn resolve(&self, layered: &Layered) -> Result<T, ConfigError> {
        let problems = check::check(&self.schema, layered.root());
        if problems.is_empty() { typed(layered) } else { Err(ConfigError { problems }) }
    }
}

/// Some sections `P` of a configuration `T`, of which the others may be missing, as in a preset; what there is of them
/// is checked all the same.
///
/// # Errors
///
/// Every problem found, each with its key and place.
pub fn resolve_part<T: JsonSchema, P: DeserializeOwned>(layered: &Layered) -> Result<P, ConfigError> {
    let problems = check::check(&Schema::new(schema::<T>()), layered.root());
    if problems.is_empty() { typed(layered) } else { Err(ConfigError { problems }) }
}

fn typed<T: DeserializeOwned>(layered: &Layered) -> Result<T, ConfigError> {
    layered.value().try_into().map_err(|error: toml::de::Error| {
        // The error keeps its path to itself but prints it last: "message\nin `a.b`".
        let printed = error.to_string();
        let key =
            printed.rsplit_once("\nin `").and_then(|(_, key)| key.trim_end().strip_suffix('`')).unwrap_or_default();
        let mut problems = Problems::new();
        problems.extend([Problem { key: key.to_owned(), message: error.message().trim_end().to_owned(), help: None }]);
        layered.locate(problems)
    })
}

/// The JSON Schema of a configuration file, for editors: that of `T`, and `extends`, which every file may say.
/// No section is required, since what one file leaves out another may say.
pub fn schema<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    if let Some(keywords) = schema.as_object_mut() {
        keywords.remove("required");
        let properties = keywords.entry("properties").or_insert_with(|| json!({}));
        properties["extends"] = json!({
            "description": "Configuration files, relative to this one, over which this one is laid.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        });
    }
    schema
}
