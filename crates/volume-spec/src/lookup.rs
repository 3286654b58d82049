//! Reading one key of the string maps requests carry.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use secrecy::{ExposeSecret, SecretString};

/// A map from strings to strings: CSI's `volume_context` and `secrets`, a callout's options and secrets.
pub trait Lookup {
    /// The value of `key`.
    fn value(&self, key: &str) -> Option<&str>;
}

impl<S: BuildHasher> Lookup for HashMap<String, String, S> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Lookup for BTreeMap<String, String> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Lookup for BTreeMap<String, SecretString> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(ExposeSecret::expose_secret)
    }
}
