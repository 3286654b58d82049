//! A fake MinIO: keeps users in a map and fails where it is told to. It checks no signatures and
//! opens no bodies; the real one does, in the integration tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use tokio::net::TcpListener;

#[derive(Default)]
struct World {
    /// User to policy.
    users: BTreeMap<String, String>,
    calls: Vec<String>,
    /// Last part of a path to the status and error code it answers with.
    failing: BTreeMap<&'static str, (u16, &'static str)>,
}

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

    pub(crate) fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// From now on the call named `call` fails; a status of 0 makes it work again.
    pub(crate) fn fail(&self, call: &'static str, status: u16, code: &'static str) {
        let mut world = self.world.lock().unwrap();
        world.failing.insert(call, (status, code));
        world.failing.retain(|_, (status, _)| *status != 0);
    }

    pub(crate) fn users(&self) -> Vec<String> {
        self.world.lock().unwrap().users.keys().cloned().collect()
    }

    pub(crate) fn policy_of(&self, user: &str) -> Option<String> {
        self.world.lock().unwrap().users.get(user).cloned()
    }

    pub(crate) fn add(&self, user: &str) {
        self.world.lock().unwrap().users.insert(user.to_owned(), String::new());
    }

    /// The calls since the last time, by name.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.world.lock().unwrap().calls)
    }
}

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> (StatusCode, String) {
    let mut world = world.lock().unwrap();
    let call = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    world.calls.push(call.clone());
    if let Some((status, code)) = world.failing.get(call.as_str()) {
        return refuse(*status, code);
    }
    let name = query.get("accessKey").or_else(|| query.get("userOrGroup")).cloned().unwrap_or_default();
    match (method, call.as_str()) {
        (Method::PUT, "add-user") => {
            world.users.insert(name, String::new());
        }
        (Method::PUT, "set-user-or-group-policy") => {
            let policy = query.get("policyName").cloned().unwrap_or_default();
            match world.users.get_mut(&name) {
                Some(slot) => *slot = policy,
                None => return refuse(404, "XMinioAdminNoSuchUser"),
            }
        }
        (Method::DELETE, "remove-user") => {
            if world.users.remove(&name).is_none() {
                return refuse(404, "XMinioAdminNoSuchUser");
            }
        }
        (Method::GET, "user-info") => {
            return match world.users.get(&name) {
                Some(policy) => {
                    (StatusCode::OK, format!(r#"{{"policyName":"{policy}","status":"enabled"}}"#))
                }
                None => refuse(404, "XMinioAdminNoSuchUser"),
            };
        }
        other => panic!("the fake does not know {other:?}"),
    }
    (StatusCode::OK, String::new())
}

fn refuse(status: u16, code: &str) -> (StatusCode, String) {
    let body = format!(r#"{{"Code":"{code}","Message":"the fake says no"}}"#);
    (StatusCode::from_u16(status).unwrap(), body)
}
