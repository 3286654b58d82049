//! Dockerfiles for people who use a builder.

use crate::list::{FileSpec, List, ListError};
use std::fmt::{self, Write as _};

/// What every one begins with. BuildKit has `COPY --chmod`, and is what `docker build` and `podman build` use.
const HEAD: &str = "\
# Written by `cargo xtask images --dockerfiles` from images.toml. The files that are copied:
# `cargo xtask images --context DIR` puts them in a directory.
ARG BASE=scratch
FROM ${BASE}
";

impl List {
    /// A Dockerfile for the same image. Its build context is a directory with the inputs under their names.
    ///
    /// # Errors
    /// [`ListError::Unknown`].
    pub fn dockerfile(&self, name: &str) -> Result<String, ListError> {
        let spec = self.spec(name)?;
        let mut lines = HEAD.to_owned();
        for FileSpec { from, to, mode } in &spec.files {
            line(&mut lines, format_args!("COPY --chmod={:04o} {from} {to}", mode.0));
        }
        for (keyword, pairs) in [("ENV", &spec.environment), ("LABEL", &spec.labels)] {
            for (name, value) in pairs {
                line(&mut lines, format_args!("{keyword} {name}={}", quoted(value)));
            }
        }
        line(&mut lines, format_args!("USER {}", spec.user));
        line(&mut lines, format_args!("ENTRYPOINT {}", list(&spec.entrypoint)));
        if !spec.command.is_empty() {
            line(&mut lines, format_args!("CMD {}", list(&spec.command)));
        }
        Ok(lines)
    }
}

fn line(lines: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(lines, "{text}");
}

/// A value in double quotes, where a builder would replace variables.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text + "\""
}

/// The exec form, which is JSON.
fn list(words: &[String]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_dockerfile_says_what_the_list_says() {
        let text = r#"
            [one]
            user = "1:2"
            entrypoint = ["/a", "say \"hi\""]
            command = ["b"]
            files = [{ from = "a", to = "/a" }, { from = "c", to = "/etc/c", mode = "0640" }]
            [one.environment]
            PRICE = "5$ \"or\" so"
            [one.labels]
            "org.example" = "x"
        "#;
        let expected = r#"COPY --chmod=0755 a /a
COPY --chmod=0640 c /etc/c
ENV PRICE="5\$ \"or\" so"
LABEL org.example="x"
USER 1:2
ENTRYPOINT ["/a", "say \"hi\""]
CMD ["b"]
"#;
        let written = List::parse(text).unwrap().dockerfile("one").unwrap();
        assert_eq!(written.strip_prefix(HEAD), Some(expected));
    }

    #[test]
    fn the_dockerfiles_of_the_repository_are_those_of_the_list() {
        let list = List::of_repository().unwrap();
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/images");
        for name in list.names() {
            let path = format!("{directory}/{name}.Dockerfile");
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            let expected = list.dockerfile(name).unwrap();
            assert_eq!(found, expected, "{path} is old; `cargo xtask images --dockerfiles` writes it anew");
        }
        let found =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).filter(|name| {
                let name = name.to_string_lossy();
                name.strip_suffix(".Dockerfile").is_some_and(|name| list.spec(name).is_err())
            });
        assert_eq!(found.collect::<Vec<_>>(), Vec::<std::ffi::OsString>::new(), "images that are not listed");
    }
}
