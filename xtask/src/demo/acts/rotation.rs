//! Act: rotation under load.

use crate::demo::load::{self, Load};
use crate::demo::story::{Story, brief, count};
use crate::demo::users::{Event, Watch};
use crate::demo::world::{Mounted, Through, World};
use anyhow::anyhow;
use std::time::Duration;

/// Short, so that there is something to see; a day otherwise.
const LIFE: &str = "8s";
/// Keys to be seen, the first included.
const GENERATIONS: usize = 4;
const LIMIT: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn run(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    story.act(
        "Keys rotate under load",
        "Pod etl-0 asks for keys that live 8 seconds. At 60-75 % of their life the node plugin logs in again and \
         gets new ones; goofys fetches them from its keeper before its next request; the old MinIO user is revoked \
         once nobody signs with it. Two threads write files, read objects (past the page cache) and list, all the \
         while.",
    );
    load::seed(world.stack.minio(), &world.alice.bucket).await?;
    let daemons_before = world.processes("goofys");
    let mut watch = Watch::new(world.users().await?);
    let volume = world.volume(&world.alice, "etl-0").with("vault-ttl", LIFE);
    story
        .call("kubelet: NodePublishVolume", &[("volumeAttributes", &format!("as before, vault-ttl={LIFE}"))]);
    let target = world
        .node
        .publish(world.stack.identities(), &volume)
        .await
        .map_err(|status| anyhow!("NodePublishVolume: {:?}: {}", status.code(), status.message()))?;
    world.mounted.push(Mounted { volume, target: target.clone(), through: Through::Csi });
    let daemons = world.processes("goofys");

    let load = Load::on(&target);
    while watch.elapsed() < LIMIT && !(watch.seen() >= GENERATIONS && watch.only_newest()) {
        show(story, &mut watch, world, &load).await?;
        tokio::time::sleep(LOOK).await;
    }
    let tally = load.end().await;
    story.claim(
        tally.errors.is_empty() && tally.reads > 0 && tally.writes > 0 && tally.listings > 0,
        &format!("{}: {}", tally.text(), tally.failures()),
    );
    story.claim(
        watch.seen() >= GENERATIONS,
        &format!("{} generations of keys in {}", watch.seen(), brief(watch.elapsed())),
    );
    story.claim(
        watch.only_newest() && watch.seen() > 1,
        &format!("the users of all earlier generations are gone; there is {}", watch.alive().join(", ")),
    );
    let new: Vec<String> = daemons.difference(&daemons_before).map(ToString::to_string).collect();
    story.claim(
        new.len() == 1 && world.processes("goofys") == daemons,
        &format!("the same goofys all the time (pid {}): no remount", new.join(", ")),
    );
    objects(world, story, &tally).await?;
    story.end_act();
    Ok(())
}

/// One line for every user that came or went.
async fn show(story: &Story, watch: &mut Watch, world: &World, load: &Load) -> anyhow::Result<()> {
    let events = watch.look(&world.users().await?);
    if events.is_empty() {
        return Ok(());
    }
    let tally = load.tally();
    for event in events {
        let (user, what) = match event {
            Event::Made(user) => (user, "made".to_owned()),
            Event::Gone(user, age) => (user, format!("gone, {} old", brief(age))),
        };
        story.line(&format!(
            "    +{:4.1} s  {} {what:16} {:>7} operations, {} failed",
            watch.elapsed().as_secs_f64(),
            shortened(&user),
            count(tally.total()),
            tally.errors.len(),
        ));
    }
    Ok(())
}

/// `profile-alice-b4f83d32…`: the prefix of the role and the beginning of a UUID.
fn shortened(user: &str) -> String {
    let digits: String = user.chars().take("profile-alice-".len() + 8).collect();
    format!("{digits}…")
}

/// What was written last to each object is what MinIO has.
async fn objects(world: &World, story: &mut Story, tally: &load::Tally) -> anyhow::Result<()> {
    let mut same = 0;
    for (key, content) in &tally.written {
        same += usize::from(world.stack.minio().get_object(&world.alice.bucket, key).await? == *content);
    }
    let all = tally.written.len();
    story.claim(
        same == all && all > 0,
        &format!("{same} of {all} objects are in MinIO as they were written last"),
    );
    Ok(())
}
