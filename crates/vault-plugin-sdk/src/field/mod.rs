//! Typed fields of paths, converted from JSON or query strings the way the hosts' own framework
//! converts them.

mod convert;
mod data;
mod duration;
mod integer;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

pub use convert::ConvertError;
pub use data::FieldData;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldType {
    /// Text. Numbers and booleans are taken as their text (`true` as `1`).
    String,
    /// `true`/`false` in the spellings of Go's `ParseBool`, or a number (zero is false).
    Bool,
    /// A 64-bit integer, fractions cut, or its text: decimal, or `0x…`, `0o…`, `0…` (octal) and `0b…`, with `_`
    /// between digits.
    Int,
    /// Seconds: a number, its text, `<n>d`, or a Go duration (`1h30m`). Never negative; fractions
    /// of a second are cut. `null` is as good as not given.
    DurationSecs,
    /// A JSON array, or text separated by commas; items are trimmed. One number or boolean is a
    /// list of one.
    CommaList,
    /// A JSON object.
    Map,
}

impl FieldType {
    /// The name shown in `path-help`.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::DurationSecs => "duration (sec)",
            Self::CommaList => "slice",
            Self::Map => "map",
        }
    }

    pub(crate) fn zero(self) -> FieldValue {
        match self {
            Self::String => FieldValue::String(String::new()),
            Self::Bool => FieldValue::Bool(false),
            Self::Int => FieldValue::Int(0),
            Self::DurationSecs => FieldValue::Duration(Duration::ZERO),
            Self::CommaList => FieldValue::List(Vec::new()),
            Self::Map => FieldValue::Map(Map::new()),
        }
    }
}

/// A converted value.
#[derive(Clone, PartialEq)]
pub(crate) enum FieldValue {
    String(String),
    Bool(bool),
    Int(i64),
    Duration(Duration),
    List(Vec<String>),
    Map(Map<String, Value>),
}

/// A field a path takes.
#[derive(Clone)]
pub struct Field {
    pub(crate) name: String,
    pub(crate) kind: FieldType,
    pub(crate) description: String,
    pub(crate) default: Option<FieldValue>,
    pub(crate) required: bool,
    pub(crate) sensitive: bool,
}

impl Field {
    /// A field of any type.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self {
            name: name.into(),
            kind,
            description: String::new(),
            default: None,
            required: false,
            sensitive: false,
        }
    }

    /// A text field.
    pub fn string(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::String)
    }

    /// A yes/no field.
    pub fn bool(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Bool)
    }

    /// An integer field.
    pub fn int(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Int)
    }

    /// A duration field, in seconds.
    pub fn duration(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::DurationSecs)
    }

    /// A list of texts.
    pub fn list(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::CommaList)
    }

    /// A JSON object.
    pub fn map(name: impl Into<String>) -> Self {
        Self::new(name, FieldType::Map)
    }

    /// The text for `path-help`.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// The value of a text field that is not set.
    pub fn default_str(mut self, value: impl Into<String>) -> Self {
        self.default = Some(FieldValue::String(value.into()));
        self
    }

    /// The value of a yes/no field that is not set.
    pub fn default_bool(mut self, value: bool) -> Self {
        self.default = Some(FieldValue::Bool(value));
        self
    }

    /// The value of an integer field that is not set.
    pub fn default_int(mut self, value: i64) -> Self {
        self.default = Some(FieldValue::Int(value));
        self
    }

    /// The value of a duration field that is not set.
    pub fn default_duration(mut self, value: Duration) -> Self {
        self.default = Some(FieldValue::Duration(value));
        self
    }

    /// Marks the field as required in the OpenAPI document. The handler enforces it.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Marks the value as secret: the OpenAPI document says so, and a failed conversion does not
    /// quote it.
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
