//! The acts, in order.

mod csi;
mod flex;
mod leave;
mod restart;
mod rotation;
mod tenancy;

use super::story::Story;
use super::world::World;

/// Everything but the last act. An act that cannot go on ends the story with a false claim; what follows would
/// build on it. Answers whether all were played.
pub(super) async fn play(world: &mut World, story: &mut Story) -> bool {
    let played = all(world, story).await;
    if let Err(error) = &played {
        broke(world, story, error);
    }
    played.is_ok()
}

async fn all(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    csi::run(world, story).await?;
    flex::run(world, story).await?;
    rotation::run(world, story).await?;
    tenancy::run(world, story).await?;
    restart::run(world, story).await
}

/// The last act: everything that is mounted goes.
pub(super) async fn finale(world: &mut World, story: &mut Story) {
    if let Err(error) = leave::run(world, story).await {
        broke(world, story, &error);
    }
}

fn broke(world: &World, story: &mut Story, error: &anyhow::Error) {
    story.claim(false, &format!("this act comes to its end: {error:#}"));
    story.line("    the node plugin's last lines:");
    let lines = world.log_from(0);
    for line in &lines[lines.len().saturating_sub(12)..] {
        story.line(&format!("      {}", story.short(line)));
    }
    story.end_act();
}
