//! A processor of your own: rewards are divided by their running deviation, below which any core learns.
//!
//! `cargo run --release -p ingle --example own_processor`

use ingle::burn::tensor::Device;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::RunningMoments;
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::sac::SacConfig;
use ingle::{
    CoreLearner, Metrics, Nested, Result, Rewarded, SampleProcessor, TrainConfig, Trainer, Transitions,
};

/// Configuration only, of which there is none: what changes is in the state.
struct ScaleRewards;

impl SampleProcessor for ScaleRewards {
    type State = RunningMoments;
    type Sample = Transitions;
    type Processed = Transitions;

    fn name(&self) -> &'static str {
        "scale"
    }

    fn init(&self, _seed: u64, device: &Device) -> Result<RunningMoments> {
        Ok(RunningMoments::new(1, 1, &device.into()))
    }

    fn process(&self, state: &mut RunningMoments, sample: Transitions) -> Result<(Transitions, Metrics)> {
        state.update(&sample.reward.clone().unsqueeze_dim(2));
        let mut metrics = Metrics::default();
        metrics.push("reward_deviation", state.deviation().flatten::<1>(0, 1));
        let reward = sample.reward.clone() / state.deviation();
        Ok((sample.with_reward(reward), metrics))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);
    let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(3, 1)?;
    let core = Nested { processor: ScaleRewards, direct: sac };
    let replay = UniformReplay::new(&ReplayConfig { batch: 64, ..ReplayConfig::new(3, 1) }, seed, &device)?;
    let learner = CoreLearner::new(core, replay, seed, &device)?;

    let pendulum =
        |count| make_vector("pendulum", count).map(|vector| Box::new(vector) as Box<dyn VectorEnvironment>);
    let config = TrainConfig { steps: if quick { 1_100 } else { 8_000 }, ..TrainConfig::default() };
    let evaluation = vec![pendulum(config.evaluation_episodes)?];
    let mut trainer = Trainer::new(learner, vec![pendulum(1)?], evaluation, config, seed)?;
    let summary = trainer.run(&mut [])?;
    println!("mean return {:.1}", summary.evaluation[0].mean_return);
    Ok(())
}
