//! SQIL as a processor.

use std::marker::PhantomData;

use burn::tensor::Device;
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::sample::Expected;
use ingle_core::{Error, ImitationSample, Metrics, Result, Rewarded, SampleProcessor, Transitions};

use super::SqilConfig;

/// SQIL over inner samples of type `S`, made by [`SqilConfig::init`].
///
/// The core below learns from twice the rows: the learner's own with the reward 0, then as many demonstrations with the
/// reward 1. Demonstrations have no keys, so that feedback reaches the learner's own rows only.
#[derive(Debug, Clone)]
pub struct Sqil<S> {
    config: SqilConfig,
    observation: usize,
    action: usize,
    sample: PhantomData<fn(S) -> S>,
}

impl<S> Sqil<S> {
    pub(super) fn from_parts(config: SqilConfig, observation: usize, action: usize) -> Self {
        Self { config, observation, action, sample: PhantomData }
    }

    /// The settings.
    pub fn config(&self) -> &SqilConfig {
        &self.config
    }
}

impl<S: Rewarded> SampleProcessor for Sqil<S> {
    /// Nothing changes.
    type State = ();
    type Sample = ImitationSample<S>;
    type Processed = S;

    fn name(&self) -> &'static str {
        "sqil"
    }

    fn init(&self, _: u64, _: &Device) -> Result<()> {
        Ok(())
    }

    fn process(&self, (): &mut (), sample: ImitationSample<S>) -> Result<(S, Metrics)> {
        // Nothing here lives on a device: the core below compares the rows with its own.
        let like = sample.transitions().reward.clone();
        let Self { observation, action, .. } = *self;
        let expected = Expected { population: self.config.population, observation, action, like: &like };
        let (rows, demonstrated) = sample.check(expected)?;
        if rows != demonstrated {
            return Err(Error::Shape {
                field: "demonstrations",
                expected: format!("{rows} rows, as many as the learner's own"),
                actual: sample.demonstrations.observation.dims().to_vec(),
            });
        }
        let ImitationSample { rl, demonstrations } = sample;
        let own = rl.transitions().clone();
        let own = Transitions { reward: own.reward.zeros_like(), ..own };
        let demonstrations = Transitions { reward: demonstrations.reward.ones_like(), ..demonstrations };
        Ok((rl.with_transitions(own.join(demonstrations, expected)?), Metrics::default()))
    }

    fn decisions(&self, (): &()) -> Option<Vec<bool>> {
        Some(Vec::new())
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Sqil<S> {
    /// Nothing is drawn.
    type Noise = ();

    fn process_with_noise(&self, state: &mut (), sample: ImitationSample<S>, (): ()) -> Result<(S, Metrics)> {
        self.process(state, sample)
    }
}
