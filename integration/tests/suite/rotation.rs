//! Rotation is invisible.

use crate::scene::{Scene, write_and_close};
use crate::world::{Case, Shared, beside};
use anyhow::ensure;
use boathouse_testkit::stack::Stack;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) fn cases() -> Vec<Case> {
    vec![beside!(no_operation_fails_across_rotations), beside!(an_idle_mount_wakes_up_with_good_keys)]
}

/// Reads and writes without pause until told to stop; counts, and keeps the first error.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    operations: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn on(target: &Path) -> Self {
        let (stop, operations) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let target = target.to_owned();
        let (stopping, counting) = (stop.clone(), operations.clone());
        let thread = std::thread::spawn(move || {
            let mut errors = Vec::new();
            for number in 0_u64.. {
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
                let path = target.join(format!("load-{}", number % 5));
                let content = number.to_string();
                let step = write_and_close(&path, content.as_bytes())
                    .and_then(|()| fs::read_to_string(&path))
                    .and_then(|read| {
                        if read == content {
                            Ok(())
                        } else {
                            Err(std::io::Error::other("read something else"))
                        }
                    })
                    .and_then(|()| {
                        fs::read_dir(&target).map(|entries| {
                            let _ = entries.count();
                        })
                    });
                match step {
                    Ok(()) => drop(counting.fetch_add(3, Ordering::SeqCst)),
                    Err(error) => errors.push(format!("operation {number}: {error}")),
                }
            }
            errors
        });
        Self { stop, operations, thread: Some(thread) }
    }

    /// Operations that worked, and what failed.
    pub(crate) fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let errors = self.thread.take().map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
        (self.operations.load(Ordering::SeqCst), errors)
    }
}

async fn no_operation_fails_across_rotations(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "rotation").await?;
    let volume = scene.volume("nb").with("vault-ttl", "8s");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let load = Load::on(&target);
    let mut seen = BTreeSet::new();
    let began = Instant::now();
    while seen.len() < 5 && began.elapsed() < Duration::from_secs(60) {
        let now = scene.users(stack).await?;
        ensure!(now.len() <= 3, "old users pile up: {now:?}");
        seen.extend(now);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (operations, errors) = load.end();
    ensure!(
        errors.is_empty(),
        "{} of {operations} failed: {:?}\n{}",
        errors.len(),
        errors.first(),
        scene.log()
    );
    ensure!(seen.len() >= 5, "only {} generations in {:?}\n{}", seen.len(), began.elapsed(), scene.log());
    ensure!(operations > 100, "only {operations} operations");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn an_idle_mount_wakes_up_with_good_keys(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "idle").await?;
    let volume = scene.volume("nb").with("vault-ttl", "6s");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let first = scene.users(stack).await?;
    // Two lives later nothing has touched the mount, and its first user is gone.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let now = scene.users(stack).await?;
    ensure!(!now.is_empty() && !now.contains(&first[0]), "{first:?} then {now:?}\n{}", scene.log());
    fs::write(target.join("awake"), "1")?;
    ensure!(fs::read(target.join("awake"))? == b"1");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}
