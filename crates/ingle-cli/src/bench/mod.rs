//! `ingle bench`: updates a second, sampling included, on random transitions.

mod figure;
mod peers;
mod phases;

use std::time::{Duration, Instant};

use ingle::burn::tensor::{Device, Tensor};
use ingle::random::RandomStream;
use ingle::replay::{Data, Insert, Rows, UniformReplay};
use ingle::{Eager, GraphLearner, Learner, Policy};
use serde_json::json;
use toml::Value;

use crate::arguments::BenchOptions;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::learner::{Layers, Sizes, Stack};
use crate::output::{line, note};
use crate::source::{Expert, Source};
use crate::stack::Core;
use crate::{flops, in_pool, learner, memory, plot, source};

use figure::Measurement;
use peers::{Peers, Work};
use phases::Phases;

/// The shape of Gymnasium's `HalfCheetah` and the buffer that the published comparisons use.
const SIZES: Sizes = Sizes { observation: 17, action: 6 };
const TRANSITIONS: usize = 100_000;
/// Seconds of updates before the first repeat.
const WARM_UP: f64 = 1.0;
/// Updates over which kernels are counted: every delay and interval that is usual comes round in them.
const COUNTED: usize = 12;

/// Everything that is measured: each combination is a point.
#[derive(Clone, Copy)]
struct Axes<'a> {
    learner: &'a [String],
    device: &'a [String],
    graph: &'a [String],
    batch: &'a [usize],
    width: &'a [usize],
    population: &'a [usize],
    updates_per_call: &'a [usize],
}

impl<'a> Axes<'a> {
    fn of(options: &'a BenchOptions) -> Self {
        let BenchOptions { learner, device, graph, batch, width, population, updates_per_call, .. } = options;
        Self { learner, device, graph, batch, width, population, updates_per_call }
    }

    fn numbers(&self) -> [(&'static str, &'a [usize]); 4] {
        [
            ("batch", self.batch),
            ("width", self.width),
            ("population", self.population),
            ("updates-per-call", self.updates_per_call),
        ]
    }

    /// Every combination.
    fn points(&self) -> impl Iterator<Item = Point<'a>> {
        let Self { learner, device, graph, batch, width, population, updates_per_call } = *self;
        let of_words = device.iter().flat_map(move |device| {
            learner.iter().flat_map(move |learner| graph.iter().map(move |graph| (device, learner, graph)))
        });
        of_words.flat_map(move |(device, learner, graph)| {
            batch.iter().flat_map(move |&batch| {
                width.iter().flat_map(move |&width| {
                    population.iter().flat_map(move |&population| {
                        updates_per_call.iter().map(move |&updates_per_call| Point {
                            learner,
                            device,
                            graph,
                            batch,
                            width,
                            population,
                            updates_per_call,
                        })
                    })
                })
            })
        })
    }

    /// The names of the axes, and whether there are several values.
    fn names(&self) -> Vec<(&'static str, bool)> {
        let words = [("learner", self.learner), ("device", self.device), ("graph", self.graph)];
        let words = words.map(|(name, values)| (name, values.len() > 1));
        words.into_iter().chain(self.numbers().map(|(name, values)| (name, values.len() > 1))).collect()
    }
}

/// One combination of settings.
struct Point<'a> {
    learner: &'a str,
    device: &'a str,
    graph: &'a str,
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
    /// Share of the device's rate of large float32 products that the update's products reach.
    of_peak: Option<f64>,
    /// Kernels launched for an update, and the host's waits for the device.
    kernels: Option<Launches>,
    /// Why the updates were eager; none if they were replays.
    eager: Option<Eager>,
    /// Seconds of an update in each phase.
    phases: Option<Phases>,
    peers: Vec<Peer>,
}

/// What the device is asked for in an update.
struct Launches {
    kernels: f64,
    /// None where nothing tells.
    waits: Option<f64>,
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

/// A Python peer, measured in turns.
struct Peer {
    name: String,
    rates: Rates,
    /// ingle's rate over the peer's, turn by turn.
    ratio: Rates,
}

pub(crate) fn run(options: &BenchOptions) -> Result<(), CliError> {
    let stacks = options.learner.iter().map(|name| Stack::parse(name)).collect::<Result<Vec<_>, _>>()?;
    let axes = Axes::of(options);
    let mut problems = Vec::new();
    for (name, values) in axes.numbers() {
        if values.contains(&0) {
            problems.push(format!("--{name}: must be at least 1, got 0"));
        }
    }
    if !(options.seconds.is_finite() && options.seconds > 0.0) {
        problems.push(format!("--seconds: must be a finite number above 0, got {}", options.seconds));
    }
    if options.repeats == 0 {
        problems.push("--repeats: must be at least 1, got 0".into());
    }
    if options.plot.is_some() && axes.numbers().iter().all(|(_, values)| values.len() < 2) {
        problems.push(
            "--plot: give several values of --batch, --width, --population or --updates-per-call".into(),
        );
    }
    if options.peers.is_some() {
        let solo = options.population.iter().all(|&population| population == 1);
        if !solo || stacks.iter().any(|stack| !stack.processors.is_empty()) {
            problems.push("--peers: there are peers of sac and td3 with --population 1 only".into());
        }
    }
    if !problems.is_empty() {
        return Err(CliError::Config(problems));
    }
    let stack_of = |name: &str| {
        options.learner.iter().zip(&stacks).find(|(own, _)| *own == name).map(|(_, stack)| stack)
    };
    // Every point is refused before the first one is measured.
    for point in axes.points() {
        if let Some(stack) = stack_of(point.learner) {
            memory::check(&config(options, &point, point.learner, stack)?, SIZES)?;
        }
    }
    if !options.json {
        line(format_args!(
            "{:16} {:8} {:6} {:>6} {:>6} {:>4} {:>4} {:>8} {:>10} {:>10} {:>10} {:>10} {:>8} {:>8} {:>6} {:>11} {:>11} {:>8}",
            "learner",
            "device",
            "graph",
            "batch",
            "width",
            "P",
            "call",
            "threads",
            "updates/s",
            "min",
            "max",
            "P × /s",
            "of peak",
            "kernels",
            "waits",
            "extra time",
            "extra FLOPs",
            "peak MB"
        ))?;
    }
    let mut measurements = Vec::new();
    let mut opened: Option<(&str, Device, f64)> = None;
    for point in axes.points() {
        let Some(stack) = stack_of(point.learner) else { continue };
        let (handle, peak) = match &opened {
            Some((name, handle, peak)) if *name == point.device => (handle.clone(), *peak),
            _ => {
                let handle = ingle::device::open(point.device)?;
                let peak = in_pool(options.threads, || products_per_second(&handle))?;
                opened = Some((point.device, handle.clone(), peak));
                (handle, peak)
            }
        };
        let measured = in_pool(options.threads, || measure(options, &point, stack, &handle, peak))?;
        print(options, &point, &measured, peak)?;
        measurements.push(measurement(&point, &measured));
    }
    if let Some((stem, figure)) = options.plot.as_deref().zip(figure::figure(&axes, &measurements)) {
        for path in plot::draw(&figure, stem)? {
            note(format_args!("{}", path.display()));
        }
    }
    Ok(())
}

fn measurement(point: &Point<'_>, measured: &Measured) -> Measurement {
    let Point { learner, device, graph, batch, width, population, updates_per_call } = *point;
    let Rates { median, min, max } = measured.rates;
    Measurement {
        settings: vec![
            ("learner", learner.to_owned()),
            ("device", device.to_owned()),
            ("graph", graph.to_owned()),
            ("batch", batch.to_string()),
            ("width", width.to_string()),
            ("population", population.to_string()),
            ("updates-per-call", updates_per_call.to_string()),
        ],
        rates: [median, min, max].map(|rate| rate * population as f64),
    }
}

/// Floating-point operations a second in square float32 products that are large enough to keep the device busy: the best
/// of three rows of them.
fn products_per_second(device: &Device) -> Result<f64, CliError> {
    /// Seconds that a row takes at least: far beyond what issuing it and waiting for it take.
    const ROW: f64 = 0.02;
    /// The largest product: GPUs are near their best there, and no device runs out of memory.
    const LARGEST: usize = 2048;
    let mut size = 512_usize;
    let mut count = 1;
    loop {
        let (a, b) = (
            Tensor::<2>::ones([size, size], device),
            Tensor::<2>::full([size, size], 1.0 / size as f64, device),
        );
        let mut seconds = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            let product = (0..count).fold(a.clone(), |product, _| product.matmul(b.clone()));
            // The last one must be there while the device is waited for, or a lazy device leaves all of them out.
            device.sync().map_err(|error| ingle::Error::Execution(error.to_string()))?;
            drop(product);
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        if seconds > ROW {
            return Ok(2.0 * (size as f64).powi(3) * f64::from(count) / seconds);
        }
        if size < LARGEST && count > 4 {
            (size, count) = (2 * size, 1);
        } else {
            count *= 2;
        }
    }
}

/// The configuration of a point: two hidden layers of its width in every network of the stack, then what `--set` says.
fn config(
    options: &BenchOptions,
    point: &Point<'_>,
    learner: &str,
    stack: &Stack,
) -> Result<RunConfig, CliError> {
    let Point { batch, width, population, graph, .. } = *point;
    let mut set = vec![format!("replay.capacity={TRANSITIONS}")];
    let networks = stack.layers().filter(|layer| Layers::has_network(layer));
    set.extend(networks.map(|layer| format!("{layer}.hidden=[{width}, {width}]")));
    set.extend_from_slice(&options.set);
    let number = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let given = vec![
        ("learner", Value::from(learner)),
        ("device", Value::from(point.device)),
        ("graph", Value::from(graph)),
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
    peak: f64,
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
    let threads = rayon::current_num_threads();
    let peers = options.peers.as_deref().map(|python| Peers { python, names: &options.peer });
    let mut peer_rates = vec![Vec::new(); peers.as_ref().map_or(0, |peers| peers.names.len())];
    let (mut rates, mut core_rates) = (Vec::new(), Vec::new());
    for _ in 0..options.repeats {
        rates.push(learner.run(options.seconds)?);
        if let Some(core) = &mut core {
            core_rates.push(core.run(options.seconds)?);
        }
        for (name, rates) in peers.iter().flat_map(|peers| peers.names).zip(&mut peer_rates) {
            let Point { learner, batch, width, .. } = *point;
            let work = Work { learner, batch, width, threads, seconds: options.seconds };
            rates.extend(peers.as_ref().map(|peers| peers.turn(name, &work)).transpose()?);
        }
    }
    let eager = learner.learner.eager().cloned();
    // A replay launches nothing.
    let kernels = if eager.is_some() { learner.kernels(device)? } else { None };
    let phases = if options.phases {
        Some(learner.phases(options.seconds, kernels.as_ref().map(|_| device))?)
    } else {
        None
    };
    let flops = flops::of_update(&settings, stack, SIZES, point.batch);
    let nest = core.is_some().then(|| {
        let extra = rates.iter().zip(&core_rates).map(|(nest, core)| core / nest - 1.0).collect();
        Nest {
            extra_time: Rates::of(extra).median,
            extra_flops: flops.map(|(core, all)| all / core - 1.0),
            core: Rates::of(core_rates),
        }
    });
    let ratio = |theirs: &[f64]| rates.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    let peers = options.peer.iter().zip(peer_rates).map(|(name, theirs)| Peer {
        name: name.clone(),
        ratio: Rates::of(ratio(&theirs)),
        rates: Rates::of(theirs),
    });
    let peers = peers.collect();
    let rates = Rates::of(rates);
    let of_peak = flops.map(|(_, all)| all * point.population as f64 * rates.median / peak);
    Ok(Measured { rates, threads, nest, of_peak, kernels, eager, phases, peers })
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
    learner: GraphLearner<Core, Source>,
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
        let core = learner::stepped(config, SIZES, device)?;
        let learner = GraphLearner::new(core, source, 0, device, config.graph)?;
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

    /// What an update asks of the device, sampling included; none on a device that launches no kernels.
    fn kernels(&mut self, device: &Device) -> Result<Option<Launches>, CliError> {
        let updates = COUNTED.next_multiple_of(self.updates_per_call);
        let update = || self.learner.step_many(updates).map(drop);
        let (result, kernels) = ingle::kernels::count(device, update)?;
        result?;
        let each = |count: u64| count as f64 / updates as f64;
        Ok(kernels.map(|counted| Launches { kernels: each(counted.total()), waits: counted.waits.map(each) }))
    }

    /// Seconds of an update in each phase, over so many seconds of updates.
    fn phases(&mut self, seconds: f64, wait: Option<&Device>) -> Result<Phases, CliError> {
        let mut updates = 0;
        let start = Instant::now();
        let population = self.learner.population();
        let mut work = || {
            let (result, phases) = phases::timed(wait, || -> Result<(), CliError> {
                while start.elapsed() < Duration::from_secs_f64(seconds) || updates == 0 {
                    updates += self.learner.step_many(self.updates_per_call)?.len() as u32;
                }
                Ok(())
            });
            result.map(|()| phases)
        };
        // Members that are stepped side by side would be in several phases at once.
        let mut phases = if wait.is_none() && population > 1 { in_pool(Some(1), work) } else { work() }?;
        let known: f64 = phases.0.values().sum();
        phases.0.insert("other", start.elapsed().as_secs_f64() - known);
        phases.0.values_mut().for_each(|time| *time /= f64::from(updates));
        Ok(phases)
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

fn print(
    options: &BenchOptions,
    point: &Point<'_>,
    measured: &Measured,
    products_per_second: f64,
) -> Result<(), CliError> {
    let Point { learner, device, graph, batch, width, population, updates_per_call } = *point;
    let Measured { rates, threads, nest, of_peak, kernels, eager, phases, peers } = measured;
    let memory = peak_memory_mb();
    let numbers = |Rates { median, min, max }: &Rates| json!({"median": median, "min": min, "max": max});
    if options.json {
        let mut object = json!({
            "learner": learner,
            "device": device,
            "graph": graph,
            "eager": eager.as_ref().map(ToString::to_string),
            "batch": batch,
            "width": width,
            "population": population,
            "updates_per_call": updates_per_call,
            "threads": threads,
            "updates_per_s": numbers(rates),
            "learner_updates_per_s": rates.median * population as f64,
            "products_gflops": products_per_second / 1e9,
            "of_peak": of_peak,
            "kernels_per_update": kernels.as_ref().map(|launches| launches.kernels),
            "waits_per_update": kernels.as_ref().and_then(|launches| launches.waits),
            "peak_rss_mb": memory,
        });
        if let Some(Nest { core, extra_time, extra_flops }) = nest {
            object["core_updates_per_s"] = numbers(core);
            object["extra_time"] = json!(extra_time);
            object["extra_flops"] = json!(extra_flops);
        }
        if let Some(Phases(phases)) = phases {
            object["phases_s"] = json!(phases);
        }
        if !peers.is_empty() {
            object["peers"] = peers
                .iter()
                .map(|Peer { name, rates, ratio }| json!({"peer": name, "updates_per_s": numbers(rates), "ratio": numbers(ratio)}))
                .collect();
        }
        return line(format_args!("{object}"));
    }
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let share = |share: Option<f64>| or_dash(share.map(|share| format!("{:+.0} %", 100.0 * share)));
    let program = if eager.is_none() { "replay" } else { "eager" };
    line(format_args!(
        "{learner:16} {device:8} {program:6} {batch:>6} {width:>6} {population:>4} {updates_per_call:>4} {threads:>8} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>8} {:>8} {:>6} {:>11} {:>11} {:>8}",
        rates.median,
        rates.min,
        rates.max,
        rates.median * population as f64,
        or_dash(of_peak.map(|share| format!("{:.0} %", 100.0 * share))),
        or_dash(kernels.as_ref().map(|launches| format!("{:.1}", launches.kernels))),
        or_dash(kernels.as_ref().and_then(|launches| launches.waits).map(|waits| format!("{waits:.1}"))),
        share(nest.as_ref().map(|nest| nest.extra_time)),
        share(nest.as_ref().and_then(|nest| nest.extra_flops)),
        or_dash(memory.map(|memory| format!("{memory:.0}")))
    ))?;
    if let (Some(reason), false) = (eager, graph == "off") {
        line(format_args!("  eager: {reason}"))?;
    }
    if let Some(Phases(phases)) = phases {
        let total: f64 = phases.values().sum();
        let mut phases: Vec<_> = phases.iter().collect();
        phases.sort_by(|a, b| b.1.total_cmp(a.1));
        let parts: Vec<String> =
            phases.into_iter().map(|(name, time)| format!("{name} {:.0} %", 100.0 * time / total)).collect();
        line(format_args!("  phases: {}", parts.join(", ")))?;
    }
    for Peer { name, rates, ratio } in peers {
        line(format_args!(
            "  {name}: {:.1} updates/s; ratio {:.2} ({:.2} to {:.2})",
            rates.median, ratio.median, ratio.min, ratio.max
        ))?;
    }
    Ok(())
}

/// The largest resident memory of this process so far, where the system tells (Linux).
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
