//! What all cases share.

use anyhow::{Context as _, bail};
use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::parts::{Event, Parts};
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::requirement;
use boathouse_testkit::stack::Stack;
use libtest_mimic::{Failed, Trial};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

/// The servers, the programs, and a runtime to talk to them.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) shared: Option<Shared>,
    before: Option<Snapshot>,
}

pub(crate) struct Shared {
    /// Written to only by cases that take a server down.
    pub(crate) stack: RwLock<Stack>,
    pub(crate) parts: Parts,
    pub(crate) programs: Programs,
    /// Each node plugin has a range of daemon users of its own.
    pub(crate) nodes: AtomicU32,
}

type Work<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// How a case uses the servers.
pub(crate) enum Body {
    /// Beside others.
    Beside(for<'a> fn(&'a Shared, &'a Stack) -> Work<'a>),
    /// Alone, because it takes a server down.
    Alone(for<'a> fn(&'a Shared, &'a mut Stack) -> Work<'a>),
    /// Not at all: it starts its own.
    Apart(for<'a> fn(&'a Shared) -> Work<'a>),
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: Body,
}

/// Names a case after its function.
macro_rules! beside {
    ($function:path) => {
        $crate::world::Case {
            name: stringify!($function),
            body: $crate::world::Body::Beside(|shared, stack| Box::pin($function(shared, stack))),
        }
    };
}

/// As [`beside`], for a case that takes a server down.
macro_rules! alone {
    ($function:path) => {
        $crate::world::Case {
            name: stringify!($function),
            body: $crate::world::Body::Alone(|shared, stack| Box::pin($function(shared, stack))),
        }
    };
}

/// As [`beside`], for a case with servers of its own: it keeps nobody waiting, and waits for nobody.
macro_rules! apart {
    ($function:path) => {
        $crate::world::Case {
            name: stringify!($function),
            body: $crate::world::Body::Apart(|shared| Box::pin($function(shared))),
        }
    };
}

pub(crate) use {alone, apart, beside};

impl Case {
    pub(crate) fn into_trial(self, world: &Arc<World>) -> Trial {
        let world = world.clone();
        Trial::test(self.name, move || {
            let Some(shared) = &world.shared else { return Err(Failed::from("the servers do not run")) };
            let done = world.runtime.block_on(async {
                match self.body {
                    Body::Beside(body) => body(shared, &*shared.stack.read().await).await,
                    Body::Alone(body) => body(shared, &mut *shared.stack.write().await).await,
                    Body::Apart(body) => body(shared).await,
                }
            });
            done.map_err(|error| Failed::from(format!("{error:#}")))
        })
    }
}

impl World {
    /// For listing the cases only.
    pub(crate) fn unstarted() -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self { runtime: Runtime::new()?, shared: None, before: None }))
    }

    pub(crate) fn start() -> anyhow::Result<Arc<Self>> {
        requirement::for_mounting()?;
        // Whoever makes the first TLS client of the process decides; make it the one the product uses.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let before = Snapshot::take()?;
        let parts = Parts::obtain(&mut |_: &Event<'_>| {})?;
        let programs = Programs::build(Profile::Release)?;
        let runtime = Runtime::new()?;
        let stack = runtime.block_on(Stack::start(&parts, &programs)).context("start OpenBao and MinIO")?;
        let shared = Shared { stack: RwLock::new(stack), parts, programs, nodes: AtomicU32::new(0) };
        Ok(Arc::new(Self { runtime, shared: Some(shared), before: Some(before) }))
    }

    /// Ends the servers and looks for what was left.
    pub(crate) fn finish(self: Arc<Self>) -> anyhow::Result<()> {
        let Ok(Self { runtime, shared, before }) = Arc::try_unwrap(self) else {
            bail!("a case still runs");
        };
        if let Some(shared) = shared {
            // Before the servers end: their directory takes everything in it along.
            let left = runtime.block_on(left_beside_the_servers(&shared))?;
            drop(shared);
            if !left.is_empty() {
                bail!("left behind by the cases:\n  {}", left.join("\n  "));
            }
        }
        if let Some(before) = before {
            let left = before.diff(Duration::from_secs(5))?;
            if !left.is_empty() {
                bail!("left on the machine:\n  {}", left.join("\n  "));
            }
        }
        Ok(())
    }
}

/// What there is besides the shared servers and their directory, and every MinIO user.
async fn left_beside_the_servers(shared: &Shared) -> anyhow::Result<Vec<String>> {
    let stack = shared.stack.read().await;
    let directory = format!("directory {}", stack.tree().path().display());
    let servers =
        [&shared.parts.bao, &shared.parts.minio].map(|program| format!(" {} server", program.display()));
    let expected = |line: &str| {
        line == directory
            || servers.iter().any(|server| line.contains(server))
            || line.ends_with("/plugins/vault-plugin-secrets-minio")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = Snapshot::take()?.of_this_process();
        let mut left: Vec<String> = now.lines().filter(|line| !expected(line)).map(str::to_owned).collect();
        left.extend(stack.minio_users().await?.into_iter().map(|user| format!("MinIO user {user}")));
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
