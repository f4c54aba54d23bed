//! Environment steps a second: Gymnasium's `SyncVectorEnv` in Python, the same environments here through `gym:`, and
//! natively through `mujoco:`, in turns. `just bench-environments` (it needs the Python packages of
//! docs/environments.md; `INGLE_PYTHON` says which Python).

use std::process::Command;
use std::time::{Duration, Instant};

use ingle::envs::{EnvironmentOptions, VectorEnvironment};
use ingle::random::RandomStream;

const ENVIRONMENTS: usize = 8;
const TURNS: usize = 5;
const SECONDS: f64 = 3.0;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    println!(
        "{ENVIRONMENTS} environments, steps/s, median of {TURNS} turns, and the ratio turn by turn (least to most)"
    );
    for id in ["Pendulum-v1", "HalfCheetah-v5"] {
        // Each worker more than one is a process more than SyncVectorEnv has.
        let mut others = vec![(format!("gym:{id}, 1 process"), format!("gym:{id}"), 1)];
        let processes = std::thread::available_parallelism().map_or(1, usize::from);
        others.push((format!("gym:{id}, {processes} processes"), format!("gym:{id}"), processes));
        if id.ends_with("v5") {
            others.push((format!("mujoco:{id}, 1 thread"), format!("mujoco:{id}"), 1));
            others.push((format!("mujoco:{id}, {processes} threads"), format!("mujoco:{id}"), processes));
        } else {
            others.push((format!("{id}, native"), id.to_owned(), 1));
        }
        let mut peers = Vec::new();
        let mut ours = vec![Vec::new(); others.len()];
        for _ in 0..TURNS {
            peers.push(peer(id)?);
            for ((_, name, workers), rates) in others.iter().zip(&mut ours) {
                rates.push(rate(name, *workers)?);
            }
        }
        println!("{:32} {:>10.0}", format!("SyncVectorEnv, {id}"), median(peers.clone()));
        for ((label, ..), rates) in others.iter().zip(ours) {
            let ratios: Vec<f64> = rates.iter().zip(&peers).map(|(rate, peer)| rate / peer).collect();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            println!("{label:32} {:>10.0}  {:.2} ({least:.2} to {most:.2})", median(rates), median(ratios));
        }
    }
    Ok(())
}

fn peer(id: &str) -> Outcome<f64> {
    let python = std::env::var("INGLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/sync_vector_env.py");
    let output =
        Command::new(python).args([script, id, &ENVIRONMENTS.to_string(), &SECONDS.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

fn rate(name: &str, workers: usize) -> Outcome<f64> {
    let options = EnvironmentOptions { workers: Some(workers), ..EnvironmentOptions::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build()?;
    let mut environments = options.make_vector(name, ENVIRONMENTS)?;
    let mut canonical = vec![0.0; 256 * ENVIRONMENTS * environments.action_space().len()];
    RandomStream::new(0, 0).fill_uniform(-1.0, 1.0, &mut canonical);
    let mut actions = vec![0.0; canonical.len()];
    environments.action_space().from_canonical(&canonical, &mut actions)?;
    let size = actions.len() / 256;
    let mut run = || -> Outcome<f64> {
        environments.reset(0)?;
        let mut rows = actions.chunks_exact(size).cycle();
        let mut step = |times: usize| -> Outcome<()> {
            for row in rows.by_ref().take(times) {
                environments.step(row)?;
            }
            Ok(())
        };
        step(50)?;
        let (start, mut steps) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs_f64(SECONDS) {
            step(10)?;
            steps += 10;
        }
        Ok((steps * ENVIRONMENTS) as f64 / start.elapsed().as_secs_f64())
    };
    pool.install(|| run().map_err(|error| error.to_string())).map_err(Into::into)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
