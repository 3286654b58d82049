//! Answers whose leases the host may not have noted yet.
//!
//! Nobody tells an engine when it has. After [`NOTED`] it is taken for done, and the answer's log entry goes. All
//! answers of a mount wait in one queue, and one task serves it: a task for each would cost a thousand bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use uuid::Uuid;
use vault_plugin_sdk::{Result, Wal};

/// A host has noted the lease of an answer by then.
const NOTED: Duration = Duration::from_secs(30);

/// The answers of one mount. Dropped, it leaves their entries in the log, dated to their leases' longest ends.
#[derive(Debug, Default)]
pub(crate) struct Noting {
    waiting: Arc<Queue>,
}

/// Oldest first. While there is one, a task is there to take it.
#[derive(Debug, Default)]
struct Queue(Mutex<VecDeque<Answer>>);

#[derive(Debug)]
struct Answer {
    due: Instant,
    /// Id of its log entry. A text, allocated among what its request needed, would keep all that memory from use.
    entry: Uuid,
    /// What the entry is dated to, as precise as the log's dates are.
    end: SystemTime,
}

impl Noting {
    /// Deletes this entry of the log once the host has noted the lease, unless it is dated anew until then. An id that is
    /// no UUID is passed over; no host sends one.
    pub(crate) fn add(&self, wal: &Wal, entry: &str, end: SystemTime) {
        let Ok(entry) = Uuid::try_parse(entry) else { return };
        let mut waiting = self.waiting.lock();
        let is_first = waiting.is_empty();
        // Under the lock, so that they are in the order in which they are due.
        waiting.push_back(Answer { due: Instant::now() + NOTED, entry, end });
        if is_first {
            tokio::spawn(reap(Arc::downgrade(&self.waiting), wal.clone()));
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Answer>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the oldest is due. An empty queue gives its memory back.
    fn next(&self) -> Option<Instant> {
        let mut waiting = self.lock();
        let next = waiting.front().map(|answer| answer.due);
        if next.is_none() {
            *waiting = VecDeque::new();
        }
        next
    }
}

/// Serves the queue until it is empty, or its engine gone.
async fn reap(queue: Weak<Queue>, wal: Wal) {
    while let Some(due) = queue.upgrade().and_then(|queue| queue.next()) {
        tokio::time::sleep_until(due).await;
        let Some(queue) = queue.upgrade() else { return };
        let (entry, end) = match queue.lock().front() {
            Some(answer) => (answer.entry.to_string(), answer.end),
            None => return,
        };
        if let Err(error) = noted(&wal, &entry, end).await {
            tracing::debug!(%error, %entry, "a log entry stays until its lease's longest end");
        }
        // Only now: an empty queue has no task.
        queue.lock().pop_front();
    }
}

/// The host has noted the lease: its entry goes, unless a failed revocation has dated it anew. Such a date
/// is never ahead, while the lease's end can be past by now.
async fn noted(wal: &Wal, id: &str, end: SystemTime) -> Result<()> {
    let entry = wal.get(id).await?;
    if entry.is_some_and(|entry| entry.created_at == end && end > SystemTime::now()) {
        wal.delete(id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use vault_plugin_sdk::testing::Mount;

    use super::*;
    use crate::made::to_the_second;

    fn tasks() -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    async fn announced(wal: &Wal, noting: &Noting) {
        let end = to_the_second(SystemTime::now() + Duration::from_hours(1));
        let id = Uuid::new_v4().to_string();
        wal.write(&id, "user", &"", end).await.unwrap();
        noting.add(wal, &id, end);
    }

    #[tokio::test]
    async fn a_noted_entry_goes_unless_it_was_dated_anew() {
        let wal = Wal::new(Mount::new(crate::backend()).storage);
        let (now, end) = (SystemTime::now(), to_the_second(SystemTime::now() + Duration::from_hours(1)));
        for (dated, end, stays) in [(end, end, false), (now, end, true), (now, to_the_second(now), true)] {
            wal.write("id", "user", &"", dated).await.unwrap();
            noted(&wal, "id", end).await.unwrap();
            assert_eq!(wal.get("id").await.unwrap().is_some(), stays, "{dated:?} {end:?}");
        }
        noted(&wal, "none", end).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_serves_a_thousand_answers_each_in_its_time() {
        let (wal, noting) = (Wal::new(Mount::new(crate::backend()).storage), Noting::default());
        let pause = Duration::from_millis(10);
        for _ in 0..1000 {
            announced(&wal, &noting).await;
            tokio::time::sleep(pause).await;
        }
        assert_eq!(tasks(), 1);
        // The first was added ten seconds ago.
        tokio::time::sleep(NOTED - 1000 * pause - pause).await;
        assert_eq!(wal.list().await.unwrap().len(), 1000);
        tokio::time::sleep(500 * pause).await;
        let left = wal.list().await.unwrap().len();
        assert!((490..=510).contains(&left), "{left}");
        tokio::time::sleep(600 * pause).await;
        assert_eq!((wal.list().await.unwrap().len(), tasks()), (0, 0));

        announced(&wal, &noting).await;
        assert_eq!(tasks(), 1);
        tokio::time::sleep(NOTED + pause).await;
        assert_eq!((wal.list().await.unwrap().len(), tasks()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_its_engine() {
        let (wal, noting) = (Wal::new(Mount::new(crate::backend()).storage), Noting::default());
        announced(&wal, &noting).await;
        drop(noting);
        tokio::time::sleep(NOTED + Duration::from_secs(1)).await;
        assert_eq!((wal.list().await.unwrap().len(), tasks()), (1, 0));
    }
}
