//! Our publish, as kubelet asks for it: a connection of its own per call, the pod's token beside the volume.

use super::super::process::running;
use super::memory::installed;
use super::{LIFE, OBJECTS, Times, first_byte, quiet};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::{PodVolume, TOKENS, make_parent};
use boathouse_testkit::node::NodeProcess;
use boathouse_testkit::stack::{AUTH_MOUNT, AUTH_ROLE, SHARED_BUCKET, Stack, Tenant};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The node plugin and the tenant it mounts for.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) stack: &'a Stack,
    pub(super) tenant: &'a Tenant,
    pub(super) node: &'a NodeProcess,
    /// A user of the tenant that is not ours.
    pub(super) static_user: &'a str,
}

struct Published {
    id: String,
    target: PathBuf,
    took: Duration,
    /// The token the request carried.
    tokens: String,
}

impl Ours<'_> {
    /// One of each kind, then everything taken down. Gives the arguments of our goofys, without the mount point.
    pub(super) async fn round(&self, times: &mut Times) -> anyhow::Result<Vec<OsString>> {
        let volume = self.volume("pod-a", "data", &self.tenant.bucket);
        let fresh = self.publish(&volume, OBJECTS[0], None).await?;
        let users = self.users().await?;
        ensure!(users.len() == 1, "a fresh key should be one MinIO user, there are {users:?}");
        let goofys = self.goofys()?;

        // kubelet keeps a pod's token and hands the same one over with each volume.
        let other = self.volume("pod-a", "other", SHARED_BUCKET);
        let cached = self.publish(&other, OBJECTS[0], Some(&fresh.tokens)).await?;
        let second = self.volume("pod-b", "data", &self.tenant.bucket);
        let shared = self.publish(&second, OBJECTS[1], None).await?;
        ensure!(self.users().await? == users, "other volumes of the same account should make no new key");
        let mounts = running(&installed(self.node), "goofys")?.len();
        ensure!(mounts == 2, "two buckets should be two FUSE mounts, there are {mounts}");

        times.fresh.push(fresh.took);
        times.cached.push(cached.took);
        times.shared.push(shared.took);
        times.login.push(self.login().await?);
        for published in [cached, shared] {
            self.unpublish(&published).await?;
        }
        times.unpublish.push(self.unpublish(&fresh).await?);
        self.gone().await?;
        Ok(goofys)
    }

    /// What a pod's token costs at Vault alone, without us: the call and nothing around it.
    async fn login(&self) -> anyhow::Result<Duration> {
        let jwt = self.stack.identities().sign(&self.tenant.pod("pod-c", LIFE))?;
        quiet().await;
        let began = Instant::now();
        let token = self.stack.vault().login(AUTH_MOUNT, AUTH_ROLE, &jwt).await?;
        let took = began.elapsed();
        self.stack.vault().with_token(token).write("auth/token/revoke-self", &json!({})).await?;
        Ok(took)
    }

    async fn unpublish(&self, published: &Published) -> anyhow::Result<Duration> {
        quiet().await;
        let began = Instant::now();
        self.node.unpublish(&published.id, &published.target).await.context("unpublish")?;
        Ok(began.elapsed())
    }

    fn volume(&self, pod: &str, name: &str, bucket: &str) -> PodVolume {
        let path = &self.tenant.vault_path;
        PodVolume::new(self.tenant.pod(pod, LIFE), name, &[("bucket", bucket), ("vault-path", path)])
    }

    async fn publish(
        &self,
        volume: &PodVolume,
        object: &str,
        tokens: Option<&str>,
    ) -> anyhow::Result<Published> {
        let pods = self.node.pods();
        let target = volume.csi_target(&pods);
        make_parent(&target)?;
        let mut request = volume.request(self.stack.identities(), &pods);
        if let Some(tokens) = tokens {
            request.volume_context.insert(TOKENS.to_owned(), tokens.to_owned());
        }
        let tokens = request.volume_context.get(TOKENS).cloned().unwrap_or_default();
        let object = target.join(object);
        quiet().await;
        let began = Instant::now();
        self.node.send_publish(request).await.context("publish")?;
        let took = tokio::task::spawn_blocking(move || first_byte(&object).map(|()| began.elapsed()));
        let took = took.await?.context("read the published volume")?;
        Ok(Published { id: volume.id(), target, took, tokens })
    }

    async fn users(&self) -> anyhow::Result<Vec<String>> {
        let mut users = self.tenant.users_among(&self.stack.minio_users().await?);
        users.retain(|user| user != self.static_user);
        Ok(users)
    }

    async fn gone(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.users().await?.is_empty()
            || !running(&installed(self.node), "boathouse-keeper")?.is_empty()
        {
            ensure!(Instant::now() < deadline, "a key or a keeper outlived its volume");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What follows the program's name on the command line of the one goofys that runs, but the last word.
    fn goofys(&self) -> anyhow::Result<Vec<OsString>> {
        let pids = running(&installed(self.node), "goofys")?;
        let [pid] = pids.as_slice() else {
            anyhow::bail!("one volume should be one goofys, there are {}", pids.len());
        };
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).context("read goofys' command line")?;
        let words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty());
        let mut words: Vec<OsString> = words.skip(1).map(|word| OsStr::from_bytes(word).to_owned()).collect();
        words.pop().context("goofys runs without arguments")?;
        Ok(words)
    }
}
