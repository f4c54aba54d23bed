//! Micro-benchmarks of what a training step is made of: `just bench`.
//!
//! `ingle bench` measures whole updates, with sampling, and is the one to compare with other libraries.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ingle::burn::tensor::{Device, Tensor};
use ingle::nested::ImitationSample;
use ingle::nested::ail::AilConfig;
use ingle::nested::rnd::RndConfig;
use ingle::random::RandomStream;
use ingle::replay::{ReplayConfig, Rows, UniformReplay};
use ingle::sac::SacConfig;
use ingle::{Act, Acting, LearnerCore, Nested, Sampler};

const OBSERVATION: usize = 17;
const ACTION: usize = 6;

fn filled(device: &Device, batch: usize, rows: usize) -> UniformReplay {
    let config = ReplayConfig { capacity: rows, batch, ..ReplayConfig::new(OBSERVATION, ACTION) };
    let mut replay = UniformReplay::new(&config, 0, device).expect("a replay");
    let mut stream = RandomStream::new(0, 0);
    let mut uniform = |count: usize| {
        let mut values = vec![0.0; count];
        stream.fill_uniform(-1.0, 1.0, &mut values);
        values
    };
    let (observation, next_observation) = (uniform(rows * OBSERVATION), uniform(rows * OBSERVATION));
    let (action, reward) = (uniform(rows * ACTION), uniform(rows));
    let discount = vec![0.99; rows];
    let rows = Rows {
        observation: &observation,
        action: &action,
        reward: &reward,
        discount: &discount,
        truncated: &vec![false; reward.len()],
        next_observation: &next_observation,
    };
    replay.insert(0, rows).expect("rows");
    replay
}

fn sac_step(criterion: &mut Criterion) {
    let device = ingle::device::open("flex").expect("flex");
    let mut group = criterion.benchmark_group("sac step");
    for (batch, width) in [(256, 256), (256, 64), (1024, 256)] {
        let core = SacConfig { hidden: vec![width; 2], ..SacConfig::default() }
            .init(OBSERVATION, ACTION)
            .expect("a core");
        let mut state = core.init(0, &device).expect("a state");
        let mut replay = filled(&device, batch, 10_000);
        group.bench_function(format!("batch {batch}, width {width}"), |bencher| {
            bencher.iter_batched(
                || replay.sample().expect("a sample"),
                |sample| core.step(&mut state, sample).expect("a step"),
                BatchSize::SmallInput,
            );
        });
    }
}

/// What a layer adds to an update: bare SAC, and nests over it, on the same rows.
fn nests(criterion: &mut Criterion) {
    let device = ingle::device::open("flex").expect("flex");
    let sac = || {
        SacConfig { hidden: vec![64; 2], ..SacConfig::default() }.init(OBSERVATION, ACTION).expect("a core")
    };
    let mut group = criterion.benchmark_group("nests, batch 256, width 64");
    let mut replay = filled(&device, 256, 10_000);
    let mut own = || replay.sample().expect("a sample");
    {
        let core = sac();
        let mut state = core.init(0, &device).expect("a state");
        group.bench_function("sac", |bencher| {
            bencher.iter_batched(
                &mut own,
                |sample| core.step(&mut state, sample).expect("a step"),
                BatchSize::SmallInput,
            );
        });
    }
    {
        let rnd =
            RndConfig { hidden: vec![64; 2], ..RndConfig::default() }.init(OBSERVATION).expect("a processor");
        let core = Nested { processor: rnd, direct: sac() };
        let mut state = core.init(0, &device).expect("a state");
        group.bench_function("rnd+sac", |bencher| {
            bencher.iter_batched(
                &mut own,
                |sample| core.step(&mut state, sample).expect("a step"),
                BatchSize::SmallInput,
            );
        });
    }
    let ail = AilConfig { hidden: vec![64; 2], ..AilConfig::default() };
    let core = Nested { processor: ail.init(OBSERVATION, ACTION).expect("a processor"), direct: sac() };
    let mut state = core.init(0, &device).expect("a state");
    let demonstrations = filled(&device, 256, 10_000).sample().expect("a sample");
    group.bench_function("ail+sac", |bencher| {
        bencher.iter_batched(
            || ImitationSample { rl: own(), demonstrations: demonstrations.clone() },
            |sample| core.step(&mut state, sample).expect("a step"),
            BatchSize::SmallInput,
        );
    });
}

fn acting(criterion: &mut Criterion) {
    let device = ingle::device::open("flex").expect("flex");
    let core = SacConfig::default().init(OBSERVATION, ACTION).expect("a core");
    let state = core.init(0, &device).expect("a state");
    criterion.bench_function("sac act, one observation", |bencher| {
        bencher.iter(|| {
            let observation = Tensor::zeros([1, 1, OBSERVATION], &device);
            core.act(&state, observation, Acting::Deterministic).expect("an action").into_data()
        });
    });
}

fn replay(criterion: &mut Criterion) {
    let device = ingle::device::open("flex").expect("flex");
    let mut replay = filled(&device, 256, 100_000);
    criterion.bench_function("replay sample, batch 256", |bencher| {
        bencher.iter(|| replay.sample().expect("a sample"));
    });
    for rows in [1, 64] {
        let (observation, action) = (vec![0.5; rows * OBSERVATION], vec![0.5; rows * ACTION]);
        let (reward, discount, truncated) = (vec![1.0; rows], vec![0.99; rows], vec![false; rows]);
        let rows_of = Rows {
            observation: &observation,
            action: &action,
            reward: &reward,
            discount: &discount,
            truncated: &truncated,
            next_observation: &observation,
        };
        criterion.bench_function(&format!("replay insert, {rows} rows"), |bencher| {
            bencher.iter(|| replay.insert(0, rows_of).expect("an insert"));
        });
    }
}

criterion_group!(benches, sac_step, nests, acting, replay);
criterion_main!(benches);
