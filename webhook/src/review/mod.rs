//! `AdmissionReview`, versions `v1` and `v1beta1` of `admission.k8s.io`: from bytes to bytes.
//!
//! A handful of fields is looked at, in either version the same; `kube-core` has types for `v1` alone, and they would
//! parse what nobody reads: user, options, the old object. `dryRun` is none of them: answering has no effect outside of
//! the answer. A field that is looked at and is there twice is refused.

use crate::instances::Config;
use crate::mutate::{Outcome, Output, Pod, mutate};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use volume_spec::Shown;

/// Why a request has no review to answer.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// Not JSON, or fields are missing, doubled or of another type.
    #[error("the body is no AdmissionReview: {}", Shown::new(&.0.to_string()))]
    Json(serde_json::Error),
    /// JSON of another kind or version.
    #[error(
        "the body is {kind} of {api_version}: an AdmissionReview of admission.k8s.io/v1 or v1beta1 is answered"
    )]
    Kind {
        /// Its `apiVersion`.
        api_version: Shown,
        /// Its `kind`.
        kind: Shown,
    },
    /// A review without a question.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// A pod is to be made and is not there.
    #[error("request.object: no pod in a review of CREATE")]
    NoPod,
    /// What is there is no pod.
    #[error("request.object: {}", Shown::new(&.0.to_string()))]
    Pod(serde_json::Error),
    /// A defect of ours; the log has more.
    #[error("internal error (panic) while this pod was looked at")]
    Panic,
    /// The answer cannot be written.
    #[error("write the answer: {0}")]
    Answer(serde_json::Error),
}

impl ReviewError {
    /// Whether it is our fault.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Panic | Self::Answer(_))
    }
}

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// JSON.
    pub body: Vec<u8>,
    /// What it comes to: `unchanged`, `patched` or `denied`.
    pub outcome: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    uid: String,
    kind: Kind,
    namespace: Option<String>,
    operation: String,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

/// What is sent. Its version says nothing that matters here: there is one version of pods.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    kind: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
    /// Only with a patch: the API server refuses one without the other in `v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Answers the review in `body`, in its own version.
///
/// # Errors
/// [`ReviewError`]: then there is nothing to answer with but an HTTP status.
pub fn answer(body: &[u8], config: &Config, output: Output) -> Result<Answer, ReviewError> {
    let asked: Asked<'_> = serde_json::from_slice(body).map_err(ReviewError::Json)?;
    if asked.kind != "AdmissionReview"
        || !matches!(asked.api_version.as_str(), "admission.k8s.io/v1" | "admission.k8s.io/v1beta1")
    {
        let (api_version, kind) = (Shown::new(&asked.api_version), Shown::new(&asked.kind));
        return Err(ReviewError::Kind { api_version, kind });
    }
    let request = asked.request.as_ref().ok_or(ReviewError::NoRequest)?;
    let outcome = decide(request, config, output)?;
    let named = outcome_name(&outcome);
    let response = response(&request.uid, outcome).map_err(ReviewError::Answer)?;
    let answered = Answered { api_version: &asked.api_version, kind: &asked.kind, response };
    let body = serde_json::to_vec(&answered).map_err(ReviewError::Answer)?;
    Ok(Answer { body, outcome: named })
}

fn decide(request: &Request<'_>, config: &Config, output: Output) -> Result<Outcome, ReviewError> {
    let Kind { group, kind } = &request.kind;
    if !group.is_empty() || kind != "Pod" {
        // A wrong rule must not keep anything else from being made.
        let warning = format!(
            "boathouse: {} is not changed; the webhook's rules should name pods alone",
            Shown::new(kind)
        );
        return Ok(Outcome::Unchanged { warnings: vec![warning] });
    }
    // The volumes of a pod that exists cannot change: a patch would only make the API server refuse the update.
    if request.operation != "CREATE" {
        return Ok(Outcome::Unchanged { warnings: Vec::new() });
    }
    let object = request.object.ok_or(ReviewError::NoPod)?;
    let namespace = request.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    // Other reviews share the connection: one pod must not end theirs. Nothing that is shared is changed inside.
    catch_unwind(AssertUnwindSafe(|| {
        let pod = Pod::parse(object.get()).map_err(ReviewError::Pod)?;
        Ok(mutate(&pod, namespace, config, output))
    }))
    .unwrap_or(Err(ReviewError::Panic))
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Unchanged { .. } => "unchanged",
        Outcome::Patched { .. } => "patched",
        Outcome::Denied { .. } => "denied",
    }
}

fn response(uid: &str, outcome: Outcome) -> Result<Response<'_>, serde_json::Error> {
    let mut response =
        Response { uid, allowed: true, status: None, patch_type: None, patch: None, warnings: Vec::new() };
    match outcome {
        Outcome::Unchanged { warnings } => response.warnings = warnings,
        Outcome::Patched { patch, warnings } => {
            response.patch_type = Some("JSONPatch");
            response.patch = Some(STANDARD.encode(serde_json::to_vec(&patch)?));
            response.warnings = warnings;
        }
        Outcome::Denied { message } => {
            response.allowed = false;
            response.status =
                Some(json!({ "status": "Failure", "code": 400, "reason": "BadRequest", "message": message }));
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
