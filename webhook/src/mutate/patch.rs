//! A JSON patch while it is being put together.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Outcome;

/// Most operations of a patch: each takes many times the text that asks for it. A node could not run a pod that needs so
/// many.
const OPERATIONS: usize = 4096;
/// Most warnings. The API server passes on 4 KiB of them (k8s.io/apiserver/pkg/endpoints/filters/warning.go).
const WARNINGS: usize = 32;

/// Operations and warnings so far.
#[derive(Debug, Default)]
pub(super) struct Edit {
    operations: Vec<Value>,
    warnings: Vec<String>,
    /// Arrays that the pod lacked and that operations before have made.
    made: BTreeSet<String>,
    too_many: bool,
}

impl Edit {
    /// Appends to the array at `path`. One that is not there is made first: `/-` of a missing array is no valid
    /// operation.
    pub(super) fn append(&mut self, path: &str, is_there: bool, element: Value) {
        if !is_there && self.made.insert(path.to_owned()) {
            self.add(path, json!([]));
        }
        self.add(&format!("{path}/-"), element);
    }

    /// Sets a member.
    pub(super) fn add(&mut self, path: &str, value: Value) {
        let mut operation = json!({"op": "add", "path": path});
        operation["value"] = value;
        self.push(operation);
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, path: &str) {
        self.push(json!({"op": "remove", "path": path}));
    }

    fn push(&mut self, operation: Value) {
        if self.operations.len() < OPERATIONS {
            self.operations.push(operation);
        } else {
            self.too_many = true;
        }
    }

    /// Says something to whoever makes the pod; `words` are only put together when there is room for them.
    pub(super) fn warn(&mut self, words: impl FnOnce() -> String) {
        if self.warnings.len() < WARNINGS {
            self.warnings.push(words());
        }
    }

    /// The answer.
    pub(super) fn into_outcome(self) -> Outcome {
        let Self { operations, warnings, too_many, .. } = self;
        if too_many {
            let message = format!(
                "the pod would need more than {OPERATIONS} changes; give it fewer volumes and mounts"
            );
            return Outcome::Denied { message };
        }
        if operations.is_empty() {
            return Outcome::Unchanged { warnings };
        }
        Outcome::Patched { patch: Value::Array(operations), warnings }
    }
}
