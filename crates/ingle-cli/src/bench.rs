//! `ingle bench`: updates a second, sampling included, on random transitions.

use std::time::{Duration, Instant};

use ingle::burn::tensor::Device;
use ingle::random::RandomStream;
use ingle::replay::{Data, ReplayConfig, Rows, UniformReplay};
use ingle::{Act, CoreLearner, Learner, Transitions};
use serde_json::json;

use crate::arguments::BenchOptions;
use crate::error::CliError;
use crate::learner::Job;
use crate::{in_pool, learner};

/// The shape of Gymnasium's `HalfCheetah` and the buffer that the published comparisons use.
const OBSERVATION: usize = 17;
const ACTION: usize = 6;
const TRANSITIONS: usize = 100_000;
/// Seconds of updates before the first repeat.
const WARM_UP: f64 = 1.0;

/// One combination of settings.
struct Point<'a> {
    device: &'a str,
    batch: usize,
    width: usize,
    population: usize,
}

/// What was measured.
struct Measured {
    median: f64,
    min: f64,
    max: f64,
    threads: usize,
}

pub(crate) fn run(options: &BenchOptions) -> Result<(), CliError> {
    learner::check(&options.learner)?;
    let mut problems = Vec::new();
    for (name, values) in
        [("--batch", &options.batch), ("--width", &options.width), ("--population", &options.population)]
    {
        if values.contains(&0) {
            problems.push(format!("{name}: must be at least 1, got 0"));
        }
    }
    if !(options.seconds.is_finite() && options.seconds > 0.0) {
        problems.push(format!("--seconds: must be a finite number above 0, got {}", options.seconds));
    }
    if options.repeats == 0 {
        problems.push("--repeats: must be at least 1, got 0".into());
    }
    if !problems.is_empty() {
        return Err(CliError::Config(problems));
    }
    if !options.json {
        println!(
            "{:8} {:8} {:>6} {:>6} {:>4} {:>8} {:>10} {:>10} {:>10} {:>8}",
            "learner", "device", "batch", "width", "P", "threads", "updates/s", "min", "max", "peak MB"
        );
    }
    for device in &options.device {
        let handle = ingle::device::open(device)?;
        for &batch in &options.batch {
            for &width in &options.width {
                for &population in &options.population {
                    let point = Point { device, batch, width, population };
                    let config = learner::bench_config(&options.learner, width, population);
                    let job = BenchJob { options, batch, device: &handle };
                    let measured = learner::with_core(&config, OBSERVATION, ACTION, job)?;
                    print(options, &point, &measured);
                }
            }
        }
    }
    Ok(())
}

/// The measurement of one point.
struct BenchJob<'a> {
    options: &'a BenchOptions,
    batch: usize,
    device: &'a Device,
}

impl Job for BenchJob<'_> {
    type Output = Measured;

    fn run<C: Act<Sample = Transitions, State: Send> + Send>(self, core: C) -> Result<Measured, CliError> {
        in_pool(self.options.threads, || measure(self.options, core, self.batch, self.device))
    }
}

fn measure<C: Act<Sample = Transitions>>(
    options: &BenchOptions,
    core: C,
    batch: usize,
    device: &Device,
) -> Result<Measured, CliError> {
    let config = ReplayConfig {
        observation: OBSERVATION,
        action: ACTION,
        capacity: TRANSITIONS,
        batch,
        population: core.population(),
        data: Data::Shared,
    };
    let mut replay = UniformReplay::new(&config, 0, device)?;
    fill(&mut replay)?;
    let mut learner = CoreLearner::new(core, replay, 0, device)?;
    let mut run = |seconds: f64| -> Result<(u64, f64), CliError> {
        let start = Instant::now();
        let mut updates = 0;
        let mut last = None;
        while start.elapsed() < Duration::from_secs_f64(seconds) || updates == 0 {
            last = Some(learner.step()?);
            updates += 1;
        }
        // Reading the last losses waits for all the work; it belongs to the time.
        let losses = last.map(|output| output.metrics.read()).transpose()?.unwrap_or_default();
        let seconds = start.elapsed().as_secs_f64();
        if let Some((name, _)) =
            losses.iter().find(|(_, values)| values.iter().any(|value| !value.is_finite()))
        {
            return Err(CliError::Other(format!("{name} is not finite: the measurement is void")));
        }
        Ok((updates, seconds))
    };
    run(WARM_UP)?;
    let mut rates = Vec::with_capacity(options.repeats);
    for _ in 0..options.repeats {
        let (updates, seconds) = run(options.seconds)?;
        rates.push(updates as f64 / seconds);
    }
    rates.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    let median =
        if rates.len() % 2 == 1 { rates[middle] } else { f64::midpoint(rates[middle - 1], rates[middle]) };
    Ok(Measured { median, min: rates[0], max: rates[rates.len() - 1], threads: rayon::current_num_threads() })
}

fn fill(replay: &mut UniformReplay) -> Result<(), CliError> {
    let mut stream = RandomStream::new(0, 0);
    let mut normal = |count: usize| {
        let mut values = vec![0.0; count];
        stream.fill_normal(&mut values);
        values
    };
    let (observation, next_observation) =
        (normal(TRANSITIONS * OBSERVATION), normal(TRANSITIONS * OBSERVATION));
    let action: Vec<f32> = normal(TRANSITIONS * ACTION).into_iter().map(f32::tanh).collect();
    let reward = normal(TRANSITIONS);
    let discount: Vec<f32> = (0..TRANSITIONS).map(|row| if row % 100 == 0 { 0.0 } else { 0.99 }).collect();
    replay.insert(
        0,
        Rows {
            observation: &observation,
            action: &action,
            reward: &reward,
            discount: &discount,
            next_observation: &next_observation,
        },
    )?;
    Ok(())
}

fn print(options: &BenchOptions, point: &Point<'_>, measured: &Measured) {
    let Point { device, batch, width, population } = *point;
    let Measured { median, min, max, threads } = *measured;
    let memory = peak_memory_mb();
    if options.json {
        println!(
            "{}",
            json!({
                "learner": options.learner,
                "device": device,
                "batch": batch,
                "width": width,
                "population": population,
                "updates_per_call": 1,
                "threads": threads,
                "updates_per_s": {"median": median, "min": min, "max": max},
                "peak_rss_mb": memory,
            })
        );
    } else {
        let memory = memory.map_or("–".to_owned(), |memory| format!("{memory:.0}"));
        println!(
            "{:8} {device:8} {batch:>6} {width:>6} {population:>4} {threads:>8} {median:>10.1} {min:>10.1} {max:>10.1} {memory:>8}",
            options.learner
        );
    }
}

/// The largest resident memory of this process so far, where the system tells (Linux).
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
