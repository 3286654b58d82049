//! `boathouse-controller`: see `--help`.

use boathouse_controller::{Args, run};
use boathouse_service::{args, border, tls};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tls::install_provider();
    let args: Args = args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let result = match args.log.init() {
        Ok(()) => run(args).await,
        Err(err) => Err(err.into()),
    };
    border::finish(result)
}
