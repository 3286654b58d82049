//! A JSON patch while it is being put together.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Outcome;

/// Operations and warnings so far.
#[derive(Debug, Default)]
pub(super) struct Edit {
    operations: Vec<Value>,
    warnings: Vec<String>,
    /// Arrays that the pod lacked and that operations before have made.
    made: BTreeSet<String>,
}

impl Edit {
    /// Appends to the array at `path`. When the pod's `present` value there is no array, one is made first:
    /// `/-` of a missing array is no valid operation.
    pub(super) fn append(&mut self, path: &str, present: &Value, element: Value) {
        if !present.is_array() && self.made.insert(path.to_owned()) {
            self.add(path, json!([]));
        }
        self.add(&format!("{path}/-"), element);
    }

    /// Sets a member.
    pub(super) fn add(&mut self, path: &str, value: Value) {
        let mut operation = json!({"op": "add", "path": path});
        operation["value"] = value;
        self.operations.push(operation);
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, path: &str) {
        self.operations.push(json!({"op": "remove", "path": path}));
    }

    /// Says something to whoever makes the pod.
    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// The answer.
    pub(super) fn into_outcome(self) -> Outcome {
        let Self { operations, warnings, .. } = self;
        if operations.is_empty() {
            return Outcome::Unchanged { warnings };
        }
        Outcome::Patched { patch: Value::Array(operations), warnings }
    }
}
