//! The MinIO calls the engine makes, with its own client, and nothing around them.

use super::CALLERS;
use minio_admin::Client;
use secrecy::SecretString;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[derive(Debug)]
pub(super) struct Bare<'a> {
    minio: &'a Client,
    policy: &'a str,
    made: u32,
}

impl<'a> Bare<'a> {
    pub(super) fn new(minio: &'a Client, policy: &'a str) -> Self {
        Self { minio, policy, made: 0 }
    }

    /// A user with its policy, as for a key. It is removed outside the measured time.
    pub(super) async fn make(&mut self) -> anyhow::Result<Duration> {
        self.made += 1;
        let user = format!("bare-{}", self.made);
        let began = Instant::now();
        make(self.minio, &user, self.policy).await?;
        let took = began.elapsed();
        self.minio.remove_user(&user).await?;
        Ok(took)
    }

    /// Removes so many users, by several callers; gives removals per second.
    pub(super) async fn remove_all(&self, users: u32) -> anyhow::Result<f64> {
        let names: Vec<String> = (0..users).map(|number| format!("bare-many-{number}")).collect();
        for user in &names {
            make(self.minio, user, self.policy).await?;
        }
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for share in names.chunks(names.len().div_ceil(CALLERS as usize)) {
            let (minio, share) = (self.minio.clone(), share.to_vec());
            tasks.spawn(async move {
                for user in share {
                    minio.remove_user(&user).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(f64::from(users) / began.elapsed().as_secs_f64())
    }
}

async fn make(minio: &Client, user: &str, policy: &str) -> Result<(), minio_admin::Error> {
    minio.add_user(user, &SecretString::from("twenty-four random chars")).await?;
    minio.set_user_policy(user, &[policy]).await
}
