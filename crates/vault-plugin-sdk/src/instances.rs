//! The mounts this process serves.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::dispatch::Engine;

/// One mount.
pub(crate) struct Instance {
    pub(crate) engine: Engine,
}

/// Mounts by the host's `multiplex_id`, which is empty when the host sends none.
#[derive(Default)]
pub(crate) struct Instances(RwLock<HashMap<String, Arc<Instance>>>);

impl Instances {
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Instance>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn insert(&self, id: String, instance: Instance) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(instance));
    }

    /// Requests under way keep their mount until they end.
    pub(crate) fn remove(&self, id: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
