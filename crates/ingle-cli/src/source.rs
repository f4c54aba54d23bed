//! Where the command line's samples come from: a replay of either kind, and demonstrations where a layer needs them.

use ingle::burn::tensor::Device;
use ingle::envs::VectorEnvironment;
use ingle::replay::demonstrations::{DemonstrationConfig, DemonstrationSampler, Demonstrations, ReadOptions};
use ingle::replay::{Insert, NStepReplay, PrioritisedReplay, ReplayConfig, Rows, UniformReplay, draw};
use ingle::state::Visitor;
use ingle::{Checkpoint, Error, Feedback, NStepTransitions, Result, Sampler, Transitions};

use crate::config::{ReplayKind, ReplaySettings, RunConfig};
use crate::error::CliError;
use crate::learner::Stack;
use crate::stack::Sample;

/// A replay of any kind.
pub(crate) trait Store: Sampler<Sample = Transitions> + Insert + Checkpoint + Send {}

impl<T: Sampler<Sample = Transitions> + Insert + Checkpoint + Send> Store for T {}

/// The replay of a configuration.
pub(crate) fn replay(config: &RunConfig, shape: &ReplayConfig, device: &Device) -> Result<Box<dyn Store>> {
    let ReplaySettings { kind, priorities, .. } = config.replay;
    match kind {
        ReplayKind::Uniform => folded(UniformReplay::new(shape, config.seed.clone(), device)?, config, shape),
        ReplayKind::Prioritised => {
            folded(PrioritisedReplay::new(shape, priorities, config.seed.clone(), device)?, config, shape)
        }
    }
}

/// The replay, with n steps folded on their way into it if n is not 1.
fn folded(replay: impl Store + 'static, config: &RunConfig, shape: &ReplayConfig) -> Result<Box<dyn Store>> {
    match config.replay.n_step {
        1 => Ok(Box::new(replay)),
        n => Ok(Box::new(Folded(NStepReplay::new(replay, shape, n, config.envs)?))),
    }
}

/// An n-step replay for a direct core, which takes its samples as they are. (A configuration with a processor over them
/// is refused.)
struct Folded<R>(NStepReplay<R>);

impl<R: Store> Sampler for Folded<R> {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        self.0.sample().map(NStepTransitions::into_inner)
    }

    fn sample_many(&mut self, count: usize) -> Result<Vec<Transitions>> {
        Ok(self.0.sample_many(count)?.into_iter().map(NStepTransitions::into_inner).collect())
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.0.feedback(feedback)
    }
}

impl<R: Store> Insert for Folded<R> {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.0.insert(member, rows)
    }

    fn begin(&mut self) {
        self.0.begin();
    }

    fn lag(&self) -> usize {
        self.0.lag()
    }
}

impl<R: Store> Checkpoint for Folded<R> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        self.0.checkpoint(visitor);
    }
}

/// A sampler of demonstrations.
pub(crate) trait Expert: Sampler<Sample = Transitions> + Checkpoint + Send {}

impl<T: Sampler<Sample = Transitions> + Checkpoint + Send> Expert for T {}

/// A data set in place of a replay, for learning offline.
struct Recorded(DemonstrationSampler);

impl Sampler for Recorded {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        self.0.sample()
    }

    fn sample_many(&mut self, count: usize) -> Result<Vec<Transitions>> {
        self.0.sample_many(count)
    }
}

impl Insert for Recorded {
    /// Nothing is played offline.
    fn insert(&mut self, _: usize, _: Rows<'_>) -> Result<()> {
        Err(Error::Sample("a data set takes nothing in".into()))
    }
}

impl Checkpoint for Recorded {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        self.0.checkpoint(visitor);
    }
}

/// Reads the demonstrations of a configuration, for that environment if there is one, and writes down their hash; none if
/// the learner does not learn from any.
///
/// # Errors
/// If the file is not of this environment, or holds other data than the run began with.
pub(crate) fn demonstrations(
    config: &mut RunConfig,
    environment: Option<&dyn VectorEnvironment>,
) -> Result<Option<Demonstrations>, CliError> {
    let settings = &config.demonstrations;
    let Some(path) = &settings.path else { return Ok(None) };
    let own = settings.action_low.as_deref().zip(settings.action_high.as_deref());
    let options = ReadOptions {
        observation: environment.map(|environment| environment.observation_space().len()),
        action_bounds: environment.map_or(own, |environment| {
            let action = environment.action_space();
            Some((action.low(), action.high()))
        }),
        terminal: settings.terminal,
    };
    let data = Demonstrations::read(path, options)?;
    let hash = data.sha256();
    match &settings.sha256 {
        Some(expected) if *expected != hash => {
            return Err(CliError::Config(vec![format!(
                "demonstrations.path: {} holds other data than the run began with (SHA-256 {hash}, expected \
                 {expected}): give the file that it began with, wherever it is now, by --data FILE",
                path.display()
            )]));
        }
        _ => config.demonstrations.sha256 = Some(hash),
    }
    config.layers.look_at(&data);
    Ok(Some(data))
}

/// A replay, and demonstrations to go with its rows.
pub(crate) struct Source {
    pub(crate) replay: Box<dyn Store>,
    pub(crate) demonstrations: Option<Box<dyn Expert>>,
}

impl Source {
    /// The source of a run. What is drawn of the demonstrations does not move what is drawn of the replay.
    pub(crate) fn new(
        config: &RunConfig,
        shape: &ReplayConfig,
        demonstrations: Option<&Demonstrations>,
        device: &Device,
    ) -> Result<Self> {
        let offline = config.is_offline();
        let sampler = DemonstrationConfig {
            batch: shape.batch,
            population: shape.population,
            gamma: config.train.gamma.clone(),
            place: shape.place,
            // Imitators make rewards, and behaviour cloning reads none.
            use_rewards: offline && Stack::parse(&config.learner).is_ok_and(|stack| stack.core != "bc"),
        };
        let seed = config.seed.derive("demonstrations");
        if let (true, Some(data)) = (offline, demonstrations) {
            let recorded = Recorded(sampler.init(data, seed, device)?);
            return Ok(Self { replay: Box::new(recorded), demonstrations: None });
        }
        let demonstrations = demonstrations
            .map(|demonstrations| sampler.init(demonstrations, seed.clone(), device))
            .transpose()?
            .map(|sampler| Box::new(sampler) as Box<dyn Expert>);
        Ok(Self { replay: replay(config, shape, device)?, demonstrations })
    }
}

impl Checkpoint for Source {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("replay", |visitor| self.replay.checkpoint(visitor));
        if let Some(demonstrations) = &mut self.demonstrations {
            visitor.scope("demonstrations", |visitor| demonstrations.checkpoint(visitor));
        }
    }
}

impl Sampler for Source {
    type Sample = Sample;

    fn sample(&mut self) -> Result<Sample> {
        let demonstrations = self.demonstrations.as_mut().map(|sampler| sampler.sample()).transpose()?;
        Ok(Sample { transitions: self.replay.sample()?, demonstrations })
    }

    fn sample_many(&mut self, count: usize) -> Result<Vec<Sample>> {
        let own = self.replay.sample_many(count)?;
        let demonstrations = match &mut self.demonstrations {
            Some(sampler) => draw(sampler.as_mut(), own.len())?.into_iter().map(Some).collect(),
            None => vec![None; own.len()],
        };
        let pairs = own.into_iter().zip(demonstrations);
        Ok(pairs.map(|(transitions, demonstrations)| Sample { transitions, demonstrations }).collect())
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.replay.feedback(feedback)
    }
}

impl Insert for Source {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.replay.insert(member, rows)
    }

    fn begin(&mut self) {
        self.replay.begin();
    }

    fn lag(&self) -> usize {
        self.replay.lag()
    }
}
