//! Small samplers and processors for tests.

use burn::tensor::{Device, Tensor};
use ingle::random::RandomStream;
use ingle::state::Visitor;
use ingle::{Error, Feedback, Metrics, Result, Rewarded, SampleProcessor, Sampler, State};

/// Hands out given samples in turn and remembers the feedback it gets.
#[derive(Debug)]
pub struct Queue<S> {
    /// What is still to be handed out, last first.
    pub samples: Vec<S>,
    /// What came back.
    pub feedback: Vec<Feedback>,
}

impl<S> Queue<S> {
    /// A queue of `samples`, handed out from the end.
    pub fn new(samples: Vec<S>) -> Self {
        Self { samples, feedback: Vec::new() }
    }
}

impl<S> Sampler for Queue<S> {
    type Sample = S;

    fn sample(&mut self) -> Result<S> {
        self.samples.pop().ok_or_else(|| Error::Sample("the queue is empty".into()))
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.feedback.push(feedback);
        Ok(())
    }
}

/// A processor with a state: scales rewards by a factor that doubles with each sample, and draws from its own stream.
#[derive(Debug, Clone)]
pub struct Scale<S> {
    /// The name, and with it the random stream.
    pub name: &'static str,
    /// Whether samples are to be refused after the state has moved.
    pub fail: bool,
    sample: std::marker::PhantomData<S>,
}

impl<S> Scale<S> {
    /// A processor of that name.
    pub fn new(name: &'static str, fail: bool) -> Self {
        Self { name, fail, sample: std::marker::PhantomData }
    }
}

/// The state of [`Scale`].
#[derive(Debug, Clone)]
pub struct ScaleState {
    /// The factor, `[1, 1]`.
    pub factor: Tensor<2>,
    /// A stream that moves with each sample.
    pub stream: Vec<RandomStream>,
}

impl State for ScaleState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.tensor("factor", &mut self.factor);
        visitor.streams("stream", &mut self.stream);
    }
}

impl<S: Rewarded> SampleProcessor for Scale<S> {
    type State = ScaleState;
    type Sample = S;
    type Processed = S;

    fn name(&self) -> &'static str {
        self.name
    }

    fn init(&self, seed: u64, device: &Device) -> Result<ScaleState> {
        Ok(ScaleState { factor: Tensor::ones([1, 1], device), stream: RandomStream::population(seed, 0, 1) })
    }

    fn process(&self, state: &mut ScaleState, sample: S) -> Result<(S, Metrics)> {
        let reward = sample.transitions().reward.clone();
        if reward.dtype() != state.factor.dtype() {
            return Err(Error::Precision {
                field: "reward",
                expected: format!("{:?}", state.factor.dtype()),
                actual: format!("{:?}", reward.dtype()),
            });
        }
        let reward = reward * state.factor.clone();
        state.factor = state.factor.clone().mul_scalar(2.0);
        state.stream[0].index(10);
        if self.fail {
            return Err(Error::Sample("refused on purpose".into()));
        }
        let mut metrics = Metrics::default();
        metrics.push("factor", state.factor.clone().flatten::<1>(0, 1));
        Ok((sample.with_reward(reward), metrics))
    }
}
