//! `deploy/images/images.toml`: what the product's images are made of.

use crate::description::{Architecture, Entry, Image, ImagePath, Reference};
use crate::error::ImageError;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Of a registry that is none: what is built here comes from no other place.
const REGISTRY: &str = "localhost";

/// The images by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct List(BTreeMap<String, Spec>);

/// One of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    pub(crate) user: String,
    pub(crate) entrypoint: Vec<String>,
    #[serde(default)]
    pub(crate) command: Vec<String>,
    pub(crate) files: Vec<FileSpec>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSpec {
    /// Name of the input.
    pub(crate) from: String,
    pub(crate) to: ImagePath,
    #[serde(default)]
    pub(crate) mode: Mode,
}

/// Permission bits, written in octal.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Mode(pub(crate) u32);

impl Default for Mode {
    fn default() -> Self {
        Self(0o755)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|&mode| mode <= 0o7777 && text.len() == 4);
        mode.map(Self).ok_or_else(|| format!("mode {text:?}: write four octal digits, for example \"0755\""))
    }
}

/// What is wrong with the list, or with what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Not the TOML that is expected.
    #[error("images.toml: {0}")]
    Parse(#[from] toml::de::Error),
    /// A field says something that cannot be.
    #[error("images.toml: {field} of {image}: {problem}")]
    Field {
        /// The image.
        image: String,
        /// The field.
        field: &'static str,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// Not in the list.
    #[error("no image {name:?}; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Nobody knows where a file of the image comes from.
    #[error(
        "images.toml: {image} takes a file from {input:?}, and nothing of that name can be had; there are: {known}"
    )]
    Input {
        /// The image.
        image: String,
        /// The name after `from`.
        input: String,
        /// What there is.
        known: String,
    },
    /// The image cannot be described.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl List {
    /// The list of this repository, as it was when this was compiled.
    ///
    /// # Errors
    /// [`ListError`] when the file is wrong.
    pub fn of_repository() -> Result<Self, ListError> {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/images/images.toml"));
        Self::parse(text)
    }

    /// Reads a list and checks it.
    ///
    /// # Errors
    /// [`ListError`] with the image and the field.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let list: Self = toml::from_str(text)?;
        for (image, spec) in &list.0 {
            spec.check().map_err(|(field, problem)| ListError::Field {
                image: image.clone(),
                field,
                problem,
            })?;
        }
        Ok(list)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is an image `name`.
    ///
    /// # Errors
    /// [`ListError::Unknown`].
    pub fn check(&self, name: &str) -> Result<(), ListError> {
        self.spec(name).map(drop)
    }

    /// The files that go into the image `name`, by their names as inputs. `inputs` is what there is.
    ///
    /// # Errors
    /// [`ListError::Unknown`], [`ListError::Input`].
    pub fn files<'a>(
        &'a self,
        name: &str,
        inputs: &BTreeMap<&str, PathBuf>,
    ) -> Result<BTreeMap<&'a str, PathBuf>, ListError> {
        let files = self.spec(name)?.files.iter().map(|FileSpec { from, .. }| {
            let source = inputs.get(from.as_str()).cloned().ok_or_else(|| ListError::Input {
                image: name.to_owned(),
                input: from.clone(),
                known: inputs.keys().copied().collect::<Vec<_>>().join(", "),
            })?;
            Ok((from.as_str(), source))
        });
        files.collect()
    }

    /// The image `name` as `localhost/<name>:<tag>`, of the files that `inputs` has by name.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn image(
        &self,
        name: &str,
        tag: &str,
        architecture: Architecture,
        inputs: &BTreeMap<&str, PathBuf>,
    ) -> Result<Image, ListError> {
        let spec = self.spec(name)?;
        let mut image = Image::new(Reference::new(format!("{REGISTRY}/{name}"), tag)?, architecture);
        let files = self.files(name, inputs)?;
        for FileSpec { from, to, mode } in &spec.files {
            let source = files[from.as_str()].clone();
            image.entries.insert(to.clone(), Entry::File { source, mode: mode.0 });
        }
        image.entrypoint.clone_from(&spec.entrypoint);
        image.command.clone_from(&spec.command);
        image.environment.clone_from(&spec.environment);
        image.user.clone_from(&spec.user);
        image.labels.clone_from(&spec.labels);
        Ok(image)
    }

    pub(crate) fn spec(&self, name: &str) -> Result<&Spec, ListError> {
        self.0.get(name).ok_or_else(|| ListError::Unknown {
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }
}

impl Spec {
    /// The field that is wrong, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let number = |text: &str| text.parse::<u32>().is_ok();
        if !self.user.split_once(':').is_some_and(|(user, group)| number(user) && number(group)) {
            let problem = format!("{:?} is not two numbers; write \"65532:65532\"", self.user);
            return Err(("user", problem));
        }
        let mut places = BTreeSet::new();
        for FileSpec { to, .. } in &self.files {
            if !places.insert(to.as_str()) {
                return Err(("files", format!("{to} is there twice; remove one")));
            }
        }
        let Some(program) = self.entrypoint.first() else {
            return Err(("entrypoint", "it is empty; write the path of one of the files".to_owned()));
        };
        if !places.contains(program.as_str()) {
            return Err(("entrypoint", format!("{program} is none of the files; write the path of one")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const GOOD: &str = r#"
        [one]
        user = "1:2"
        entrypoint = ["/a"]
        files = [{ from = "a", to = "/a" }, { from = "b", to = "/b", mode = "0640" }]
    "#;

    fn refusal(text: &str, from: &str, to: &str) -> String {
        assert!(text.contains(from), "{from}");
        List::parse(&text.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn an_image_is_made_as_listed() {
        let list = List::parse(GOOD).unwrap();
        let inputs = BTreeMap::from([("a", PathBuf::from("/x/a")), ("b", PathBuf::from("/x/b"))]);
        let image = list.image("one", "7", Architecture::Arm64, &inputs).unwrap();
        assert_eq!(image.reference.to_string(), "localhost/one:7");
        assert_eq!(image.architecture, Architecture::Arm64);
        let file = |name: &str| image.entries[&ImagePath::new(name).unwrap()].clone();
        assert_eq!(file("/a"), Entry::File { source: "/x/a".into(), mode: 0o755 });
        assert_eq!(file("/b"), Entry::File { source: "/x/b".into(), mode: 0o640 });
        assert_eq!((image.user.as_str(), image.entrypoint.as_slice()), ("1:2", &["/a".to_owned()][..]));
    }

    #[test]
    fn mistakes_are_named() {
        for (from, to, expected) in [
            ("1:2", "root", r#"user of one: "root" is not two numbers; write "65532:65532""#),
            ("to = \"/b\"", "to = \"/a\"", "files of one: /a is there twice; remove one"),
            ("[\"/a\"]", "[]", "entrypoint of one: it is empty; write the path of one of the files"),
            ("[\"/a\"]", "[\"/c\"]", "entrypoint of one: /c is none of the files; write the path of one"),
            ("0640", "640", "mode \"640\": write four octal digits, for example \"0755\""),
            ("\"/b\"", "\"b\"", "path \"b\" in the image: it does not begin with /"),
            ("user", "usr", "unknown field `usr`"),
        ] {
            let said = refusal(GOOD, from, to);
            assert!(said.starts_with("images.toml: ") && said.contains(expected), "{said}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let list = List::parse(GOOD).unwrap();
        assert_eq!(list.check("two").unwrap_err().to_string(), "no image \"two\"; there are: one");
        let inputs = BTreeMap::from([("a", PathBuf::from("/x/a"))]);
        assert_eq!(
            list.image("one", "7", Architecture::Amd64, &inputs).unwrap_err().to_string(),
            "images.toml: one takes a file from \"b\", and nothing of that name can be had; there are: a"
        );
    }
}
