//! `ingle`: train, evaluate and measure reinforcement learners from the shell.

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod compare;
mod config;
#[cfg(test)]
mod config_mutations;
mod demos;
mod devices;
#[cfg(test)]
mod documented;
#[cfg(feature = "plot")]
mod draw;
mod error;
mod evaluate;
mod export;
mod flops;
mod import;
mod learner;
mod members;
mod memory;
mod output;
mod panics;
mod plot;
mod progress;
mod recorded;
mod runs;
mod signals;
mod source;
mod stack;
mod statistics;
#[cfg(unix)]
mod supervise;
mod sweep;
mod train;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Command};
use crate::error::CliError;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The library only emits events; a subscriber is the program's to install. Off unless asked for.
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("INGLE_LOG").unwrap_or_else(|_| EnvFilter::new("error,ingle_envs=warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    panics::note_quietly();
    let done = |()| ExitCode::SUCCESS;
    let result = panics::caught(|| match arguments.command {
        #[cfg(unix)]
        Command::Train(options) if options.restarts > 0 => supervise::run(&options),
        #[cfg(not(unix))]
        Command::Train(options) if options.restarts > 0 => {
            Err(CliError::Input("--restarts: there is no supervision on this system".into()))
        }
        Command::Train(options) => train::run(&options).map(done),
        Command::Eval(options) => evaluate::run(&options).map(done),
        Command::Export(options) => export::run(&options).map(done),
        Command::Import(options) => import::run(&options).map(done),
        Command::Bench(options) => bench::run(&options).map(done),
        Command::Plot(options) => plot::run(&options).map(done),
        Command::Demos(command) => demos::run(&command).map(done),
        Command::Compare(options) => compare::run(&options).map(done),
        Command::Runs(options) => runs::run(&options).map(done),
        Command::Devices(options) => devices::run(&options).map(done),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            output::note(format_args!("ingle: {error}"));
            error.exit_code()
        }
    }
}

/// Runs `work` in a pool of `threads` threads, or as many as the process may use. The loop itself runs inside the pool:
/// a caller outside of it would wait for woken workers at every matrix product.
fn in_pool<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()
        .map_err(|error| CliError::Other(format!("cannot start {threads:?} threads: {error}")))?;
    pool.install(work)
}
