//! Storage served by the host.

use async_trait::async_trait;
use csi_proto::plugin::pb::storage_client::StorageClient;
use csi_proto::plugin::pb::{
    StorageDeleteArgs, StorageEntry, StorageGetArgs, StorageListArgs, StoragePutArgs,
};
use tonic::transport::Channel;

use super::{RawStorage, StorageError};

/// The host's `pb.Storage`.
pub(crate) struct HostStorage(StorageClient<Channel>);

impl HostStorage {
    pub(crate) fn new(channel: Channel) -> Self {
        let client = StorageClient::new(channel);
        Self(client.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX))
    }
}

fn failed<'a>(operation: &'static str, key: &'a str) -> impl Fn(String) -> StorageError + use<'a> {
    move |message| StorageError::Host { operation, key: key.to_owned(), message }
}

/// The host's text, or the transport's.
fn transport(status: &tonic::Status) -> String {
    status.message().to_owned()
}

fn checked(err: String) -> Result<(), String> {
    if err.is_empty() { Ok(()) } else { Err(err) }
}

#[async_trait]
impl RawStorage for HostStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let fail = failed("list", prefix);
        let args = StorageListArgs { prefix: prefix.to_owned() };
        let reply = self.0.clone().list(args).await.map_err(|status| fail(transport(&status)))?.into_inner();
        checked(reply.err).map_err(fail)?;
        Ok(reply.keys)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let fail = failed("get", key);
        let args = StorageGetArgs { key: key.to_owned() };
        let reply = self.0.clone().get(args).await.map_err(|status| fail(transport(&status)))?.into_inner();
        checked(reply.err).map_err(fail)?;
        Ok(reply.entry.map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        let fail = failed("put", key);
        let entry = StorageEntry { key: key.to_owned(), value, seal_wrap: false };
        let args = StoragePutArgs { entry: Some(entry) };
        let reply = self.0.clone().put(args).await.map_err(|status| fail(transport(&status)))?.into_inner();
        checked(reply.err).map_err(fail)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let fail = failed("delete", key);
        let args = StorageDeleteArgs { key: key.to_owned() };
        let reply =
            self.0.clone().delete(args).await.map_err(|status| fail(transport(&status)))?.into_inner();
        checked(reply.err).map_err(fail)
    }
}
