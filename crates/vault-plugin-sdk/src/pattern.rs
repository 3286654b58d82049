//! Pieces of path patterns.
//!
//! Patterns are regular expressions; [`crate::Path::new`] anchors them. Named groups become fields.
//! Character classes are spelled out in ASCII: `\w` would be Unicode here, and a host's is not.

/// A path segment `name` as Vault's own engines accept it: letters, digits, `_`, and `-` or `.`
/// inside the name.
pub fn name(name: &str) -> String {
    format!("(?P<{name}>[0-9A-Za-z_](?:[0-9A-Za-z_.\\-]*[0-9A-Za-z_])?)")
}

/// Everything up to the end, slashes included, at least one character.
pub fn rest(name: &str) -> String {
    format!("(?P<{name}>.+)")
}

/// A folder: `roles` and `roles/`. Hosts append the slash to list requests.
pub fn list(folder: &str) -> String {
    format!("{folder}/?")
}

/// `pattern` anchored at both ends, unless it already is.
pub(crate) fn anchored(pattern: &str) -> String {
    let start = if pattern.starts_with('^') { "" } else { "^" };
    let end = if pattern.ends_with('$') { "" } else { "$" };
    format!("{start}{pattern}{end}")
}

/// The OpenAPI form of a pattern: `roles/(?P<role>…)` becomes `/roles/{role}`.
///
/// Only what this module builds is understood: named groups, a trailing `/?`, escaped characters.
/// Other regular-expression syntax is kept as it stands.
pub(crate) fn template(pattern: &str) -> String {
    let text = pattern.trim_start_matches('^').trim_end_matches('$');
    let text = text.strip_suffix("/?").unwrap_or(text);
    let mut out = String::from("/");
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '(' if text[at..].starts_with("(?P<") => {
                let after = &text[at + 4..];
                let name = after.split('>').next().unwrap_or_default();
                out.push_str(&format!("{{{name}}}"));
                let mut depth = 1_u32;
                let mut escaped = false;
                for (_, inner) in chars.by_ref() {
                    match inner {
                        _ if escaped => escaped = false,
                        '\\' => escaped = true,
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '\\' => out.extend(chars.next().map(|(_, literal)| literal)),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use regex::Regex;

    #[test]
    fn names_are_ascii_and_keep_dots_inside() {
        let role = Regex::new(&anchored(&format!("roles/{}", name("role")))).unwrap();
        for good in ["roles/a", "roles/A_1", "roles/a-b.c", "roles/_"] {
            assert!(role.is_match(good), "{good}");
        }
        for bad in
            ["roles/", "roles/-a", "roles/a.", "roles/a/b", "roles/é", "roles/a\n", "xroles/a", "roles/a b"]
        {
            assert!(!role.is_match(bad), "{bad:?}");
        }
    }

    #[test]
    fn templates() {
        assert_eq!(template(&format!("roles/{}", name("role"))), "/roles/{role}");
        assert_eq!(template(&list("roles")), "/roles");
        assert_eq!(template("^a/(?P<x>(b|\\)c)+)/d$"), "/a/{x}/d");
        assert_eq!(template(&rest("key")), "/{key}");
        assert_eq!(template("v1\\.0/x"), "/v1.0/x");
    }

    #[test]
    fn anchors_once() {
        assert_eq!(anchored("a"), "^a$");
        assert_eq!(anchored("^a$"), "^a$");
    }
}
