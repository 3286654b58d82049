//! `boathouse-node`: see `--help`.

use boathouse_node::{Args, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    boathouse_service::tls::install_provider();
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    args.log.init()?;
    run(args).await
}
