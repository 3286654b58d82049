//! Runs cases and prints a line for each, with its time.

use anyhow::bail;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a case uses the world `W`.
pub(super) enum Body<W> {
    /// Beside others.
    Beside(fn(&W) -> anyhow::Result<()>),
    /// Alone, because it disturbs them.
    Alone(fn(&mut W) -> anyhow::Result<()>),
}

/// A named test.
pub(super) struct Case<W> {
    /// Path of its function.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) body: Body<W>,
}

/// Names a case after its function.
macro_rules! beside {
    ($function:path) => {
        $crate::suite::runner::Case {
            name: concat!(module_path!(), "::", stringify!($function)),
            body: $crate::suite::runner::Body::Beside($function),
        }
    };
}

/// As [`beside`], for a case that disturbs others.
macro_rules! alone {
    ($function:path) => {
        $crate::suite::runner::Case {
            name: concat!(module_path!(), "::", stringify!($function)),
            body: $crate::suite::runner::Body::Alone($function),
        }
    };
}

pub(super) use {alone, beside};

impl<W> Case<W> {
    /// `module::function`, the module within the suite.
    pub(super) fn short(&self) -> &'static str {
        let mut parts = self.name.rsplitn(3, "::");
        let (function, module) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        &self.name[self.name.len() - function.len() - 2 - module.len()..]
    }
}

/// No case takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// Ends the program when what is returned is not dropped in time: a case that hangs would take the whole run along,
/// unnamed.
#[allow(clippy::exit, reason = "the thread with the case cannot be ended otherwise")]
fn watch(name: &'static str) -> Arc<()> {
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    std::thread::spawn(move || {
        let began = Instant::now();
        while weak.strong_count() > 0 {
            if began.elapsed() > LIMIT {
                println!("FAILED  {name} has not ended within {LIMIT:?}");
                std::process::exit(1);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    alive
}

/// How many cases run at a time: more only makes two cores wait.
const BESIDE: usize = 4;

/// Cases whose name contains one of `filters`; all without any.
pub(super) fn select<W>(cases: Vec<Case<W>>, filters: &[String]) -> Vec<Case<W>> {
    let wanted =
        |case: &Case<W>| filters.is_empty() || filters.iter().any(|filter| case.short().contains(filter));
    cases.into_iter().filter(wanted).collect()
}

/// First those that go beside each other, then the others one by one.
pub(super) fn run<W: Sync>(world: &mut W, cases: &[Case<W>]) -> anyhow::Result<()> {
    let began = Instant::now();
    let failed = Mutex::new(Vec::new());
    let report = |name: &'static str, began: Instant, outcome: anyhow::Result<()>| {
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("ok      {seconds:6.1} s  {name}"),
            Err(error) => {
                println!(
                    "FAILED  {seconds:6.1} s  {name}\n    {}",
                    format!("{error:#}").replace('\n', "\n    ")
                );
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            }
        }
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Body::Beside(body) = case.body {
                        let (began, _watch) = (Instant::now(), watch(case.short()));
                        report(case.short(), began, shielded(|| body(world)));
                    }
                }
            });
        }
    });
    for case in cases {
        if let Body::Alone(body) = case.body {
            let (began, _watch) = (Instant::now(), watch(case.short()));
            report(case.short(), began, shielded(|| body(world)));
        }
    }
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} of {} cases passed in {:.1} s",
        cases.len() - failed.len(),
        cases.len(),
        began.elapsed().as_secs_f64()
    );
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// A panic fails its case, not the suite.
fn shielded(body: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| bail!("panicked; see above"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn good(_: &i32) -> anyhow::Result<()> {
        Ok(())
    }
    fn bad(_: &mut i32) -> anyhow::Result<()> {
        bail!("no")
    }
    fn panics(_: &i32) -> anyhow::Result<()> {
        std::panic::resume_unwind(Box::new(()))
    }

    #[test]
    fn a_failure_or_a_panic_fails_the_run_and_is_named() {
        run(&mut 1, &[beside!(good)]).unwrap();
        let error = run(&mut 1, &[beside!(good), alone!(bad), beside!(panics)]).unwrap_err().to_string();
        assert!(error.contains("bad") && error.contains("panics") && !error.contains("good"), "{error}");
        assert_eq!(select(vec![beside!(good), alone!(bad)], &["ba".into()]).len(), 1);
        assert_eq!(select(vec![beside!(good), alone!(bad)], &[]).len(), 2);
    }
}
