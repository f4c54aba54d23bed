//! Throughput of the gradient update of SAC or TD3 in another library in Rust; prints one JSON line.
//!
//! ```sh
//! rust-peers --peer rlevo --algo sac --batch 256 --width 256 --threads 1
//! ```
//!
//! The work is that of `ingle bench` and of the Python peers (../README.md). Pin to one core with `taskset -c 0`.

#[cfg(feature = "modurl")]
mod modurl;
#[cfg(feature = "rlevo")]
mod rlevo;
#[cfg(feature = "thrust-rl")]
mod thrust_rl;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde_json::json;

/// HalfCheetah's shape.
const OBSERVATION: usize = 17;
const ACTION: usize = 6;
const BUFFER: usize = 100_000;
const GAMMA: f32 = 0.99;
const TAU: f32 = 0.005;
const LEARNING_RATE: f64 = 3e-4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One library's learner with a full replay buffer.
trait Peer {
    /// Updates, sampling included.
    fn updates(&mut self, count: usize) -> Result<()>;

    /// The policy's mean action at an observation that stays the same, which shows whether anything has been learned.
    fn action(&mut self) -> Result<Vec<f32>>;

    /// Losses of the last update.
    fn losses(&self) -> Vec<(&'static str, f32)>;

    /// Seconds in each update that are not its own, where it cannot be had alone.
    fn beside(&self) -> f64 {
        0.0
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Algorithm {
    Sac,
    Td3,
}

struct Options {
    peer: String,
    algorithm: Algorithm,
    batch: usize,
    width: usize,
    threads: usize,
    repeats: usize,
    seconds: f64,
    warm: f64,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            peer: "rlevo".into(),
            algorithm: Algorithm::Sac,
            batch: 256,
            width: 256,
            threads: 1,
            repeats: 5,
            seconds: 1.0,
            warm: 1.0,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name}: a value is missing"))?;
            let wrong = |error: &dyn Error| format!("{name} {value}: {error}");
            let count = || match value.parse() {
                Ok(0) => Err(format!("{name} 0: at least 1 is needed")),
                Ok(count) => Ok(count),
                Err(error) => Err(wrong(&error)),
            };
            let seconds = || value.parse().map_err(|error| wrong(&error));
            match name.as_str() {
                "--peer" => options.peer.clone_from(&value),
                "--algo" => {
                    options.algorithm = match value.as_str() {
                        "sac" => Algorithm::Sac,
                        "td3" => Algorithm::Td3,
                        _ => return Err(format!("--algo {value}: sac or td3").into()),
                    }
                }
                "--batch" => options.batch = count()?,
                "--width" => options.width = count()?,
                "--threads" => options.threads = count()?,
                "--repeats" => options.repeats = count()?,
                "--seconds" => options.seconds = seconds()?,
                "--warm" => options.warm = seconds()?,
                _ => return Err(format!("{name}: no such option").into()),
            }
        }
        if options.batch > BUFFER {
            return Err(format!("--batch {}: the buffer has {BUFFER} transitions", options.batch).into());
        }
        Ok(options)
    }
}

/// A random transition.
struct Transition {
    observation: [f32; OBSERVATION],
    #[allow(dead_code, reason = "modurl, which may be built alone, draws its actions itself")]
    action: [f32; ACTION],
    reward: f32,
    next_observation: [f32; OBSERVATION],
    terminated: bool,
}

/// The transitions that fill the buffer of every peer: normal observations and rewards, uniform actions, one end in a
/// hundred.
fn transitions() -> impl Iterator<Item = Transition> {
    let mut random = StdRng::seed_from_u64(0);
    (0..BUFFER).map(move |_| Transition {
        observation: std::array::from_fn(|_| random.sample(StandardNormal)),
        action: std::array::from_fn(|_| random.random_range(-1.0..1.0)),
        reward: random.sample(StandardNormal),
        next_observation: std::array::from_fn(|_| random.sample(StandardNormal)),
        terminated: random.random_bool(0.01),
    })
}

fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| {
        // SAFETY: no other thread runs yet.
        unsafe {
            std::env::set_var("RAYON_NUM_THREADS", options.threads.to_string());
            std::env::set_var("MATMUL_NUM_THREADS", options.threads.to_string());
        }
        match options.peer.as_str() {
            #[cfg(feature = "modurl")]
            "modurl" => modurl::measure(&options),
            #[cfg(feature = "rlevo")]
            "rlevo" => rlevo::measure(&options),
            #[cfg(feature = "thrust-rl")]
            "thrust-rl" => thrust_rl::measure(&options),
            other => {
                Err(format!("--peer {other}: not in this build (cargo's features name the peers)").into())
            }
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Warms up, sizes the repeats, times them, and prints the line.
fn measure(options: &Options, version: &str, peer: &mut dyn Peer) -> Result<()> {
    let before = peer.action()?;
    let mut rate = |updates: usize| -> Result<f64> {
        let start = Instant::now();
        peer.updates(updates)?;
        Ok(updates as f64 / start.elapsed().as_secs_f64())
    };
    let (start, mut made) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < options.warm || made == 0 {
        rate(2)?;
        made += 2;
    }
    let warm = f64::from(made) / start.elapsed().as_secs_f64();
    // An even number: TD3's actor has its turn in every second update.
    let updates = ((warm * options.seconds / 2.0).ceil() as usize).max(1) * 2;
    let (wall, cpu) = (Instant::now(), cpu_seconds()?);
    let mut rates = (0..options.repeats).map(|_| rate(updates)).collect::<Result<Vec<_>>>()?;
    let cores_used = (cpu_seconds()? - cpu) / wall.elapsed().as_secs_f64();
    rates.sort_by(f64::total_cmp);
    let (middle, end) = (rates.len() / 2, rates.len() - 1);
    let median =
        if rates.len() % 2 == 1 { rates[middle] } else { f64::midpoint(rates[middle - 1], rates[middle]) };
    let (after, losses) = (peer.action()?, peer.losses());
    let finite = losses.iter().map(|(_, loss)| loss).chain(&after).all(|number| number.is_finite());
    let sane = finite && after != before;
    let rounded = |number: f64| (number * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({
            "peer": options.peer,
            "algo": if options.algorithm == Algorithm::Sac { "sac" } else { "td3" },
            "batch": options.batch,
            "width": options.width,
            "threads": options.threads,
            "cores": std::thread::available_parallelism()?.get(),
            "updates_per_s": {"median": rounded(median), "min": rounded(rates[0]), "max": rounded(rates[end])},
            "updates_per_repeat": updates,
            "repeats": options.repeats,
            "cores_used": rounded(cores_used),
            "peak_rss_mb": rounded(peak_megabytes()?),
            "sane": sane,
            "beside_us": rounded(peer.beside() * 1e6),
            "losses": losses.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "versions": {(options.peer.as_str()): version},
        })
    );
    if sane { Ok(()) } else { Err("a loss is not finite, or the policy has not changed".into()) }
}

/// This process's time on all cores.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
    // Linux counts a hundred ticks a second for programs, on every processor it runs on.
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

fn peak_megabytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("/proc has no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
