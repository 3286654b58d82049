//! Secrets to look for, as they are and as they may have been written down.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use boathouse_testkit::stack::{Issued, Stack, VaultAdmin};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use std::fmt::Write as _;

/// What each is, and it.
#[derive(Default)]
pub(super) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Those of the servers.
    pub(super) fn of(stack: &Stack) -> Self {
        let mut secrets = Self::default();
        secrets.add("of MinIO's root", stack.minio().root_password().expose_secret());
        secrets.add("the root token", stack.vault().token().map_or("", |token| token.expose_secret()));
        secrets
    }

    /// One or, of a PEM text, one per line: none of them may be anywhere.
    pub(super) fn add(&mut self, what: &str, secret: &str) {
        let lines = secret.lines().filter(|line| !line.starts_with("-----"));
        self.0.extend(lines.map(|line| (what.to_owned(), line.to_owned())));
    }

    /// A new one, that is looked for from now on.
    pub(super) fn invent(&mut self, what: &str) -> String {
        let secret = format!("{:032x}", rand::random::<u128>());
        self.add(what, &secret);
        secret
    }

    pub(super) fn add_issued(&mut self, what: &str, issued: &Issued) {
        self.add(what, issued.secret.expose_secret());
        if let Some(token) = issued.data["sessionToken"].as_str() {
            self.add(&format!("session token, {what}"), token);
        }
    }

    /// Those in all that a mount has stored; gives how many parents there are.
    pub(super) async fn add_stored(&mut self, vault: &VaultAdmin, mount: &str) -> anyhow::Result<usize> {
        let mounts = vault.read("sys/mounts").await?;
        let uuid = mounts["data"][format!("{mount}/")]["uuid"].as_str().context("no uuid")?;
        let (mut folders, mut parents) = (vec![format!("logical/{uuid}/")], 0);
        while let Some(folder) = folders.pop() {
            for name in vault.list(&format!("sys/raw/{folder}")).await? {
                let path = format!("{folder}{name}");
                if name.ends_with('/') {
                    folders.push(path);
                    continue;
                }
                parents += usize::from(folder.ends_with("/parents/"));
                let answer = vault.read(&format!("sys/raw/{path}")).await?;
                let text = answer["data"]["value"].as_str().with_context(|| path.clone())?;
                self.add_fields(&path, &serde_json::from_str(text).with_context(|| path.clone())?);
            }
        }
        Ok(parents)
    }

    /// Every text whose name has "secret" in it.
    fn add_fields(&mut self, path: &str, value: &Value) {
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) if name.to_lowercase().contains("secret") && !text.is_empty() => {
                    self.add(&format!("{name} of {path}"), text);
                }
                _ => self.add_fields(path, value),
            }
        }
    }

    /// What those are that the text has in it, in any form.
    pub(super) fn found_in(&self, text: &str) -> Vec<String> {
        let found = self.0.iter().flat_map(|(what, secret)| {
            let forms = forms(secret).into_iter().filter(|(_, form)| text.contains(form.as_str()));
            forms.map(move |(name, _)| format!("{what} ({name})"))
        });
        found.collect()
    }
}

/// As it is, in hexadecimal, and in base64: alone, or in the midst of a longer text, where it can begin at any of
/// three places.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let mut hex = String::new();
    for byte in secret.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    let mut forms = vec![("as it is", secret.to_owned()), ("in hexadecimal", hex)];
    for before in 0..3 {
        let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
        // A character is six bits. Those that have bits of what is before or after say nothing.
        let (skipped, cut) = ((before * 8).div_ceil(6), usize::from(bytes.len() % 3 > 0));
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            forms.push(("in base64", text[skipped..text.len() - cut].to_owned()));
        }
    }
    forms
}

/// The search fails where it must.
pub(super) fn each_form_is_found() -> anyhow::Result<()> {
    let mut secrets = Secrets::default();
    let secret = secrets.invent("hidden");
    ensure!(secrets.found_in("2026-01-01T00:00:00Z [DEBUG] nothing here").is_empty());
    for before in ["", "a", "ab", "abc", "\u{ff}\u{ff}"] {
        let text = format!("{before}{secret}?{before}");
        for written in [text.clone(), STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            ensure!(!secrets.found_in(&format!("[DEBUG] x={written}")).is_empty(), "not found in {written}");
        }
    }
    Ok(())
}
