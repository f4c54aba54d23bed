//! The training loop.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ingle_core::guard::SKIPPED_IN_A_ROW;
use ingle_core::random::{RandomStream, normal_noise};
use ingle_core::state::Visitor;
use ingle_core::{Acting, Checkpoint, Error, Learner, Policy, Seeds, StepOutput};
use ingle_envs::{BoxSpace, VectorEnvironment};
use ingle_replay::{Insert, RateLimiter, Rows};
use tracing::{debug, info, info_span};

use crate::checkpoints;
use crate::environments;
use crate::evaluation::{Stage, evaluate_unless};
use crate::observer::{Event, Observer, Progress, StopReason, Summary};
use crate::{Checkpoints, EpisodeStatistics, TrainConfig, TrainError};

/// What a training loop needs of a learner: updates, a policy, and a place for transitions.
pub trait Agent: Learner + Policy + Insert {}

impl<T: Learner + Policy + Insert> Agent for T {}

/// The number of episodes whose mean return [`Progress`] shows (Stable-Baselines3's window).
const RETURN_WINDOW: usize = 100;

/// Drives a learner: act, store, update in the configured ratio, evaluate.
///
/// ```no_run
/// use burn::tensor::Device;
/// use ingle_core::CoreLearner;
/// use ingle_core::sac::SacConfig;
/// use ingle_envs::make_vector;
/// use ingle_replay::{ReplayConfig, UniformReplay};
/// use ingle_train::{TrainConfig, Trainer};
///
/// let (device, config, seed) = (Device::flex(), TrainConfig::default(), 0);
/// let replay = UniformReplay::new(&ReplayConfig::new(3, 1), seed, &device)?;
/// let learner = CoreLearner::new(SacConfig::default().init(3, 1)?, replay, seed, &device)?;
/// let played = vec![make_vector("pendulum", 1)?];
/// let evaluation = vec![make_vector("pendulum", config.evaluation_episodes)?];
/// let summary = Trainer::new(learner, played, evaluation, config, seed)?.run(&mut [])?;
/// println!("{:?} after {} updates", summary.best(), summary.updates);
/// # Ok::<(), ingle_train::TrainError>(())
/// ```
pub struct Trainer<L> {
    /// The learner that is trained.
    pub learner: L,
    /// How it takes in what it plays; none learns offline, without playing.
    inlet: Option<Inlet<L>>,
    config: TrainConfig,
    environments: Vec<Box<dyn VectorEnvironment>>,
    evaluation: Vec<Box<dyn VectorEnvironment>>,
    /// What actions mean, where no environment says it.
    action_space: Option<BoxSpace>,
    limiter: RateLimiter,
    /// Each member's stream of random actions and exploration noise.
    acting: Vec<RandomStream>,
    stage: Stage,
    discount: Vec<f32>,
    reward: Vec<f32>,
    seeds: Seeds,
    env_steps: u64,
    updates: u64,
    returns: VecDeque<f64>,
    /// Whether the environments have been reset or restored.
    started: bool,
    last: Option<LastUpdate>,
    /// Whether the policy is still to be evaluated at this step.
    evaluation_due: bool,
    evaluated: Vec<EpisodeStatistics>,
    /// The best member's mean return in the best evaluation so far.
    best: Option<f64>,
    /// Seconds that the run has taken, up to the last start of it.
    seconds: f64,
    /// Where the observers stood when the run was last saved.
    positions: Vec<u64>,
    stop: Arc<AtomicBool>,
}

/// [`Insert`] of a learner that has it.
struct Inlet<L> {
    begin: fn(&mut L),
    insert: fn(&mut L, usize, Rows<'_>) -> ingle_core::Result<()>,
    lag: usize,
}

/// Saves a run, given the evaluation at that step, if there was one.
type Save<'a, L> = &'a mut dyn FnMut(&mut Trainer<L>, Option<f64>) -> Result<(), TrainError>;

/// The metrics of the last update: on the device until somebody reads them.
enum LastUpdate {
    Output(StepOutput),
    Read(BTreeMap<String, Vec<f64>>),
}

impl LastUpdate {
    fn read(&mut self) -> Result<&mut BTreeMap<String, Vec<f64>>, Error> {
        if let Self::Output(output) = self {
            let metrics = output.metrics.read()?;
            *self = Self::Read(metrics.into_iter().map(|(name, values)| (name.to_owned(), values)).collect());
        }
        match self {
            Self::Read(metrics) => Ok(metrics),
            Self::Output(_) => Err(Error::Execution("metrics that were read are not there".into())),
        }
    }
}

impl<L: std::fmt::Debug> std::fmt::Debug for Trainer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("learner", &self.learner)
            .field("config", &self.config)
            .field("env_steps", &self.env_steps)
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}

impl<L: Agent> Trainer<L> {
    /// Puts a run together. `environments` and `evaluation` have one vector for each member of the population; the
    /// evaluation's have [`TrainConfig::evaluation_episodes`] environments each. Member p plays and is evaluated as a single
    /// learner with its seed would be: `seed + p`, or that of a list.
    ///
    /// # Errors
    /// If a setting is out of range, or learner and environments do not fit each other.
    pub fn new(
        learner: L,
        environments: Vec<Box<dyn VectorEnvironment>>,
        evaluation: Vec<Box<dyn VectorEnvironment>>,
        config: TrainConfig,
        seed: impl Into<Seeds>,
    ) -> Result<Self, TrainError> {
        let inlet = Inlet { begin: L::begin, insert: L::insert, lag: learner.lag() };
        Self::assemble(learner, Some(inlet), environments, evaluation, config, seed.into())
    }
}

impl<L: Learner + Policy> Trainer<L> {
    /// A run without environments: the learner learns from what its own sampler has (a
    /// [`DemonstrationSampler`](ingle_replay::demonstrations::DemonstrationSampler)), and **a step is an update**, in the
    /// settings and in what observers are told. `evaluation` has one vector for each member of the population, or none:
    /// then nothing is evaluated, and [`with_action_space`](Self::with_action_space) says what actions mean. Of
    /// [`TrainConfig`], `warmup_steps` and `updates_per_step` mean nothing here.
    ///
    /// # Errors
    /// If a setting is out of range, or learner and environments do not fit each other.
    pub fn offline(
        learner: L,
        evaluation: Vec<Box<dyn VectorEnvironment>>,
        config: TrainConfig,
        seed: impl Into<Seeds>,
    ) -> Result<Self, TrainError> {
        Self::assemble(learner, None, Vec::new(), evaluation, config, seed.into())
    }

    /// Says what actions mean in a run without any environment: its checkpoints hold it, so that
    /// [`SavedPolicy`](crate::SavedPolicy) can act, and a run goes on with the same actions only. Where there is an
    /// environment, its own space counts.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] if the learner has other actions.
    pub fn with_action_space(mut self, space: BoxSpace) -> Result<Self, TrainError> {
        let learner = self.learner.action_size();
        if space.len() != learner {
            return Err(TrainError::Mismatch { what: "action elements", environment: space.len(), learner });
        }
        self.action_space = Some(space);
        Ok(self)
    }

    fn assemble(
        learner: L,
        inlet: Option<Inlet<L>>,
        environments: Vec<Box<dyn VectorEnvironment>>,
        evaluation: Vec<Box<dyn VectorEnvironment>>,
        config: TrainConfig,
        seeds: Seeds,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let population = learner.population();
        if let Some(violation) = config.gamma.violation("gamma", population, "in [0, 1]", |_| true) {
            return Err(TrainError::Learner(Error::Config(vec![violation])));
        }
        let count = environments.first().map_or(0, VectorEnvironment::len);
        let mismatch = |what, environment, learner| TrainError::Mismatch { what, environment, learner };
        for vectors in [&environments, &evaluation] {
            if inlet.is_none() && vectors.is_empty() {
                continue;
            }
            if vectors.len() != learner.population() {
                return Err(mismatch("members", vectors.len(), learner.population()));
            }
            for vector in vectors {
                let (observation, action) = (vector.observation_space().len(), vector.action_space().len());
                if observation != learner.observation_size() {
                    return Err(mismatch("observation elements", observation, learner.observation_size()));
                }
                if action != learner.action_size() {
                    return Err(mismatch("action elements", action, learner.action_size()));
                }
            }
        }
        if let Some(other) = environments.iter().find(|vector| vector.len() != count || count == 0) {
            return Err(mismatch("environments per member", other.len(), count.max(1)));
        }
        // The first sample falls due when the warm-up is over: by then there must be something to draw.
        let waiting = inlet.as_ref().map_or(0, |inlet| inlet.lag * count) as u64;
        if config.warmup_steps.max(1) <= waiting {
            return Err(TrainError::Learner(Error::Config(vec![format!(
                "warmup_steps: must be above {waiting}, the steps that wait to be folded in n-step windows, got {}",
                config.warmup_steps
            )])));
        }
        // As the exact limiter, with as many updates outstanding as are to be made in one call.
        let (ratio, warmup, at_once) = match inlet {
            Some(_) => (config.updates_per_step, config.warmup_steps, count as u64),
            None => (1.0, 0, 1),
        };
        let start = ratio * warmup as f64;
        let most = start + ratio * at_once as f64 + config.updates_per_call as f64;
        let limiter = RateLimiter::new(ratio, warmup, start, most, at_once)?;
        Ok(Self {
            stage: Stage::new(&learner, population, count),
            discount: vec![0.0; count],
            reward: vec![0.0; count],
            acting: seeds.derive("acting").streams(0, population)?,
            learner,
            inlet,
            config,
            environments,
            evaluation,
            action_space: None,
            limiter,
            seeds,
            env_steps: 0,
            updates: 0,
            returns: VecDeque::with_capacity(RETURN_WINDOW),
            started: false,
            last: None,
            evaluation_due: false,
            evaluated: Vec::new(),
            best: None,
            seconds: 0.0,
            positions: Vec::new(),
            stop: Arc::default(),
        })
    }

    /// Trains until a stop condition holds, telling `observers` what happens, and evaluates at the end. What was
    /// [loaded](Checkpoint::load_checkpoint) goes on where it was saved.
    ///
    /// # Errors
    /// If the learner, an environment or an observer fails.
    pub fn run(&mut self, observers: &mut [&mut dyn Observer]) -> Result<Summary, TrainError> {
        self.drive(observers, &mut |_, _| Ok(()))
    }

    /// As [`Trainer::run`], and saves the whole run in `checkpoints`: every
    /// [`TrainConfig::checkpoint_interval`] steps, whenever an evaluation is better than all before, and at the end.
    ///
    /// # Errors
    /// If the learner, an environment or an observer fails, or a checkpoint cannot be written.
    pub fn run_saving(
        &mut self,
        checkpoints: &mut Checkpoints,
        observers: &mut [&mut dyn Observer],
    ) -> Result<Summary, TrainError>
    where
        L: Checkpoint,
    {
        let mut saving = Duration::ZERO;
        let mut summary = self.drive(observers, &mut |trainer, evaluation| {
            let start = Instant::now();
            let saved = checkpoints.save(trainer.env_steps, evaluation, trainer.save_checkpoint()?);
            saving += start.elapsed();
            saved
        });
        if let Err(TrainError::NotFinite { not_finite, .. }) = &mut summary {
            not_finite.extend(checkpoints::not_finite(&self.save_checkpoint()?));
        }
        let summary = summary?;
        info!(
            seconds = saving.as_secs_f64(),
            waiting = checkpoints.waited().as_secs_f64(),
            run = summary.seconds,
            "what saving took of the time of training"
        );
        checkpoints.finish()?;
        Ok(summary)
    }

    /// Setting this flag, from a signal handler or another thread, stops the run after the step that it is in, with
    /// [`StopReason::Stopped`]: it is saved, but not evaluated.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    fn drive(
        &mut self,
        observers: &mut [&mut dyn Observer],
        save: Save<'_, L>,
    ) -> Result<Summary, TrainError> {
        let _span = info_span!("train", seed = self.seeds.of(0)).entered();
        let (start, before) = (Instant::now(), self.seconds);
        let seconds = || before + start.elapsed().as_secs_f64();
        if self.started {
            self.rewind(observers)?;
        } else {
            self.begin()?;
        }
        let mut save_due = false;
        let reason = loop {
            let mut evaluation = None;
            if self.evaluation_due
                && let Some(members) = self.evaluate()?
            {
                self.evaluation_due = false;
                let best = members.iter().map(|member| member.mean_return).reduce(f64::max);
                tell(
                    observers,
                    &Event::Evaluation {
                        env_steps: self.env_steps,
                        updates: self.updates,
                        seconds: seconds(),
                        members: Cow::Borrowed(&members),
                    },
                )?;
                if best > self.best {
                    self.best = best;
                    save_due = true;
                }
                self.evaluated = members;
                evaluation = best;
            }
            let reason = self.stop_reason(evaluation);
            if save_due || reason.is_some() {
                self.refuse_standstill()?;
                self.seconds = seconds();
                self.positions =
                    observers.iter_mut().map(|observer| observer.position()).collect::<Result<_, _>>()?;
                save(self, evaluation)?;
                self.positions.clear();
            }
            if let Some(reason) = reason {
                break reason;
            }

            let before = self.env_steps;
            self.play(observers)?;
            self.learn()?;
            tell(observers, &Event::Progress(self.progress()))?;
            let crossed = |interval: u64| interval > 0 && before / interval != self.env_steps / interval;
            self.evaluation_due = !self.evaluation.is_empty()
                && (self.steps_done() || self.updates_done() || crossed(self.config.evaluation_interval));
            save_due = crossed(self.config.checkpoint_interval);
            if crossed(self.config.log_interval)
                && let Some(last) = &mut self.last
            {
                let metrics = last.read()?.clone();
                let (env_steps, updates) = (self.env_steps, self.updates);
                tell(observers, &Event::Metrics { env_steps, updates, seconds: seconds(), metrics })?;
                self.refuse_standstill()?;
            }
        };
        let summary = Summary {
            env_steps: self.env_steps,
            updates: self.updates,
            seconds: seconds(),
            reason,
            evaluation: self.evaluated.clone(),
        };
        self.seconds = summary.seconds;
        tell(observers, &Event::Finished(Cow::Borrowed(&summary)))?;
        debug!(?summary, "run finished");
        Ok(summary)
    }

    /// Whether updates were made lately.
    fn refuse_standstill(&mut self) -> Result<(), TrainError> {
        let most = self.config.max_skipped_updates as f64;
        let Some(last) = &mut self.last else { return Ok(()) };
        let metrics = last.read()?;
        let skips = |(name, values): &(&String, &Vec<f64>)| {
            name.ends_with(SKIPPED_IN_A_ROW) && values.iter().all(|skipped| *skipped >= most)
        };
        let Some((layer, skipped)) = metrics.iter().find(skips) else { return Ok(()) };
        let infinite = |(name, values): (&String, &Vec<f64>)| {
            let bad = values.iter().find(|value| !value.is_finite());
            bad.map(|value| format!("{name} ({value})"))
        };
        Err(TrainError::NotFinite {
            step: self.env_steps,
            skipped: skipped.iter().copied().fold(f64::INFINITY, f64::min) as u64,
            layer: layer.clone(),
            not_finite: metrics.iter().filter_map(infinite).collect(),
        })
    }

    /// Whether the run is over, or is to stop, after what has been done at this step.
    fn stop_reason(&self, evaluation: Option<f64>) -> Option<StopReason> {
        if !self.evaluation_due {
            if let (Some(target), Some(value)) = (self.config.target_return, evaluation)
                && value >= target
            {
                return Some(StopReason::TargetReturn);
            }
            if self.updates_done() {
                return Some(StopReason::Updates);
            }
            if self.steps_done() {
                return Some(StopReason::Steps);
            }
        }
        self.stop.load(Ordering::Relaxed).then_some(StopReason::Stopped)
    }

    fn steps_done(&self) -> bool {
        self.env_steps >= self.config.steps
    }

    fn updates_done(&self) -> bool {
        self.config.max_updates.is_some_and(|most| self.updates >= most)
    }

    /// The first episodes.
    fn begin(&mut self) -> Result<(), TrainError> {
        if let Some(inlet) = &self.inlet {
            (inlet.begin)(&mut self.learner);
        }
        let seeds = self.seeds.derive("environments");
        for (member, vector) in self.environments.iter_mut().enumerate() {
            self.stage.observation_mut(member).copy_from_slice(vector.reset(seeds.of(member))?);
        }
        self.started = true;
        Ok(())
    }

    /// Takes the observers back to where they stood when the run was saved.
    fn rewind(&mut self, observers: &mut [&mut dyn Observer]) -> Result<(), TrainError> {
        let positions = std::mem::take(&mut self.positions);
        for (observer, position) in observers.iter_mut().zip(positions) {
            observer.rewind(position)?;
        }
        Ok(())
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One step in every environment, stored. Offline, a step is there for its update only.
    fn play(&mut self, observers: &mut [&mut dyn Observer]) -> Result<(), TrainError> {
        let Some(Inlet { insert, .. }) = self.inlet else {
            self.limiter.insert(1)?;
            self.env_steps += 1;
            return Ok(());
        };
        let count = self.stage.environments;
        if self.env_steps < self.config.warmup_steps {
            let size = count * self.learner.action_size();
            for (stream, actions) in self.acting.iter_mut().zip(self.stage.actions.chunks_exact_mut(size)) {
                stream.fill_uniform(-1.0, 1.0, actions);
            }
        } else {
            let options = self.learner.device().into();
            let noise = normal_noise(&mut self.acting, 1, count, self.learner.action_size(), &options);
            self.stage.act(&self.learner, Acting::Exploring(noise.squeeze_dim(0)))?;
        }
        self.limiter.insert(count as u64)?;
        self.env_steps += count as u64;
        for (member, vector) in self.environments.iter_mut().enumerate() {
            let gamma = self.config.gamma.of(member).unwrap_or(f64::NAN) as f32;
            let observation = self.stage.observation(member).to_vec();
            let action = self.stage.action(member).to_vec();
            let step = self.stage.step(member, vector.as_mut())?;
            for (discount, &terminated) in self.discount.iter_mut().zip(&step.terminated) {
                *discount = if terminated { 0.0 } else { gamma };
            }
            self.reward.copy_from_slice(&step.reward);
            insert(
                &mut self.learner,
                member,
                Rows {
                    observation: &observation,
                    action: &action,
                    reward: &self.reward,
                    discount: &self.discount,
                    truncated: &step.truncated,
                    next_observation: &step.next_observation,
                },
            )?;
            for episode in &step.episodes {
                if self.returns.len() == RETURN_WINDOW {
                    self.returns.pop_front();
                }
                self.returns.push_back(episode.episode_return);
                tell(
                    observers,
                    &Event::Episode {
                        env_steps: self.env_steps,
                        member,
                        episode_return: episode.episode_return,
                        length: episode.length,
                    },
                )?;
            }
        }
        Ok(())
    }

    /// All updates that are due, but for those that wait until a call of the learner is full.
    fn learn(&mut self) -> Result<(), TrainError> {
        let drawn = self.limiter.samples();
        let whole =
            (drawn + self.limiter.due()) / self.config.updates_per_call * self.config.updates_per_call;
        let left = self.config.max_updates.map_or(u64::MAX, |most| most.saturating_sub(self.updates));
        let count = whole.saturating_sub(drawn).min(left);
        for _ in 0..count {
            self.limiter.sample()?;
        }
        let outputs = match count {
            0 => return Ok(()),
            1 => vec![self.learner.step()?],
            _ => self.learner.step_many(usize::try_from(count).unwrap_or(usize::MAX))?,
        };
        self.updates += count;
        self.last = outputs.into_iter().next_back().map(LastUpdate::Output);
        Ok(())
    }

    /// `None` if it was stopped in the middle.
    fn evaluate(&mut self) -> Result<Option<Vec<EpisodeStatistics>>, TrainError> {
        let _span = info_span!("evaluate", env_steps = self.env_steps).entered();
        let seeds = self.seeds.derive("evaluation");
        evaluate_unless(&self.stop, &self.learner, &mut self.evaluation, &seeds)
    }

    /// Where the run stands.
    pub fn progress(&self) -> Progress {
        let mean = self.returns.iter().sum::<f64>() / self.returns.len() as f64;
        Progress {
            env_steps: self.env_steps,
            updates: self.updates,
            mean_return: (!self.returns.is_empty()).then_some(mean),
        }
    }
}

fn tell(observers: &mut [&mut dyn Observer], event: &Event<'_>) -> Result<(), TrainError> {
    observers.iter_mut().try_for_each(|observer| observer.observe(event))
}

/// Everything that a run needs to go on, bit for bit. An environment that cannot be saved begins a new episode when the
/// run goes on: the one that it was in is lost, and no other.
impl<L: Learner + Policy + Checkpoint> Checkpoint for Trainer<L> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("learner", |visitor| self.learner.checkpoint(visitor));
        visitor.scope("trainer", |visitor| self.visit_own(visitor));
        if !self.started {
            return;
        }
        // Other seeds than at the start of the run, or the same episodes would be played again.
        let seeds = self.seeds.derive("environments anew");
        for (member, vector) in self.environments.iter_mut().enumerate() {
            let name = format!("environments/member-{member}");
            let seed = seeds.of(member).wrapping_add(self.env_steps);
            let restored =
                visitor.scope(&name, |visitor| environments::checkpoint(vector.as_mut(), seed, visitor));
            match restored {
                Ok(Some(observation)) => self.stage.observation_mut(member).copy_from_slice(observation),
                Ok(None) => {}
                Err(error) => visitor.fail(Error::Record(format!("{name}: {error}"))),
            }
        }
    }
}

impl<L: Policy> Trainer<L> {
    /// What the policy observes and what its actions mean: it can be acted with where the environment is not, and a run
    /// goes on in its own environment only.
    fn visit_spaces(&self, visitor: &mut Visitor<'_>) {
        let played = self.environments.first().or(self.evaluation.first());
        let played = played.map(VectorEnvironment::action_space);
        let Some(actions) = played.or(self.action_space.as_ref()) else { return };
        let own = self.learner.observation_size() as u64;
        let (mut size, mut low, mut high) = (own, actions.low().to_vec(), actions.high().to_vec());
        visitor.counter("observation_size", &mut size);
        visitor.values("action_low", &mut low);
        visitor.values("action_high", &mut high);
        if visitor.is_loading() && (size != own || low != actions.low() || high != actions.high()) {
            visitor.fail(Error::Record(format!(
                "the run has {size} observation elements and actions from {low:?} to {high:?}, here they are {own} and \
                 {:?} to {:?}",
                actions.low(),
                actions.high()
            )));
        }
    }

    /// What the loop itself keeps.
    fn visit_own(&mut self, visitor: &mut Visitor<'_>) {
        self.visit_spaces(visitor);
        visitor.scope("limiter", |visitor| self.limiter.checkpoint(visitor));
        visitor.streams("acting", &mut self.acting);
        visitor.counter("env_steps", &mut self.env_steps);
        visitor.counter("updates", &mut self.updates);
        for (name, flag) in [("started", &mut self.started), ("evaluation_due", &mut self.evaluation_due)] {
            let mut count = u64::from(*flag);
            visitor.counter(name, &mut count);
            *flag = count > 0;
        }
        let mut returns = Vec::from(std::mem::take(&mut self.returns));
        visitor.values("returns", &mut returns);
        returns.drain(..returns.len().saturating_sub(RETURN_WINDOW));
        self.returns = returns.into();
        let mut best: Vec<f64> = self.best.into_iter().collect();
        visitor.values("best", &mut best);
        self.best = best.first().copied();
        let mut seconds = vec![self.seconds];
        visitor.values("seconds", &mut seconds);
        self.seconds = seconds.first().copied().unwrap_or_default();
        visitor.values("positions", &mut self.positions);

        let mut evaluated: Vec<f64> =
            self.evaluated.iter().copied().flat_map(EpisodeStatistics::to_numbers).collect();
        visitor.values("evaluated", &mut evaluated);
        self.evaluated =
            evaluated.as_chunks().0.iter().copied().map(EpisodeStatistics::from_numbers).collect();

        let mut metrics = match self.last.as_mut().map(LastUpdate::read).transpose() {
            Ok(metrics) => metrics.cloned().unwrap_or_default(),
            Err(error) => return visitor.fail(error),
        };
        let mut names = metrics.keys().cloned().collect::<Vec<_>>().join("\n").into_bytes();
        let mut numbers: Vec<f64> = metrics.values().flatten().copied().collect();
        visitor.values("last_metrics/names", &mut names);
        visitor.values("last_metrics/numbers", &mut numbers);
        if visitor.is_loading() {
            let names = String::from_utf8_lossy(&names);
            let members = numbers.chunks_exact(self.acting.len().max(1)).map(<[f64]>::to_vec);
            metrics = names.lines().map(str::to_owned).zip(members).collect();
            self.last = (!metrics.is_empty()).then_some(LastUpdate::Read(metrics));
        }
    }
}
