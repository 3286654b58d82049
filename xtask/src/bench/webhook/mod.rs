//! `cargo xtask bench webhook`: reviews over TLS, as the API server asks for them.

mod client;
mod report;
mod server;

use super::process::pss;
use super::{document, machine, statistics::Series};
use anyhow::Context as _;
use boathouse_testkit::programs::{Profile, Programs};
use client::Connection;
use server::Server;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Connections at once, one run each.
const CALLERS: [u32; 2] = [1, 8];
/// Requests on each connection that do not count.
const WARM_UP: u32 = 200;

/// Time for a review, reviews per second and memory of the webhook
///
/// A review as a notebook controller causes it (one container, two instances, so four directories) is asked for again
/// and again over TLS connections that stay open, by one caller and then by several at once. The callers run on
/// the same machine. Beside the time on the clock stands the processor time that the webhook used.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// How many reviews are asked for in each run
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(8..))]
    requests: u32,
    /// Put the result into this file, between the lines that mark its place
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// What one number of callers came to.
#[derive(Debug)]
struct Run {
    callers: u32,
    times: Series,
    requests: u32,
    took: Duration,
    /// Processor time of the webhook.
    busy: Duration,
}

/// All results.
#[derive(Debug)]
struct Results {
    runs: Vec<Run>,
    /// PSS in bytes before the first review.
    idle: u64,
    /// The same after the last.
    loaded: u64,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // This program is the other end of each connection; it has to be compiled as the webhook is.
    if cfg!(debug_assertions) {
        return super::optimised();
    }
    let programs = Programs::build(Profile::Release)?;
    let machine = machine::describe();
    let results = measure(arguments, &programs)?;
    let section = report::section(arguments.requests, &machine, &results);
    println!("{section}");
    match &arguments.write {
        Some(path) => document::write(path, "webhook", &section),
        None => Ok(()),
    }
}

fn measure(arguments: &Arguments, programs: &Programs) -> anyhow::Result<Results> {
    let server = Server::start(programs)?;
    let rest = || thread::sleep(Duration::from_secs(2));
    rest();
    let idle = pss(server.pid())?;
    let runs = CALLERS.into_iter().map(|callers| one_run(&server, callers, arguments.requests / callers));
    let runs = runs.collect::<anyhow::Result<_>>()?;
    rest();
    Ok(Results { runs, idle, loaded: pss(server.pid())? })
}

/// `each` requests by each of the callers.
fn one_run(server: &Server, callers: u32, each: u32) -> anyhow::Result<Run> {
    let mut connections = Vec::new();
    for _ in 0..callers {
        let mut connection = Connection::open(server)?;
        for _ in 0..WARM_UP {
            connection.ask()?;
        }
        connections.push(connection);
    }
    let (busy, begun) = (server.processor_time()?, Instant::now());
    let callers_at_work: Vec<_> = connections
        .into_iter()
        .map(|mut connection| thread::spawn(move || (0..each).map(|_| connection.ask()).collect()))
        .collect();
    let mut times = Series::default();
    for caller in callers_at_work {
        let measured: anyhow::Result<Vec<Duration>> =
            caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?;
        measured.context("ask for a review")?.into_iter().for_each(|time| times.push(time));
    }
    let took = begun.elapsed();
    Ok(Run { callers, times, requests: each * callers, took, busy: server.processor_time()? - busy })
}
