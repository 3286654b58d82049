//! The Go plugin's recorded answers, asked again.
//!
//! Everything in an answer is compared, except what no two servers have in common: ids, secrets and times
//! stand as placeholders. `differences.txt` is the complete list of what differs; a difference that is not in
//! it fails the case, and so does one in it that does not exist.

use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Bao, Minio, PLUGIN, Stack};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const RECORDED: &str = include_str!("../../../../vault-plugin/tests/data/legacy-answers.json");
/// Below a reason, the differences that have it, as [`compare`] puts them.
const DELIBERATE: &str = include_str!("differences.txt");
/// The mount of the recording: lease ids begin with it.
const MOUNT: &str = "mc";
/// What was recorded in place of this run's MinIO.
const ENDPOINT: &str = "127.0.0.1:19000";
const USER: &str = "root";
const PASSWORD: &str = "rootroot123";
/// A role of this name was written by hand before this request.
const LOST_ROLE: (&str, &str) = ("role-bad-policy", "r3");
/// The keys that the requests about leases are about.
const KEYS_OF_LEASE: &str = "keys-for-renew";

/// One request and its answer.
#[derive(Deserialize)]
struct Step {
    name: String,
    method: String,
    path: String,
    body: Option<Value>,
    status: u16,
    response: Value,
}

struct Answer {
    status: u16,
    content: Value,
}

pub(super) async fn the_go_plugins_answers_are_given(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    replayed(stack.bao(), stack.minio(), "").await
}

/// The same under any host. `of_host` lists what the host itself, the recorded one's successor or ancestor,
/// answers differently, in the form of `differences.txt`.
pub(crate) async fn replayed(bao: &Bao, minio: &Minio, of_host: &str) -> anyhow::Result<()> {
    let place = Place { bao, minio };
    bao.admin().write(&format!("sys/mounts/{MOUNT}"), &json!({ "type": PLUGIN })).await?;
    let outcome = replay(&place).await;
    bao.admin().delete(&format!("sys/mounts/{MOUNT}")).await?;
    let (found, users) = outcome?;
    let left = place.users().await?;
    let left: Vec<_> = users.iter().filter(|user| left.contains(user)).collect();
    ensure!(left.is_empty(), "MinIO users left by the mount: {left:?}");

    let mut expected = meant(DELIBERATE)?;
    expected.extend(meant(of_host)?);
    let known: BTreeSet<String> = expected.keys().cloned().collect();
    let new: Vec<_> = found.difference(&known).map(String::as_str).collect();
    let gone: Vec<_> = known.difference(&found).map(|what| format!("{what} ({})", expected[what])).collect();
    ensure!(
        new.is_empty() && gone.is_empty(),
        "differences nobody meant:\n  {}\ndifferences that were meant and are not there:\n  {}",
        new.join("\n  "),
        gone.join("\n  ")
    );
    Ok(())
}

/// A host and the MinIO that its mount makes users in.
struct Place<'a> {
    bao: &'a Bao,
    minio: &'a Minio,
}

impl Place<'_> {
    async fn users(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.minio.admin().list_users().await?.into_keys().collect())
    }
}

/// The differences in a list, and why.
fn meant(list: &str) -> anyhow::Result<BTreeMap<String, &str>> {
    let (mut differences, mut reason) = (BTreeMap::new(), None);
    for line in list.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            reason = Some(text);
        } else if line.is_empty() {
            reason = None;
        } else {
            let reason = reason.with_context(|| format!("a difference without a reason: {line}"))?;
            differences.insert(line.to_owned(), reason);
        }
    }
    Ok(differences)
}

/// Makes all requests; gives the differences and the users that were made.
async fn replay(place: &Place<'_>) -> anyhow::Result<(BTreeSet<String>, Vec<String>)> {
    let steps: Vec<Step> = serde_json::from_str(RECORDED).context("read the recording")?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let (mut found, mut users, mut of_lease) = (BTreeSet::new(), BTreeMap::new(), Value::Null);
    for step in &steps {
        if step.name == LOST_ROLE.0 {
            let path = format!("{MOUNT}/roles/{}", LOST_ROLE.1);
            place.bao.admin().write(&path, &json!({ "policy": "readonly" })).await?;
        }
        let mut body = step.body.clone();
        if let Some(body) = &mut body {
            each_text(body, &|text| to_this_run(text, place.minio));
            if step.path.starts_with("sys/leases/") {
                body["lease_id"] = of_lease.clone();
            }
        }
        let answer = ask(&client, place.bao, step, body.as_ref()).await?;
        if step.path.starts_with(&format!("{MOUNT}/keys/")) && answer.status == 200 {
            let user = answer.content["data"]["accessKeyId"].as_str();
            users.insert(&step.name, user.context("keys without a user")?.to_owned());
        }
        if step.name == KEYS_OF_LEASE {
            of_lease = answer.content["lease_id"].clone();
        }
        if step.status != answer.status {
            found.insert(format!("{}: status {} became {}", step.name, step.status, answer.status));
        }
        let (mut before, mut now) = (step.response.clone(), answer.content);
        each_text(&mut now, &|text| from_this_run(text, place.minio));
        without_chance(&mut before);
        without_chance(&mut now);
        compare(&step.name, &before, &now, &mut found);
    }
    // Its lease was revoked; the others live until the mount ends.
    let there = place.users().await?;
    for (step, user) in &users {
        let expected = step.as_str() != KEYS_OF_LEASE;
        ensure!(there.contains(user) == expected, "{step}: user {user} among {there:?}: not {expected}");
    }
    ensure!(users.len() > 1 && users.contains_key(&KEYS_OF_LEASE.to_owned()), "the recording has no keys");
    Ok((found, users.into_values().collect()))
}

async fn ask(
    client: &reqwest::Client,
    bao: &Bao,
    step: &Step,
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let token = bao.admin().token().context("no root token")?;
    let method = Method::from_bytes(step.method.as_bytes())?;
    let url = format!("{}/v1/{}", bao.address(), step.path);
    let mut request = client.request(method, url).header("X-Vault-Token", token.expose_secret());
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.with_context(|| step.name.clone())?;
    let status = answer.status().as_u16();
    let content = answer.bytes().await?;
    let content = if content.is_empty() { Value::Null } else { serde_json::from_slice(&content)? };
    Ok(Answer { status, content })
}

/// Changes every text in a value.
fn each_text(value: &mut Value, change: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn to_this_run(text: &str, minio: &Minio) -> String {
    match text {
        USER => minio.root_user().to_owned(),
        PASSWORD => minio.root_password().expose_secret().to_owned(),
        _ => text.replace(ENDPOINT, &minio.authority()),
    }
}

fn from_this_run(text: &str, minio: &Minio) -> String {
    text.replace(&minio.authority(), ENDPOINT)
        .replace(minio.root_user(), USER)
        .replace(minio.root_password().expose_secret(), PASSWORD)
}

/// Puts placeholders in place of what is different each time. They keep what is not: a user is called by its
/// request's id, a secret has 24 letters and digits, a lease is called by its path.
fn without_chance(answer: &mut Value) {
    let request = answer["request_id"].as_str().unwrap_or_default().to_owned();
    if !request.is_empty() {
        each_text(answer, &|text| text.replace(&request, "<request>"));
    }
    // An error has no request id beside it.
    if let Some(errors) = answer.get_mut("errors") {
        each_text(errors, &without_user);
    }
    for pointer in ["/lease_id", "/data/id"] {
        if let Some(Value::String(lease)) = answer.pointer_mut(pointer)
            && let Some((path, _)) = lease.rsplit_once('/')
        {
            *lease = format!("{path}/<lease>");
        }
    }
    for pointer in ["/data/issue_time", "/data/expire_time"] {
        if let Some(Value::String(time)) = answer.pointer_mut(pointer) {
            *time = "<time>".into();
        }
    }
    if let Some(Value::String(secret)) = answer.pointer_mut("/data/secretAccessKey")
        && secret.len() == 24
        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        *secret = "<secret>".into();
    }
    // Seconds left: some may have passed.
    if let Some(ttl) = answer.pointer_mut("/data/ttl")
        && let Some(seconds) = ttl.as_u64()
    {
        *ttl = seconds.next_multiple_of(60).into();
    }
}

/// Users of a role without a prefix are called by a UUID.
fn without_user(text: &str) -> String {
    let is_uuid = |word: &str| {
        let lengths: Vec<_> = word.split('-').map(str::len).collect();
        lengths == [8, 4, 4, 4, 12] && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    let words = text.split(' ').map(|word| match word.split_at_checked(36) {
        Some((user, rest)) if is_uuid(user) => format!("<user>{rest}"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Adds a line for each difference.
fn compare(path: &str, before: &Value, now: &Value, found: &mut BTreeSet<String>) {
    match (before, now) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let path = format!("{path}/{key}");
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) => compare(&path, old, new, found),
                    (Some(old), None) => drop(found.insert(format!("{path}: {old} is gone"))),
                    (None, Some(new)) => drop(found.insert(format!("{path}: {new} is new"))),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}/{index}"), old, new, found);
            }
        }
        _ if before == now => {}
        _ => drop(found.insert(format!("{path}: {before} became {now}"))),
    }
}
