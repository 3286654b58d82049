//! JSON that is read in part: what nobody looks at stays text, and what is looked at has bounds.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Elements that an array may have. A node could not run a pod with so many containers, volumes or mounts; an array of
/// empty objects would take many times its own size.
pub(super) const MOST: usize = 4096;

/// An object. A derived type would take an array of its fields as well.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// An array of at most [`MOST`] objects.
#[derive(Debug)]
pub(super) struct Objects<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Objects<T>;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(Object(element)) = array.next_element()? {
                    if elements.len() == MOST {
                        return Err(A::Error::custom(format_args!("an array of more than {MOST} elements")));
                    }
                    elements.push(element);
                }
                Ok(Objects(elements))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// The text under `key` of an object of texts. Of a key that is there twice the last one counts, as for the API server.
pub(super) fn text<'a>(object: &'a RawValue, key: &str) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    struct Texts<'k>(&'k str);
    impl<'de> Visitor<'de> for Texts<'_> {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
            text.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Text(key)) = map.next_key()? {
                if key == self.0 {
                    let Text(value) = map.next_value()?;
                    found = Some(value);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(object.get()).deserialize_map(Texts(key))
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Thing {
        name: String,
    }

    fn things(json: &str) -> Result<usize, String> {
        serde_json::from_str::<Objects<Thing>>(json).map(|all| all.0.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn arrays_hold_objects_and_not_too_many() {
        assert_eq!(things("[]"), Ok(0));
        assert_eq!(things(r#"[{"name": "a", "b": [{}]}, {}]"#), Ok(2));
        let of = |count| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(things(&of(MOST)), Ok(MOST));
        assert!(things(&of(MOST + 1)).unwrap_err().contains("more than 4096"));
        // A positional struct would be taken by derived code.
        assert!(things(r#"[["a"]]"#).unwrap_err().contains("expected an object"));
        assert!(things("{}").unwrap_err().contains("expected an array"));
    }

    #[test]
    fn texts_are_found_by_their_key() {
        let find = |json: &str, key: &str| {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            text(&raw, key).map(|found| found.map(Cow::into_owned)).map_err(|error| error.to_string())
        };
        let json = r#"{"a": "1", "b\u0062": "x\ty", "a": "2", "n": 7, "deep": [[{}]]}"#;
        assert_eq!(find(json, "a"), Ok(Some("2".to_owned())));
        assert_eq!(find(json, "bb"), Ok(Some("x\ty".to_owned())));
        assert_eq!(find(json, "none"), Ok(None));
        assert!(find(json, "n").unwrap_err().contains("expected a string"));
        assert!(find("[]", "a").unwrap_err().contains("an object of strings"));
    }
}
