//! `boathouse-node`: see `--help`.

use boathouse_node::{Args, run};
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    boathouse_service::tls::install_provider();
    let args = Args::parse();
    args.log.init()?;
    run(args).await
}
