//! The command-line client, for what a test asks of the API server.

use super::{clean, pki};
use crate::place::Place;
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(240);

/// `kubectl` as administrator.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    place: Place,
}

impl Kubectl {
    pub(super) fn new(place: &Place, program: &Path, config: &Path) -> Self {
        Self { program: program.to_owned(), config: config.to_owned(), place: place.clone() }
    }

    /// With an end: what runs in a pod may hang, and with it whoever waits.
    fn command(&self) -> Command {
        let mut command = clean(Path::new("/usr/bin/timeout"), &self.place.path("home"));
        command.args(["--kill-after=5", &LIMIT.as_secs().to_string()]).arg(&self.program);
        command.env("KUBECONFIG", &self.config);
        command
    }

    /// Runs it; what it prints.
    ///
    /// # Errors
    /// Its words on standard error.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.feed(arguments, "")
    }

    fn feed(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("run kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that needs no input may have ended already; its status says whether that is well.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`kubectl {}` ended with {}: {}", arguments.join(" "), output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Creates or changes objects. Several as one `List`.
    ///
    /// # Errors
    /// The API server's words.
    pub fn apply(&self, objects: &[Value]) -> anyhow::Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        self.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &list.to_string()).map(drop)
    }

    /// What would happen if an object were created, webhooks included. Fields that Kubernetes does not know are passed over.
    ///
    /// # Errors
    /// The API server's words.
    pub fn dry_run(&self, object: &Value) -> anyhow::Result<()> {
        self.feed(&["create", "--dry-run=server", "--validate=ignore", "-f", "-"], &object.to_string())
            .map(drop)
    }

    /// Whether the API server would take a stream of YAML documents.
    ///
    /// # Errors
    /// The API server's words.
    pub fn takes(&self, documents: &str) -> anyhow::Result<()> {
        self.feed(&["apply", "--dry-run=server", "-f", "-"], documents).map(drop)
    }

    /// The same with another identity than the administrator's: that of `token`. `name` is that of its file.
    ///
    /// # Errors
    /// When the file is there or cannot be written.
    pub fn with_token(&self, name: &str, token: &str) -> anyhow::Result<Self> {
        let config = pki::kubeconfig(&self.place, name, &json!({ "token": token }))?;
        Ok(Self { config, ..self.clone() })
    }

    /// One object; `None` when it is not there.
    ///
    /// # Errors
    /// The API server's words.
    pub fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> anyhow::Result<Option<Value>> {
        let mut arguments = vec!["get", kind, name, "-o", "json", "--ignore-not-found"];
        arguments.extend(namespace.iter().flat_map(|namespace| ["-n", *namespace]));
        let text = self.run(&arguments)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&text).map(Some).context("kubectl's JSON")
    }

    /// All objects of a kind in a namespace.
    ///
    /// # Errors
    /// The API server's words.
    pub fn list(&self, kind: &str, namespace: &str) -> anyhow::Result<Vec<Value>> {
        let text = self.run(&["get", kind, "-n", namespace, "-o", "json"])?;
        let mut list: Value = serde_json::from_str(&text).context("kubectl's JSON")?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("`kubectl get {kind}` gave no list"),
        }
    }

    /// Runs a command in a pod's first container; what it prints.
    ///
    /// # Errors
    /// Its status and words.
    pub fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> anyhow::Result<String> {
        let mut arguments = vec!["exec", "-n", namespace, pod, "--"];
        arguments.extend(command);
        self.run(&arguments)
    }

    /// Asks until `look` finds what it looks for; its own last words when it does not within `limit`.
    ///
    /// # Errors
    /// Time is up.
    pub fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = look(self);
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return match seen {
                    Err(error) => Err(error).with_context(|| format!("{what}: not within {limit:?}")),
                    Ok(_) => bail!("{what}: not within {limit:?}"),
                };
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Whether a node or a pod says that it is ready.
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
