//! `ingle bench`: updates a second, sampling included, on random transitions.

use std::time::{Duration, Instant};

use ingle::burn::tensor::Device;
use ingle::random::RandomStream;
use ingle::replay::{Data, Insert, Rows, UniformReplay};
use ingle::{CoreLearner, Learner};
use serde_json::json;
use toml::Value;

use crate::arguments::BenchOptions;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::learner::{Layers, Sizes, Stack};
use crate::output::line;
use crate::source::{Expert, Source};
use crate::stack::Core;
use crate::{flops, in_pool, learner, memory, source};

/// The shape of Gymnasium's `HalfCheetah` and the buffer that the published comparisons use.
const SIZES: Sizes = Sizes { observation: 17, action: 6 };
const TRANSITIONS: usize = 100_000;
/// Seconds of updates before the first repeat.
const WARM_UP: f64 = 1.0;

/// One combination of settings.
struct Point<'a> {
    learner: &'a str,
    device: &'a str,
    batch: usize,
    width: usize,
    population: usize,
    updates_per_call: usize,
}

/// What was measured.
struct Measured {
    rates: Rates,
    threads: usize,
    nest: Option<Nest>,
}

/// Updates a second.
struct Rates {
    median: f64,
    min: f64,
    max: f64,
}

/// What a nest costs beside its direct core, both measured in turns.
struct Nest {
    core: Rates,
    /// Time of an update beyond the core's, as a share of the core's: the median over the turns.
    extra_time: f64,
    /// Operations beyond the core's, as a share of the core's.
    extra_flops: Option<f64>,
}

pub(crate) fn run(options: &BenchOptions) -> Result<(), CliError> {
    let stacks = options.learner.iter().map(|name| Stack::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let mut problems = Vec::new();
    for (name, values) in [
        ("--batch", &options.batch),
        ("--width", &options.width),
        ("--population", &options.population),
        ("--updates-per-call", &options.updates_per_call),
    ] {
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
    // Every point is refused before the first one is measured.
    for (learner, stack) in options.learner.iter().zip(&stacks) {
        for (batch, width, population, updates_per_call) in points(options) {
            let point =
                Point { learner, device: &options.device[0], batch, width, population, updates_per_call };
            memory::check(&config(options, &point, learner, stack)?, SIZES)?;
        }
    }
    if !options.json {
        line(format_args!(
            "{:16} {:8} {:>6} {:>6} {:>4} {:>4} {:>8} {:>10} {:>10} {:>10} {:>10} {:>11} {:>11} {:>8}",
            "learner",
            "device",
            "batch",
            "width",
            "P",
            "call",
            "threads",
            "updates/s",
            "min",
            "max",
            "P × /s",
            "extra time",
            "extra FLOPs",
            "peak MB"
        ))?;
    }
    for (name, stack) in options.learner.iter().zip(&stacks) {
        for device in &options.device {
            let handle = ingle::device::open(device)?;
            for (batch, width, population, updates_per_call) in points(options) {
                let point = Point { learner: name, device, batch, width, population, updates_per_call };
                let measured = in_pool(options.threads, || measure(options, &point, stack, &handle))?;
                print(options, &point, &measured)?;
            }
        }
    }
    Ok(())
}

/// Every batch with every width, population and number of updates per call.
fn points(options: &BenchOptions) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    options.batch.iter().flat_map(move |&batch| {
        options.width.iter().flat_map(move |&width| {
            options.population.iter().flat_map(move |&population| {
                options.updates_per_call.iter().map(move |&calls| (batch, width, population, calls))
            })
        })
    })
}

/// The configuration of a point: two hidden layers of its width in every network of the stack, then what `--set` says.
fn config(
    options: &BenchOptions,
    point: &Point<'_>,
    learner: &str,
    stack: &Stack,
) -> Result<RunConfig, CliError> {
    let Point { batch, width, population, .. } = *point;
    let mut set = vec![format!("replay.capacity={TRANSITIONS}")];
    let networks = stack.layers().filter(|layer| Layers::has_network(layer));
    set.extend(networks.map(|layer| format!("{layer}.hidden=[{width}, {width}]")));
    set.extend_from_slice(&options.set);
    let number = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let given = vec![
        ("learner", Value::from(learner)),
        ("device", Value::from(point.device)),
        ("population", number(population)),
        ("replay.batch", number(batch)),
        ("train.updates_per_call", number(point.updates_per_call)),
    ];
    RunConfig::resolve(None, &set, given)
}

fn measure(
    options: &BenchOptions,
    point: &Point<'_>,
    stack: &Stack,
    device: &Device,
) -> Result<Measured, CliError> {
    let settings = config(options, point, point.learner, stack)?;
    let mut learner = Bench::new(&settings, stack, device)?;
    let bare = Stack { processors: Vec::new(), core: stack.core };
    let mut core = if stack.processors.is_empty() {
        None
    } else {
        Some(Bench::new(&config(options, point, stack.core, &bare)?, &bare, device)?)
    };
    learner.run(WARM_UP)?;
    if let Some(core) = &mut core {
        core.run(WARM_UP)?;
    }
    let (mut rates, mut core_rates) = (Vec::new(), Vec::new());
    for _ in 0..options.repeats {
        rates.push(learner.run(options.seconds)?);
        if let Some(core) = &mut core {
            core_rates.push(core.run(options.seconds)?);
        }
    }
    let nest = core.is_some().then(|| {
        let extra = rates.iter().zip(&core_rates).map(|(nest, core)| core / nest - 1.0).collect();
        let flops = flops::of_update(&settings, stack, SIZES, point.batch);
        Nest {
            extra_time: Rates::of(extra).median,
            extra_flops: flops.map(|(core, all)| all / core - 1.0),
            core: Rates::of(core_rates),
        }
    });
    Ok(Measured { rates: Rates::of(rates), threads: rayon::current_num_threads(), nest })
}

impl Rates {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

/// A learner on random transitions.
struct Bench {
    learner: CoreLearner<Core, Source>,
    updates_per_call: usize,
}

impl Bench {
    fn new(config: &RunConfig, stack: &Stack, device: &Device) -> Result<Self, CliError> {
        let shape = config.replay(SIZES, Data::Shared);
        let mut replay = source::replay(config, &shape, device)?;
        fill(replay.as_mut(), 0)?;
        let demonstrations = match stack.imitator() {
            Some(_) => {
                let mut replay = UniformReplay::new(&shape, 1, device)?;
                fill(&mut replay, 1)?;
                Some(Box::new(replay) as Box<dyn Expert>)
            }
            None => None,
        };
        let source = Source { replay, demonstrations };
        let learner = CoreLearner::new(learner::core(config, SIZES)?, source, 0, device)?;
        let updates_per_call = usize::try_from(config.train.updates_per_call).unwrap_or(usize::MAX);
        Ok(Self { learner, updates_per_call })
    }

    /// Updates for so many seconds; how many there were a second.
    fn run(&mut self, seconds: f64) -> Result<f64, CliError> {
        let start = Instant::now();
        let mut updates = 0;
        let mut last = None;
        while start.elapsed() < Duration::from_secs_f64(seconds) || updates == 0 {
            if self.updates_per_call == 1 {
                last = Some(self.learner.step()?);
                updates += 1;
            } else {
                let outputs = self.learner.step_many(self.updates_per_call)?;
                updates += outputs.len() as u32;
                last = outputs.into_iter().next_back();
            }
        }
        // Reading the last losses waits for all the work; it belongs to the time.
        let losses = last.map(|output| output.metrics.read()).transpose()?.unwrap_or_default();
        let seconds = start.elapsed().as_secs_f64();
        if let Some((name, _)) =
            losses.iter().find(|(_, values)| values.iter().any(|value| !value.is_finite()))
        {
            return Err(CliError::Other(format!("{name} is not finite: the measurement is void")));
        }
        Ok(f64::from(updates) / seconds)
    }
}

fn fill(replay: &mut dyn Insert, seed: u64) -> Result<(), CliError> {
    let Sizes { observation: observation_size, action: action_size } = SIZES;
    let mut stream = RandomStream::new(seed, 0);
    let mut normal = |count: usize| {
        let mut values = vec![0.0; count];
        stream.fill_normal(&mut values);
        values
    };
    let (observation, next_observation) =
        (normal(TRANSITIONS * observation_size), normal(TRANSITIONS * observation_size));
    let action: Vec<f32> = normal(TRANSITIONS * action_size).into_iter().map(f32::tanh).collect();
    let reward = normal(TRANSITIONS);
    let discount: Vec<f32> = (0..TRANSITIONS).map(|row| if row % 100 == 0 { 0.0 } else { 0.99 }).collect();
    replay.insert(
        0,
        Rows {
            observation: &observation,
            action: &action,
            reward: &reward,
            discount: &discount,
            truncated: &vec![false; TRANSITIONS],
            next_observation: &next_observation,
        },
    )?;
    Ok(())
}

fn print(options: &BenchOptions, point: &Point<'_>, measured: &Measured) -> Result<(), CliError> {
    let Point { learner, device, batch, width, population, updates_per_call } = *point;
    let Measured { rates, threads, nest } = measured;
    let memory = peak_memory_mb();
    let numbers = |Rates { median, min, max }: &Rates| json!({"median": median, "min": min, "max": max});
    if options.json {
        let mut object = json!({
            "learner": learner,
            "device": device,
            "batch": batch,
            "width": width,
            "population": population,
            "updates_per_call": updates_per_call,
            "threads": threads,
            "updates_per_s": numbers(rates),
            "learner_updates_per_s": rates.median * population as f64,
            "peak_rss_mb": memory,
        });
        if let Some(Nest { core, extra_time, extra_flops }) = nest {
            object["core_updates_per_s"] = numbers(core);
            object["extra_time"] = json!(extra_time);
            object["extra_flops"] = json!(extra_flops);
        }
        line(format_args!("{object}"))
    } else {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let share = |share: Option<f64>| or_dash(share.map(|share| format!("{:+.0} %", 100.0 * share)));
        line(format_args!(
            "{learner:16} {device:8} {batch:>6} {width:>6} {population:>4} {updates_per_call:>4} {threads:>8} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>11} {:>11} {:>8}",
            rates.median,
            rates.min,
            rates.max,
            rates.median * population as f64,
            share(nest.as_ref().map(|nest| nest.extra_time)),
            share(nest.as_ref().and_then(|nest| nest.extra_flops)),
            or_dash(memory.map(|memory| format!("{memory:.0}")))
        ))
    }
}

/// The largest resident memory of this process so far, where the system tells (Linux).
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
