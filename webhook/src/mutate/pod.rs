//! A pod as raw JSON, and the few things that are read from it.
//!
//! The API server has decoded the pod before it asks, so a field of a wrong type does not come from there; it
//! is read as if it were absent.

use serde_json::Value;
use volume_spec::{Shown, go_bool};

use super::refusal::Refusal;
use super::{CSI_DRIVER, FLEX_DRIVER, INJECT, OUTPUT, Output};

/// A pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod<'a>(pub(super) &'a Value);

impl<'a> Pod<'a> {
    /// Whether the pod asks for its directories.
    pub(super) fn wants_injection(self) -> Result<bool, Refusal> {
        self.annotation(INJECT, "\"true\" or \"false\"", go_bool::parse).map(Option::unwrap_or_default)
    }

    /// The output the pod chooses.
    pub(super) fn output(self) -> Result<Option<Output>, Refusal> {
        self.annotation(OUTPUT, "\"csi\" or \"flexVolume\"", |text| match text {
            "csi" => Some(Output::Csi),
            "flexVolume" => Some(Output::FlexVolume),
            _ => None,
        })
    }

    fn annotation<T>(
        self,
        name: &'static str,
        write: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.0["metadata"]["annotations"].get(name) else { return Ok(None) };
        let text = value.as_str().unwrap_or_default();
        let refusal = || Refusal::Annotation { name, value: Shown::new(text), write };
        parse(text).map(Some).ok_or_else(refusal)
    }

    /// The namespace the pod itself names.
    pub(super) fn namespace(self) -> Option<&'a str> {
        self.0["metadata"]["namespace"].as_str()
    }

    /// The value of a label.
    pub(super) fn label(self, key: &str) -> Option<&'a str> {
        self.0["metadata"]["labels"].get(key)?.as_str()
    }

    /// Its volumes; none when there is no such array.
    pub(super) fn volumes(self) -> &'a [Value] {
        array(&self.0["spec"]["volumes"])
    }

    /// Its containers, without init containers and ephemeral ones.
    pub(super) fn containers(self) -> &'a [Value] {
        array(&self.0["spec"]["containers"])
    }
}

/// A value's elements; none when it is no array.
pub(super) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The `name` of a volume, container or mount; empty when it has none.
pub(super) fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

/// Whether a volume is of the FlexVolume driver.
pub(super) fn is_flex(volume: &Value) -> bool {
    volume["flexVolume"]["driver"] == FLEX_DRIVER
}

/// Whether a volume is one of ours, in either form.
pub(super) fn is_ours(volume: &Value) -> bool {
    is_flex(volume) || volume["csi"]["driver"] == CSI_DRIVER
}
