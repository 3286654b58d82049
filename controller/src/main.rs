//! `boathouse-controller`: see `--help`.

use boathouse_controller::{Args, run};
use boathouse_service::{border, tls};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tls::install_provider();
    let args = Args::parse();
    let result = match args.log.init() {
        Ok(()) => run(args).await,
        Err(err) => Err(err.into()),
    };
    border::finish(result)
}
