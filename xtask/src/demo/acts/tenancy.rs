//! Act: one tenant tries to reach another.

use super::flex::well_formed;
use crate::demo::story::{Story, brief};
use crate::demo::world::World;
use anyhow::Context as _;
use boathouse_testkit::kubelet::{TOKENS, make_parent};
use boathouse_testkit::leftovers::Snapshot;
use csi_proto::csi::v1::NodePublishVolumeRequest;
use std::time::Instant;
use tonic::Code;

pub(super) async fn run(world: &mut World, story: &mut Story) -> anyhow::Result<()> {
    story.act(
        "One tenant cannot reach another",
        "Four attempts. What is shown is what kubelet writes into the pod's events: which path was denied to whom, \
         and no token.",
    );
    let users = world.users().await?;
    let before = Snapshot::take()?.of_this_process();
    let (alice, bob) = (&world.alice, &world.bob);
    let (identities, pods) = (world.stack.identities(), world.node.pods());

    let thief = world.volume(bob, "thief-0").with("vault-path", &alice.vault_path);
    let request = thief.request(identities, &pods);
    let words = ["denied", alice.vault_path.as_str()];
    attempt(world, story, "Bob's pod and token, alice's vault-path", request, &words).await?;

    let curious = world.volume(alice, "curious-0").with("vault-path", &bob.vault_path);
    let request = curious.request(identities, &pods);
    let words = ["denied", bob.vault_path.as_str()];
    attempt(world, story, "Alice's pod and token, bob's vault-path", request, &words).await?;

    // A genuine token, of somebody else: bob's pod brings alice's in its own Secret.
    let forger = world.volume(alice, "victim-0");
    let stolen = forger.request(identities, &pods).volume_context.remove(TOKENS).context("no token")?;
    let forged =
        world.volume(bob, "forger-0").with("vault-path", &alice.vault_path).with("bucket", &alice.bucket);
    let mut request = forged.request(identities, &pods);
    request.secrets.insert(TOKENS.to_owned(), stolen);
    let words = ["alice", "bob"];
    attempt(world, story, "Bob's pod, with a genuine token of alice's in its Secret", request, &words)
        .await?;

    flex(world, story).await?;

    let now = world.users().await?;
    let made: Vec<&String> = now.iter().filter(|user| user.starts_with(&bob.user_prefix)).collect();
    story.claim(
        made.is_empty() && now.len() == users.len(),
        &format!("no MinIO user was made for any attempt: {} before, {} now", users.len(), now.len()),
    );
    let left = before.new_in(&Snapshot::take()?.of_this_process());
    story
        .claim(left.is_empty(), &format!("nothing is left of them: {} mounts or processes more", left.len()));
    story.end_act();
    Ok(())
}

async fn attempt(
    world: &World,
    story: &mut Story,
    who: &str,
    request: NodePublishVolumeRequest,
    words: &[&str],
) -> anyhow::Result<()> {
    story.call(&format!("kubelet: NodePublishVolume. {who}"), &[]);
    make_parent(request.target_path.as_ref()).context("make the pod's directory")?;
    let began = Instant::now();
    let answer = world.node.send_publish(request).await;
    let took = began.elapsed();
    let (refused, said) = match &answer {
        Ok(()) => (false, "OK".to_owned()),
        Err(status) => {
            story.answer(&format!("rpc error: code = {:?} desc = {}", status.code(), status.message()));
            let named = words.iter().all(|word| status.message().contains(word));
            let token = status.message().contains("eyJ");
            (status.code() == Code::PermissionDenied && named && !token, format!("{:?}", status.code()))
        }
    };
    let text = if refused {
        format!("refused after {}, {said}", brief(took))
    } else {
        format!("{who}: must be PermissionDenied with {words:?} and no token in the message, is {said}")
    };
    story.claim(refused, &text);
    Ok(())
}

/// The node's identity may read every tenant's keys; the fence must not let bob's pod use it for alice's.
async fn flex(world: &World, story: &mut Story) -> anyhow::Result<()> {
    let volume = world.volume(&world.bob, "oldthief-0").with("vault-path", &world.alice.vault_path);
    let target = volume.flex_target(&world.node.pods());
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
    let path = target.to_str().context("a path that is not UTF-8")?;
    story.call("kubelet: boathouse mount. Bob's pod with a FlexVolume, alice's vault-path", &[]);
    let began = Instant::now();
    let callout = world.callout(&["mount", path, &volume.document()]).await?;
    let took = began.elapsed();
    story.answer(callout.output.trim_end());
    let refused =
        well_formed(&callout) && callout.status() == "Failure" && callout.message().contains("not allowed");
    story.claim(refused, &format!("refused after {}, {}", brief(took), callout.status()));
    // As kubelet does when the pod is deleted.
    std::fs::remove_dir(&target).with_context(|| format!("remove {}", target.display()))
}
