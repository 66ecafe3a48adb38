//! Checks a document against the schema of its kind, as the API server of Kubernetes does with strict validation.
//!
//! `kubernetes.json` holds the definitions. They use a small part of JSON schema, and this reads all of that part but
//! `format`, which only distinguishes numbers by their size.

use serde_json::Value;

/// All faults of a document, each with its place.
pub(crate) fn faults(document: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("kubernetes.json")).expect("JSON");
    let word = |key: &str| document[key].as_str().unwrap_or("?");
    let kind = format!("{} {}", word("apiVersion"), word("kind"));
    let Some(name) = schema["kinds"][&kind].as_str() else {
        return vec![format!("there is no schema of {kind}")];
    };
    let mut check = Check { definitions: &schema["definitions"], faults: Vec::new() };
    check.value(document, &schema["definitions"][name], &kind);
    check.faults
}

struct Check<'s> {
    definitions: &'s Value,
    faults: Vec<String>,
}

impl Check<'_> {
    fn value(&mut self, value: &Value, schema: &Value, place: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let definition = &self.definitions[name];
            assert!(definition.is_object(), "kubernetes.json has no definition of {name}");
            return self.value(value, definition, place);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &Value| is_of_type(value, &choice["type"]);
            if !choices.iter().any(fits) {
                self.faults.push(format!("{place} can't be {value}"));
            }
            return;
        }
        if !is_of_type(value, &schema["type"]) {
            return self.faults.push(format!("{place} is {value}, not of type {}", schema["type"]));
        }
        if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
            self.faults.push(format!("{place} is {value}, not one of {}", schema["enum"]));
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &schema["items"], &format!("{place}[{index}]"));
                }
            }
            Value::Object(fields) => {
                for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if !fields.contains_key(name) {
                        self.faults.push(format!("{place} has no {name}"));
                    }
                }
                for (name, field) in fields {
                    let place = format!("{place}.{name}");
                    match (&schema["properties"][name], &schema["additionalProperties"]) {
                        (Value::Null, Value::Bool(false)) => {
                            self.faults.push(format!("{place} is not known"));
                        }
                        (Value::Null, other) => self.value(field, other, &place),
                        (known, _) => self.value(field, known, &place),
                    }
                }
            }
            _ => (),
        }
    }
}

/// Whether a value is of a type, or of one of several. A schema without a type allows every value.
fn is_of_type(value: &Value, types: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("kubernetes.json has a type {other}"),
    };
    match types {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// The manifests could pass because nothing is checked.
#[test]
fn mistakes_are_found() {
    let probe = |probe: &str| {
        let container = format!(r#"{{"name": "app", "readinessProbe": {probe}}}"#);
        let template = format!(r#"{{"spec": {{"containers": [{container}]}}}}"#);
        let spec = format!(r#"{{"selector": {{}}, "template": {template}}}"#);
        let document = format!(r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {spec}}}"#);
        faults(&serde_json::from_str(&document).expect("JSON")).join("; ")
    };
    let found = |given: &str, fault: &str| {
        let place = "apps/v1 Deployment.spec.template.spec.containers[0].readinessProbe";
        assert_eq!(probe(given), format!("{place}{fault}"));
    };
    assert_eq!(probe(r#"{"httpGet": {"path": "/readyz", "port": "admin"}, "periodSeconds": 2}"#), "");
    found(r#"{"periodSecond": 2}"#, ".periodSecond is not known");
    found(r#"{"periodSeconds": "2"}"#, r#".periodSeconds is "2", not of type ["integer","null"]"#);
    found(r#"{"httpGet": {"path": "/readyz"}}"#, ".httpGet has no port");
    found(r#"{"httpGet": {"port": true}}"#, ".httpGet.port can't be true");
    let unknown = serde_json::json!({"apiVersion": "apps/v2", "kind": "Deployment"});
    assert_eq!(faults(&unknown), ["there is no schema of apps/v2 Deployment"]);
}
