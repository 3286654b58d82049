//! A fake MinIO for faults a real one cannot be brought to: it keeps users, service accounts and policies
//! in maps, checks signatures, opens sealed bodies, and fails where it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use minio_admin::{body, sigv4};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const ROOT: &str = "root";
pub(crate) const ROOT_SECRET: &str = "rootroot123";

#[derive(Default, Clone)]
struct User {
    secret: String,
    policy: String,
    groups: BTreeSet<String>,
    is_disabled: bool,
}

#[derive(Default)]
struct World {
    users: BTreeMap<String, User>,
    /// Access key to what was asked for.
    accounts: BTreeMap<String, Value>,
    policies: BTreeMap<String, String>,
    calls: Vec<String>,
    failing: BTreeMap<&'static str, Failure>,
    squats: bool,
}

#[derive(Clone, Copy)]
struct Failure {
    status: u16,
    code: &'static str,
    /// It does what it is asked all the same.
    works: bool,
}

type Answer = (StatusCode, Vec<u8>);

/// A running fake.
#[derive(Clone)]
pub(crate) struct FakeMinio {
    address: std::net::SocketAddr,
    world: Arc<Mutex<World>>,
}

impl FakeMinio {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// From now on the call named `call` fails.
    pub(crate) fn fail(&self, call: &'static str, status: u16, code: &'static str) {
        self.world().failing.insert(call, Failure { status, code, works: false });
    }

    /// From now on the call named `call` works, and its answer says the opposite.
    pub(crate) fn lie(&self, call: &'static str) {
        self.world().failing.insert(call, Failure { status: 500, code: "InternalError", works: true });
    }

    /// From now on every service account that is asked for is somebody else's already.
    pub(crate) fn squat(&self) {
        self.world().squats = true;
    }

    /// The call named `call` works again.
    pub(crate) fn mend(&self, call: &'static str) {
        self.world().failing.remove(call);
    }

    pub(crate) fn users(&self) -> Vec<String> {
        self.world().users.keys().cloned().collect()
    }

    pub(crate) fn policy_of(&self, user: &str) -> Option<String> {
        self.world().users.get(user).map(|user| user.policy.clone())
    }

    pub(crate) fn secret_of(&self, user: &str) -> Option<String> {
        self.world().users.get(user).map(|user| user.secret.clone())
    }

    pub(crate) fn groups_of(&self, user: &str) -> Vec<String> {
        self.world().users.get(user).map(|user| user.groups.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn add(&self, user: &str) {
        self.world()
            .users
            .insert(user.to_owned(), User { secret: "secret-before".into(), ..User::default() });
    }

    pub(crate) fn disable(&self, user: &str) {
        self.world().users.entry(user.to_owned()).or_default().is_disabled = true;
    }

    pub(crate) fn remove(&self, user: &str) {
        self.world().remove_user(user);
    }

    /// Service accounts as they were asked for.
    pub(crate) fn accounts(&self) -> BTreeMap<String, Value> {
        self.world().accounts.clone()
    }

    pub(crate) fn policies(&self) -> BTreeMap<String, String> {
        self.world().policies.clone()
    }

    /// The calls since the last time, by name.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world().calls)
    }
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let mut world = world.lock().unwrap();
    let call = match uri.path().rsplit('/').next().unwrap_or_default() {
        "" => "assume-role".to_owned(),
        name => name.to_owned(),
    };
    world.calls.push(call.clone());
    let (caller, secret) = match world.caller(&method, &uri, &headers, &body) {
        Ok(caller) => caller,
        Err(code) => return refuse(403, code),
    };
    let failure = world.failing.get(call.as_str()).copied();
    match failure {
        Some(Failure { status, code, works: false }) => return refuse(status, code),
        Some(Failure { status, code, works: true }) => {
            let _ = world.serve(&method, &call, &query, &caller, &secret, &body);
            return refuse(status, code);
        }
        None => {}
    }
    world.serve(&method, &call, &query, &caller, &secret, &body)
}

impl World {
    /// Who signed, with the secret; or the code of a refusal.
    fn caller(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(String, String), &'static str> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = header("authorization");
        let scope =
            given.split("Credential=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
        let parts: Vec<&str> = scope.rsplitn(5, '/').collect();
        let [_, service, region, _, user] = parts[..] else { return Err("AccessDenied") };
        let secret = match self.users.get(user) {
            _ if user == ROOT => ROOT_SECRET.to_owned(),
            Some(user) => user.secret.clone(),
            None if uri.path() == "/" => return Err("AccessDenied"),
            None => return Err("InvalidAccessKeyId"),
        };
        let hash = sigv4::payload_hash(body);
        let signed = [
            ("host", header("host")),
            ("x-amz-content-sha256", header("x-amz-content-sha256")),
            ("x-amz-date", header("x-amz-date")),
        ];
        let expected = sigv4::authorization(
            &sigv4::Request {
                method: method.as_str(),
                path: uri.path(),
                query: uri.query().unwrap_or_default(),
                headers: &signed,
                payload_hash: &hash,
            },
            &sigv4::Signer {
                access_key: user,
                secret_key: &secret,
                region,
                service,
                date: header("x-amz-date"),
            },
        );
        if expected == given { Ok((user.to_owned(), secret)) } else { Err("SignatureDoesNotMatch") }
    }

    fn serve(
        &mut self,
        method: &Method,
        call: &str,
        query: &BTreeMap<String, String>,
        caller: &str,
        secret: &str,
        body: &[u8],
    ) -> Answer {
        let name = ["accessKey", "userOrGroup", "name"].iter().find_map(|key| query.get(*key)).cloned();
        let name = name.unwrap_or_default();
        let sealed =
            || -> Value { serde_json::from_slice(&body::open(secret.as_bytes(), body).unwrap()).unwrap() };
        let ok = || (StatusCode::OK, Vec::new());
        match (method.as_str(), call) {
            ("PUT", "add-user") => {
                let secret = sealed()["secretKey"].as_str().unwrap().to_owned();
                let user = self.users.entry(name).or_default();
                (user.secret, user.is_disabled) = (secret, false);
                ok()
            }
            ("PUT", "set-user-or-group-policy") => match self.users.get_mut(&name) {
                Some(user) => {
                    user.policy = query.get("policyName").cloned().unwrap_or_default();
                    ok()
                }
                None => refuse(404, "XMinioAdminNoSuchUser"),
            },
            ("DELETE", "remove-user") if self.remove_user(&name) => ok(),
            ("DELETE", "remove-user") => refuse(404, "XMinioAdminNoSuchUser"),
            ("GET", "user-info") => match self.users.get(&name) {
                Some(user) => {
                    let status = if user.is_disabled { "disabled" } else { "enabled" };
                    let info = json!({ "policyName": user.policy, "status": status });
                    (StatusCode::OK, info.to_string().into_bytes())
                }
                None => refuse(404, "XMinioAdminNoSuchUser"),
            },
            ("PUT", "update-group-members") => {
                let change: Value = serde_json::from_slice(body).unwrap();
                let group = change["group"].as_str().unwrap().to_owned();
                for member in change["members"].as_array().unwrap() {
                    let Some(user) = self.users.get_mut(member.as_str().unwrap()) else {
                        return refuse(404, "XMinioAdminNoSuchUser");
                    };
                    if change["isRemove"] == true {
                        user.groups.remove(&group);
                    } else {
                        user.groups.insert(group.clone());
                    }
                }
                ok()
            }
            ("PUT", "add-canned-policy") => {
                self.policies.insert(name, String::from_utf8(body.to_vec()).unwrap());
                ok()
            }
            ("DELETE", "remove-canned-policy") => {
                if self.users.values().any(|user| user.policy.split(',').any(|policy| policy == name)) {
                    return refuse(400, "XMinioIAMPolicyInUse");
                }
                self.policies.remove(&name);
                ok()
            }
            ("PUT", "add-service-account") => {
                let account = sealed();
                if !self.users.contains_key(account["targetUser"].as_str().unwrap_or(caller)) {
                    return refuse(404, "XMinioAdminNoSuchUser");
                }
                let access_key = account["accessKey"].as_str().unwrap().to_owned();
                if self.squats {
                    self.accounts.insert(access_key.clone(), json!({ "targetUser": "stranger" }));
                }
                if self.accounts.contains_key(&access_key) {
                    return refuse(409, "XMinioInvalidIAMCredentials");
                }
                self.accounts.insert(access_key, account.clone());
                (StatusCode::OK, seal(secret, &json!({ "credentials": account })))
            }
            ("POST", "update-service-account") => match self.accounts.get_mut(&name) {
                Some(account) => {
                    account["expiration"] = sealed()["newExpiration"].clone();
                    (StatusCode::NO_CONTENT, Vec::new())
                }
                None => refuse(404, "XMinioInvalidIAMCredentials"),
            },
            ("GET", "info-service-account") => match self.accounts.get(&name) {
                Some(account) => {
                    let info = json!({ "parentUser": account["targetUser"], "accountStatus": "on" });
                    (StatusCode::OK, seal(secret, &info))
                }
                None => refuse(404, "XMinioInvalidIAMCredentials"),
            },
            ("DELETE", "delete-service-account") => match self.accounts.remove(&name) {
                Some(_) => (StatusCode::NO_CONTENT, Vec::new()),
                None => refuse(404, "XMinioInvalidIAMCredentials"),
            },
            ("POST", "assume-role") => {
                let xml = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>SESSION</AccessKeyId>\
                           <SecretAccessKey>session-secret</SecretAccessKey><SessionToken>session-token</SessionToken>\
                           <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
                           </AssumeRoleResponse>";
                (StatusCode::OK, xml.into())
            }
            other => panic!("the fake does not know {other:?}"),
        }
    }

    fn remove_user(&mut self, name: &str) -> bool {
        self.accounts.retain(|_, account| account["targetUser"] != name);
        self.users.remove(name).is_some()
    }
}

fn seal(secret: &str, answer: &Value) -> Vec<u8> {
    let answer = answer.to_string();
    body::seal(secret.as_bytes(), body::Algorithm::Pbkdf2AesGcm, answer.as_bytes()).unwrap()
}

fn refuse(status: u16, code: &str) -> Answer {
    let body = format!(r#"{{"Code":"{code}","Message":"the fake says no"}}"#);
    (StatusCode::from_u16(status).unwrap(), body.into_bytes())
}
