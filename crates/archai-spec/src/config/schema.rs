//! What a configuration may hold: the JSON schema of the typed settings, with the sections that algorithms own.

use super::error::did_you_mean;
use super::units;
use crate::names::similar;
use crate::registry::{Named, Registry};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The keys, types and ranges that a tree is checked against.
#[derive(Clone, Debug)]
pub struct Schema {
    schema: Value,
    sections: Vec<String>,
    /// Where each name of a key stands, shortest dotted path first: found when first asked for.
    places: OnceLock<HashMap<String, Vec<String>>>,
}

impl Schema {
    /// The schema of any type. Types that deny unknown fields make unknown keys errors.
    pub fn of<T: JsonSchema>() -> Self {
        Self {
            schema: schema::<T>(),
            sections: Vec::new(),
            places: OnceLock::new(),
        }
    }

    /// Adds a section that an algorithm owns, for example `nas.search.darts`. It must be present unless all of its keys
    /// have defaults or its type is optional. A section that is added again has the later type.
    ///
    /// # Panics
    /// If the section that should hold it does not exist: the path is the program's, not the user's.
    #[must_use]
    pub fn section<T: JsonSchema>(mut self, path: &str) -> Self {
        self.places = OnceLock::new();
        let mut own = schema::<T>();
        let definitions = own.as_object_mut().and_then(|own| {
            own.remove("$schema");
            own.remove("definitions")
        });
        if let Some(Value::Object(definitions)) = definitions
            && let Some(root) = self.schema.as_object_mut()
            && let Value::Object(all) = root.entry("definitions").or_insert_with(|| json!({}))
        {
            all.extend(definitions);
        }
        let (holder, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut place = &mut self.schema;
        for part in holder.split('.').filter(|part| !part.is_empty()) {
            place = place
                .get_mut("properties")
                .and_then(|properties| properties.get_mut(part))
                .unwrap_or_else(|| panic!("no section `{holder}` to hold the section `{path}`"));
        }
        let optional = (own.get("type").and_then(Value::as_array))
            .is_some_and(|types| types.contains(&json!("null")));
        let needed = !optional
            && (own.get("required").and_then(Value::as_array))
                .is_some_and(|required| !required.is_empty());
        place["properties"][name] = own;
        if needed && let Some(Value::Array(required)) = place.get_mut("required") {
            required.push(json!(name));
        }
        if !self.sections.iter().any(|known| known == path) {
            self.sections.push(path.to_owned());
        }
        self
    }

    /// Makes keys that hold names of a list accept no others: those whose schema has `x-names` with the list's kind, as
    /// `#[schemars(extend("x-names" = "data format"))]` on a field gives it.
    ///
    /// ```
    /// use archai_spec::config::{ConfigLoader, Schema};
    /// use archai_spec::registry::{Named, Registry};
    /// use std::{collections::BTreeMap, sync::Arc};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Paint {
    ///     #[schemars(extend("x-names" = "colour"))]
    ///     colour: String,
    /// }
    /// struct Red;
    /// impl Named for Red {
    ///     fn name(&self) -> &str { "red" }
    ///     fn about(&self) -> &str { "the colour of tomatoes" }
    /// }
    /// let colours = Registry::<dyn Named>::new("colour").with(Arc::new(Red));
    /// let files = BTreeMap::from([("paint.yaml".to_string(), "colour: rad".to_string())]);
    /// let error = ConfigLoader::new(&files)
    ///     .files("paint.yaml")
    ///     .load(&Schema::of::<Paint>().naming(&colours))
    ///     .unwrap_err();
    /// assert!(error.to_string().contains("unknown value `rad`; did you mean `red`? (valid: red)"));
    /// ```
    #[must_use]
    pub fn naming<T: Named + ?Sized>(mut self, list: &Registry<T>) -> Self {
        let choices: Vec<Value> = list
            .iter()
            .map(
                |item| json!({"type": "string", "const": item.name(), "description": item.about()}),
            )
            .collect();
        name(&mut self.schema, list.kind(), &choices);
        self
    }

    /// Paths of the sections that algorithms own.
    pub(crate) fn sections(&self) -> &[String] {
        &self.sections
    }

    pub(super) fn root(&self) -> &Value {
        &self.schema
    }

    /// The schema as such: through a reference, an `allOf` of one, and out of "this or null".
    pub(super) fn plain<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        loop {
            let next = if let Some(Value::String(reference)) = schema.get("$ref") {
                self.schema.pointer(reference.trim_start_matches('#'))
            } else if let Some([only]) = schema
                .get("allOf")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
            {
                Some(only)
            } else {
                let choices = alternatives(schema);
                let mut others = choices.iter().filter(|choice| !is_null(choice));
                match (others.next(), others.next()) {
                    (Some(only), None) => Some(only),
                    _ => None,
                }
            };
            match next {
                Some(next) => schema = next,
                None => return schema,
            }
        }
    }

    /// Names that a section may hold.
    pub(super) fn names<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let schema = self.plain(schema);
        let mut names: Vec<&str> = properties(schema).map(|(name, _)| name.as_str()).collect();
        for choice in alternatives(schema) {
            for name in self.names(choice) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Checks that a dotted key exists.
    ///
    /// ```
    /// use archai_spec::config::Schema;
    /// let schema = Schema::settings();
    /// assert!(schema.has("nas.eval.trainer.epochs").is_ok());
    /// assert!(schema.has("nas.eval.trainer.epoch").unwrap_err().contains("did you mean"));
    /// ```
    ///
    /// # Errors
    /// It does not; the message offers the nearest name.
    pub fn has(&self, path: &str) -> Result<(), String> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        self.lookup(&path)
    }

    /// Checks that a key exists.
    pub(super) fn lookup(&self, path: &[String]) -> Result<(), String> {
        let mut schema = &self.schema;
        for (i, key) in path.iter().enumerate() {
            schema = self.plain(schema);
            if is_open(schema) {
                return Ok(());
            }
            let Some(next) = self.child(schema, key) else {
                let above = path[..i].join(".");
                let names = self.names(schema);
                if names.is_empty() {
                    let whole = if schema.get("type") == Some(&json!("array")) {
                        "a list, given as a whole"
                    } else {
                        "a value"
                    };
                    return Err(format!("{above} is {whole}; it has no key `{key}`"));
                }
                return Err(self.unknown(key, &above, &names, Some(&path[i + 1..])));
            };
            schema = next;
        }
        Ok(())
    }

    fn child<'a>(&'a self, schema: &'a Value, key: &str) -> Option<&'a Value> {
        let schema = self.plain(schema);
        if let Some(found) = schema.get("properties").and_then(|p| p.get(key)) {
            return Some(found);
        }
        if let Some(more) = schema
            .get("additionalProperties")
            .filter(|more| more.is_object())
        {
            return Some(more);
        }
        alternatives(schema)
            .iter()
            .find_map(|choice| self.child(choice, key))
    }

    /// The message for a key that is not there. `rest` are the keys that would have followed it.
    pub(super) fn unknown(
        &self,
        key: &str,
        section: &str,
        names: &[&str],
        rest: Option<&[String]>,
    ) -> String {
        let mut guesses: Vec<String> = similar(key, names.iter().copied())
            .into_iter()
            .map(str::to_owned)
            .collect();
        if guesses.is_empty() {
            // A right name in the wrong place.
            let wanted = rest.and_then(<[String]>::last).map_or(key, String::as_str);
            let everywhere = self.places().get(wanted).into_iter().flatten();
            guesses = everywhere.take(3).cloned().collect();
        } else if let Some(rest) = rest {
            let prefix = if section.is_empty() {
                String::new()
            } else {
                format!("{section}.")
            };
            let suffix: String = rest.iter().map(|part| format!(".{part}")).collect();
            guesses = guesses
                .iter()
                .map(|guess| format!("{prefix}{guess}{suffix}"))
                .collect();
        }
        let place = if section.is_empty() {
            "at the top of the tree".to_owned()
        } else {
            format!("in {section}")
        };
        format!(
            "unknown key `{key}` {place}{} (valid: {})",
            did_you_mean(&guesses),
            names.join(", ")
        )
    }

    /// The settings that a bare word may mean: dotted paths of the keys of this name, shortest first. Where there are none, those of
    /// the most similar name. Sections that others copy stand for their copies.
    ///
    /// ```
    /// use archai_spec::config::Schema;
    /// let keys = Schema::settings().keys_named("epochs");
    /// assert_eq!(keys[..2], ["nas.eval.trainer.epochs", "nas.search.trainer.epochs"]);
    /// assert_eq!(Schema::settings().keys_named("sise"), ["dataset.size"]);
    /// assert!(Schema::settings().keys_named("frobnicate").is_empty());
    /// ```
    pub fn keys_named(&self, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        self.each_key(&self.schema, "", &mut all);
        let last = |key: &String| key.rsplit('.').next().unwrap_or(key).to_owned();
        let names: Vec<String> = all.iter().map(last).collect();
        let known = names.iter().map(String::as_str);
        let wanted = match names.iter().any(|known| known == name) {
            true => Some(name),
            false => similar(name, known).into_iter().next(),
        };
        let mut keys: Vec<String> = (all.iter().zip(&names))
            .filter(|(_, last)| Some(last.as_str()) == wanted)
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort_by_key(|key| (key.matches('.').count(), key.len()));
        let mut kept: Vec<String> = Vec::new();
        for key in keys {
            let is_copy = |source: &String| key.ends_with(&format!(".{source}"));
            if !kept.iter().any(is_copy) {
                kept.push(key);
            }
        }
        kept
    }

    /// The dotted paths of all keys that hold a value.
    fn each_key(&self, schema: &Value, at: &str, found: &mut Vec<String>) {
        if at.matches('.').count() > 12 {
            return;
        }
        for (name, child) in properties(self.plain(schema)) {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            match properties(self.plain(child)).next() {
                Some(_) => self.each_key(child, &path, found),
                None => found.push(path),
            }
        }
    }

    /// Once for all unknown keys of a file, of which there can be thousands.
    fn places(&self) -> &HashMap<String, Vec<String>> {
        self.places.get_or_init(|| {
            let mut places = HashMap::new();
            self.find(&self.schema, "", &mut places);
            for paths in places.values_mut() {
                paths.sort_by_key(String::len);
            }
            places
        })
    }

    fn find(&self, schema: &Value, at: &str, places: &mut HashMap<String, Vec<String>>) {
        if at.matches('.').count() > 12 {
            return;
        }
        for (name, child) in properties(self.plain(schema)) {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            self.find(child, &path, places);
            places.entry(name.clone()).or_default().push(path);
        }
    }

    /// A JSON schema for editors: partial files are valid, `_copy` may stand in any section and for any value, and
    /// `__include__` at the top.
    pub fn editor_schema(&self) -> Value {
        let mut schema = self.schema.clone();
        loosen(&mut schema);
        schema["properties"]["__include__"] = json!({
            "description": "Files to load first, which this one overrides: one name or a list, relative to this file. \
                            Shipped files are named `archai:algos/common.yaml`.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        });
        schema["title"] = json!("archai configuration");
        schema
    }
}

/// The schema of a type, all in one piece. It is made as the items of a list, because only then a type that contains
/// itself refers to a definition, which still holds when the schema becomes a part of another.
fn schema<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft07()
        .with(|settings| settings.inline_subschemas = true);
    let mut list = settings
        .into_generator()
        .into_root_schema_for::<Vec<T>>()
        .to_value();
    let mut schema = match list.get_mut("items").map(Value::take) {
        Some(Value::Object(schema)) => schema,
        _ => Map::new(),
    };
    for word in ["$schema", "definitions"] {
        if let Some(shared) = list.get_mut(word).map(Value::take) {
            schema.insert(word.to_owned(), shared);
        }
    }
    let mut schema = Value::Object(schema);
    units::bound(&mut schema);
    schema
}

/// The extension of a schema that says of which kind the names are that a key holds.
const NAMES: &str = "x-names";

/// Puts the choices where names of this kind stand: a key's value, or the items of its list.
fn name(schema: &mut Value, kind: &str, choices: &[Value]) {
    match schema {
        Value::Object(map) if map.get(NAMES) == Some(&json!(kind)) => {
            let place = match map.get_mut("items") {
                Some(Value::Object(items)) => items,
                _ => map,
            };
            let null = json!("null");
            let nullable = (place.get("type").and_then(Value::as_array))
                .is_some_and(|types| types.contains(&null));
            place.remove("type");
            let mut choices = choices.to_vec();
            if nullable {
                choices.push(json!({ "type": "null" }));
            }
            place.insert("oneOf".to_owned(), Value::Array(choices));
        }
        Value::Object(map) => map
            .values_mut()
            .for_each(|inner| name(inner, kind, choices)),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|inner| name(inner, kind, choices)),
        _ => {}
    }
}

fn loosen(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    map.remove("required");
    for word in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(choices)) = map.get_mut(word) {
            choices.iter_mut().for_each(loosen);
        }
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(word) {
            loosen(inner);
        }
    }
    if let Some(Value::Object(definitions)) = map.get_mut("definitions") {
        definitions.values_mut().for_each(loosen);
    }
    let Some(Value::Object(properties)) = map.get_mut("properties") else {
        return;
    };
    for property in properties.values_mut() {
        loosen(property);
        let inner = property.take();
        let mut wrapped = Map::new();
        for word in ["description", "title", "default"] {
            if let Some(text) = inner.get(word) {
                wrapped.insert(word.to_owned(), text.clone());
            }
        }
        wrapped.insert(
            "anyOf".to_owned(),
            json!([inner, {"type": "string", "pattern": "^_copy: "}]),
        );
        *property = Value::Object(wrapped);
    }
    properties.insert(
        "_copy".to_owned(),
        json!({"type": ["string", "null"], "description": "Keys that this section lacks come from the section at this path."}),
    );
}

/// The choices of `anyOf` or `oneOf`.
pub(super) fn alternatives(schema: &Value) -> &[Value] {
    let choices = schema.get("anyOf").or_else(|| schema.get("oneOf"));
    choices.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

pub(super) fn is_null(schema: &Value) -> bool {
    schema.get("type") == Some(&json!("null"))
}

/// Whether the schema says nothing about what it accepts.
pub(super) fn is_open(schema: &Value) -> bool {
    const WORDS: [&str; 8] = [
        "type",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "enum",
        "const",
        "properties",
    ];
    WORDS.iter().all(|word| schema.get(word).is_none())
}
