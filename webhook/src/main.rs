//! `boathouse-webhook`: see `--help`.

use boathouse_service::{args, border, memory, tls};
use boathouse_webhook::{Args, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    memory::share_heaps();
    tls::install_provider();
    let args: Args = args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    border::finish(run(args))
}
