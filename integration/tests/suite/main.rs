//! The whole system on real parts: see the modules for what is tested.
//!
//! All cases share one OpenBao and one MinIO; each has a node plugin and a namespace of its own and runs beside
//! the others, except those that take a server down, which run alone. The suite fails if anything is left.

#![allow(clippy::print_stderr, reason = "a test program talks to a person")]

mod authorities;
mod bad_requests;
mod csi;
mod engine;
mod engine_kill;
mod engine_more;
mod environment;
mod example;
mod faults;
mod flex;
mod hosts;
mod kubernetes_auth;
mod limits;
mod minio_admin;
mod optional;
mod outages;
mod persistent;
mod restarts;
mod rotation;
mod scene;
mod tenancy;
mod world;

use libtest_mimic::Arguments;
use std::process::ExitCode;
use world::World;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let world = if arguments.list { World::unstarted() } else { World::start() };
    let world = match world {
        Ok(world) => world,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = [
        csi::cases(),
        authorities::cases(),
        bad_requests::cases(),
        tenancy::cases(),
        engine::cases(),
        hosts::cases(),
        engine_kill::cases(),
        engine_more::cases(),
        faults::cases(),
        flex::cases(),
        kubernetes_auth::cases(),
        limits::cases(),
        minio_admin::cases(),
        rotation::cases(),
        restarts::cases(),
        outages::cases(),
        optional::cases(),
        persistent::cases(),
        environment::cases(),
        example::cases(),
    ];
    let trials = trials.into_iter().flatten().map(|case| case.into_trial(&world)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    match world.finish() {
        Ok(()) if !conclusion.has_failed() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
