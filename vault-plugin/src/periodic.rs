//! What is done once a minute, and once more when a mount ends.

use std::sync::Arc;

use vault_plugin_sdk::{Context, Result};

use crate::{Engine, made, parents, statics};

/// The host's tick.
///
/// # Errors
/// The storage's, and HTTP 500 naming what could not be done.
pub(crate) async fn tick(engine: Arc<Engine>, context: Context) -> Result<()> {
    // A host that does not say is taken for one whose mount goes on.
    if context.system.is_tainted().await.unwrap_or(false) {
        return clear(&engine, &context).await;
    }
    statics::rotate_due(engine, context).await
}

/// The mount is about to end, and its storage with it: what is no lease's would stay at MinIO for ever.
/// What cannot be removed is logged and does not keep the mount from ending.
async fn clear(engine: &Arc<Engine>, context: &Context) -> Result<()> {
    for role in context.storage.list(parents::FOLDER).await? {
        let _parents = engine.parents.lock().await;
        if let Some(orphan) = engine.disown(&context.storage, &role).await? {
            orphan.remove_now_or_later(engine, &context.storage).await;
        }
    }
    let wal = context.wal();
    for id in wal.list().await? {
        let Some(entry) = wal.get(&id).await? else { continue };
        match made::roll_back(Arc::clone(engine), context.clone(), entry).await {
            Ok(()) => wal.delete(&id).await?,
            Err(error) => tracing::warn!(%error, "the mount ends, and something of it stays at MinIO"),
        }
    }
    Ok(())
}
