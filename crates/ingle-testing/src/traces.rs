//! Replays reference traces: runs of an update rule in an implementation that shares no code with this one.
//!
//! A trace is a safetensors file in float64. Its metadata has one entry, `meta`, a JSON object with the learner, the
//! sizes and the hyperparameters; its tensors are `init/…` (parameters before the first step), `step/{t}/…` (sample
//! and noise) and `expect/{t}/…` (parameters after step t; losses and TD errors below `output/`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use ingle::bc::{BcConfig, BcLoss, BcState};
use ingle::nested::ImitationSample;
use ingle::nested::ail::{Ail, AilConfig, AilLoss, AilNoise, AilReward, AilState};
use ingle::nested::rnd::{Rnd, RndConfig, RndState};
use ingle::network::{Layout, Network};
use ingle::processor::ExplicitProcessNoise;
use ingle::sac::{SacConfig, SacNoise, SacState, Temperature};
use ingle::td3::{Td3Config, Td3Noise, Td3State};
use ingle::{ExplicitNoise, Metrics, SampleProcessor, Transitions};
use safetensors::SafeTensors;
use serde::Deserialize;

use crate::numbers;

/// What a trace says of itself: the keys that its learner has a use for. What is missing is 0, and shows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Meta {
    learner: String,
    steps: usize,
    observation: usize,
    action: usize,
    hidden: Vec<usize>,
    critics: usize,
    lr: f64,
    tau: f64,
    alpha: f64,
    learn_alpha: bool,
    target_entropy: f64,
    target_update_interval: Option<u64>,
    max_gradient_norm: Option<f64>,
    policy_delay: u64,
    target_noise: f64,
    noise_clip: f64,
    bc_alpha: Option<f64>,
    bc_loss: String,
    rnd_hidden: Vec<usize>,
    features: usize,
    rnd_lr: f64,
    intrinsic: f64,
    extrinsic: f64,
    normalise_intrinsic: bool,
    disc_hidden: Vec<usize>,
    disc_lr: f64,
    use_next_observation: bool,
    loss: String,
    entropy_coefficient: f64,
    gradient_penalty: f64,
    prior: f64,
    pu_beta: f64,
    reward: String,
}

/// Where a replay computes, and in which precision.
type Place<'a> = (&'a Device, DType);

/// A trace in memory.
#[derive(Debug)]
pub struct Trace {
    /// The file's name without its ending.
    pub name: String,
    meta: Meta,
    tensors: BTreeMap<String, Reference>,
}

#[derive(Debug)]
struct Reference {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// A network of a learner: its name in the trace, its layout, how many critics it has, and where it is in the state.
struct Part<'a, S> {
    name: &'static str,
    layout: &'a Layout,
    critics: Option<usize>,
    of: fn(&mut S) -> &mut Tensor<2>,
}

impl<S> Part<'_, S> {
    fn path(&self, prefix: &str) -> String {
        if self.name.is_empty() { prefix.to_owned() } else { format!("{prefix}/{}", self.name) }
    }
}

/// How a replay went.
#[derive(Debug)]
pub enum Outcome {
    /// All numbers were compared.
    Run {
        /// The deviation that comes nearest to its tolerance, or passes it.
        worst: Deviation,
        /// How many numbers were compared.
        compared: usize,
    },
    /// The trace's learner is not built.
    NotRun {
        /// The learner.
        learner: String,
    },
}

/// A deviation from the reference, over what is allowed.
#[derive(Debug, Clone)]
pub struct Deviation {
    /// The tensor.
    pub name: String,
    /// |ours − reference|.
    pub difference: f64,
    /// The difference over the one that is allowed; above 1 the replay has failed.
    pub over_allowed: f64,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e} ({:.1e} of what is allowed) in {}", self.difference, self.over_allowed, self.name)
    }
}

/// The traces to replay: those in the directory `INGLE_TRACES`, or the repository's own.
///
/// # Panics
/// If the directory has none.
pub fn directory() -> PathBuf {
    std::env::var_os("INGLE_TRACES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("traces"), PathBuf::from)
}

/// Reads all traces of a directory.
///
/// # Panics
/// If there is none, or one cannot be read: a check that checks nothing must not pass.
pub fn read_all(directory: &Path) -> Vec<Trace> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no traces", directory.display());
    paths.iter().map(|path| Trace::read(path)).collect()
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Panics
    /// If it is none.
    pub fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let meta = header.metadata().as_ref().and_then(|metadata| metadata.get("meta")).expect("`meta`");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.iter().map(|(name, view)| {
            assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
            let values = view
                .data()
                .chunks_exact(8)
                .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("8 bytes")));
            (name.to_owned(), Reference { shape: view.shape().to_vec(), values: values.collect() })
        });
        Self { name, meta: serde_json::from_str(meta).expect("the metadata"), tensors: tensors.collect() }
    }

    /// Replays the trace and compares every number.
    ///
    /// # Panics
    /// If an item of the trace is missing or has another shape than it should.
    pub fn replay(&self, precision: DType, device: &Device) -> Outcome {
        let place = (device, precision);
        let mut names: Vec<&str> = self.meta.learner.split('+').collect();
        let direct = names.pop();
        let layers: Option<Vec<Layer>> = names.into_iter().map(|name| self.layer(name, place)).collect();
        match (layers, direct) {
            (Some(layers), Some("sac")) => self.replay_sac(layers, place),
            (Some(layers), Some("td3")) => self.replay_td3(layers, place),
            (Some(layers), Some("bc")) => self.replay_bc(layers, place),
            _ => Outcome::NotRun { learner: self.meta.learner.clone() },
        }
    }

    fn replay_sac(&self, layers: Vec<Layer>, place: Place<'_>) -> Outcome {
        let meta = &self.meta;
        let temperature = if meta.learn_alpha { Temperature::Learned } else { Temperature::Fixed };
        let sac = SacConfig {
            hidden: meta.hidden.clone(),
            critics: meta.critics,
            actor_learning_rate: meta.lr.into(),
            critic_learning_rate: meta.lr.into(),
            temperature_learning_rate: meta.lr.into(),
            temperature: temperature(meta.alpha.into()),
            target_entropy: Some(meta.target_entropy.into()),
            tau: meta.tau.into(),
            target_update_interval: meta.target_update_interval.unwrap_or(1),
            max_gradient_norm: meta.max_gradient_norm,
            ..SacConfig::default()
        }
        .init(meta.observation, meta.action)
        .expect("the trace's settings")
        .with_precision(place.1);
        let (actor, critic) = (sac.actor().layout(), sac.critic().layout());
        let log_alpha = {
            let mut layout = Layout::default();
            layout.push("log_alpha", [1]);
            layout
        };
        let parts: Vec<Part<'_, SacState>> = vec![
            Part { name: "actor", layout: actor, critics: None, of: |state| &mut state.actor.parameters },
            Part {
                name: "critic",
                layout: critic,
                critics: Some(meta.critics),
                of: |state| &mut state.critic.parameters,
            },
            Part {
                name: "target_critic",
                layout: critic,
                critics: Some(meta.critics),
                of: |state| &mut state.target_critic,
            },
            Part { name: "", layout: &log_alpha, critics: None, of: |state| &mut state.log_alpha.parameters },
        ];
        // A temperature that is not learned has no loss; the reference writes 0.
        let absent = if meta.learn_alpha { None } else { Some("temperature_loss") };
        self.run(layers, &sac, &parts, absent, place, |step| SacNoise {
            next: self.rows(&format!("step/{step}/noise_next"), place),
            current: self.rows(&format!("step/{step}/noise"), place),
        })
    }

    fn replay_td3(&self, layers: Vec<Layer>, place: Place<'_>) -> Outcome {
        let meta = &self.meta;
        let td3 = Td3Config {
            hidden: meta.hidden.clone(),
            critics: meta.critics,
            actor_learning_rate: meta.lr.into(),
            critic_learning_rate: meta.lr.into(),
            tau: meta.tau.into(),
            policy_delay: meta.policy_delay,
            target_noise: meta.target_noise.into(),
            noise_clip: meta.noise_clip.into(),
            behaviour_cloning: meta.bc_alpha.map(Into::into),
            max_gradient_norm: meta.max_gradient_norm,
            ..Td3Config::default()
        }
        .init(meta.observation, meta.action)
        .expect("the trace's settings")
        .with_precision(place.1);
        let (actor, critic) = (td3.actor().layout(), td3.critic().layout());
        let parts: Vec<Part<'_, Td3State>> = vec![
            Part { name: "actor", layout: actor, critics: None, of: |state| &mut state.actor.parameters },
            Part {
                name: "critic",
                layout: critic,
                critics: Some(meta.critics),
                of: |state| &mut state.critic.parameters,
            },
            Part { name: "target_actor", layout: actor, critics: None, of: |state| &mut state.target_actor },
            Part {
                name: "target_critic",
                layout: critic,
                critics: Some(meta.critics),
                of: |state| &mut state.target_critic,
            },
        ];
        // An update that leaves the actor alone has no loss of it; the reference writes 0.
        self.run(layers, &td3, &parts, Some("actor_loss"), place, |step| Td3Noise {
            next: self.rows(&format!("step/{step}/noise_next"), place),
        })
    }

    fn replay_bc(&self, layers: Vec<Layer>, place: Place<'_>) -> Outcome {
        let meta = &self.meta;
        let loss = match meta.bc_loss.as_str() {
            "mean_squared_error" => BcLoss::MeanSquaredError,
            "log_likelihood" => BcLoss::LogLikelihood,
            other => panic!("{}: loss {other}", self.name),
        };
        let bc = BcConfig {
            hidden: meta.hidden.clone(),
            loss,
            learning_rate: meta.lr.into(),
            max_gradient_norm: meta.max_gradient_norm,
            ..BcConfig::default()
        }
        .init(meta.observation, meta.action)
        .expect("the trace's settings")
        .with_precision(place.1);
        let parts: Vec<Part<'_, BcState>> = vec![Part {
            name: "actor",
            layout: bc.actor().layout(),
            critics: None,
            of: |state| &mut state.actor.parameters,
        }];
        self.run(layers, &bc, &parts, None, place, |_| ())
    }

    /// The processor of that name with the trace's initial parameters; none if there is none.
    fn layer(&self, name: &str, place: Place<'_>) -> Option<Layer> {
        let meta = &self.meta;
        let put = |name: &str, layout: &Layout| {
            let values = self.parameters(&format!("init/{name}"), layout, None);
            let shape = [1, values.len()];
            Tensor::from_data(TensorData::new(values, shape), place)
        };
        match name {
            "rnd" => {
                let rnd = RndConfig {
                    hidden: meta.rnd_hidden.clone(),
                    features: meta.features,
                    learning_rate: meta.rnd_lr.into(),
                    intrinsic: meta.intrinsic.into(),
                    extrinsic: meta.extrinsic.into(),
                    normalise_intrinsic: meta.normalise_intrinsic,
                    ..RndConfig::default()
                }
                .init(meta.observation)
                .expect("the trace's settings")
                .with_precision(place.1);
                let mut state = rnd.init(0, place.0).expect("a state");
                state.target = put("rnd_target", rnd.network().layout());
                state.predictor.parameters = put("rnd_predictor", rnd.network().layout());
                Some(Layer::Rnd(rnd, state))
            }
            "ail" => {
                let loss = match meta.loss.as_str() {
                    "gail" => AilLoss::Gail { entropy_coefficient: meta.entropy_coefficient },
                    "pugail" => AilLoss::Pugail { prior: meta.prior, beta: meta.pu_beta },
                    other => panic!("{}: loss {other}", self.name),
                };
                let reward = match meta.reward.as_str() {
                    "gail" => AilReward::Gail,
                    "airl" => AilReward::Airl,
                    "fairl" => AilReward::Fairl,
                    "log_d" => AilReward::LogD,
                    other => panic!("{}: reward {other}", self.name),
                };
                let ail = AilConfig {
                    hidden: meta.disc_hidden.clone(),
                    learning_rate: meta.disc_lr.into(),
                    use_next_observation: meta.use_next_observation,
                    loss,
                    gradient_penalty: meta.gradient_penalty,
                    reward,
                    ..AilConfig::default()
                }
                .init(meta.observation, meta.action)
                .expect("the trace's settings")
                .with_precision(place.1);
                let mut state = ail.init(0, place.0).expect("a state");
                state.discriminator.parameters = put("discriminator", ail.network().layout());
                Some(Layer::Ail(ail, state))
            }
            _ => None,
        }
    }

    /// Puts the initial parameters in, steps, and compares. An output named `absent` counts as 0 where we have none.
    fn run<C: ExplicitNoise<Sample = Transitions>>(
        &self,
        mut layers: Vec<Layer>,
        core: &C,
        parts: &[Part<'_, C::State>],
        absent: Option<&'static str>,
        place: Place<'_>,
        noise: impl Fn(usize) -> C::Noise,
    ) -> Outcome {
        let mut state = core.init(0, place.0).expect("a state");
        for part in parts {
            let values = self.parameters(&part.path("init"), part.layout, part.critics);
            let shape = [1, values.len()];
            *(part.of)(&mut state) = Tensor::from_data(TensorData::new(values, shape), place);
        }
        let mut comparison = Comparison::new(place.1);
        for step in 0..self.meta.steps {
            let mut sample = self.sample(step, place);
            let mut metrics = Metrics::default();
            let mut processed_reward = None;
            for layer in &mut layers {
                let (processed, own) = layer.process(self, step, sample, place);
                metrics.extend(own);
                sample = processed;
                // The reference notes what the outermost processor made.
                processed_reward.get_or_insert_with(|| numbers(sample.reward.to_data()));
            }
            let output = core.step_with_noise(&mut state, sample, noise(step)).expect("a step");
            metrics.extend(output.metrics);
            for layer in &layers {
                layer.compare(self, step, &mut comparison);
            }
            for part in parts {
                let path = part.path(&format!("expect/{step}"));
                let ours = numbers((part.of)(&mut state).to_data());
                comparison.add(&path, step, &ours, &self.parameters(&path, part.layout, part.critics));
            }
            let mut ours: BTreeMap<&str, Vec<f64>> =
                absent.map(|name| (name, vec![0.0])).into_iter().collect();
            ours.extend(metrics.read().expect("metrics"));
            ours.extend(processed_reward.map(|reward| ("processed_reward", reward)));
            let td_error = output.feedback.map(|feedback| numbers(feedback.td_error.to_data()));
            ours.extend(td_error.map(|error| ("td_error", error)));
            self.compare_outputs(step, &ours, &mut comparison);
        }
        comparison.finish()
    }

    fn sample(&self, step: usize, place: Place<'_>) -> Transitions {
        let field = |name: &str| format!("step/{step}/{name}");
        let weight = field("importance_weight");
        Transitions {
            observation: self.rows(&field("observation"), place),
            action: self.rows(&field("action"), place),
            reward: self.column(&field("reward"), place),
            discount: self.column(&field("discount"), place),
            next_observation: self.rows(&field("next_observation"), place),
            importance_weight: self.tensors.contains_key(&weight).then(|| self.column(&weight, place)),
            keys: None,
        }
    }

    /// Compares every output that the trace has; one that we do not have is an error.
    fn compare_outputs(&self, step: usize, ours: &BTreeMap<&str, Vec<f64>>, comparison: &mut Comparison) {
        let prefix = format!("expect/{step}/output/");
        for (name, reference) in
            self.tensors.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix))
        {
            let ours = ours.get(&name[prefix.len()..]).unwrap_or_else(|| panic!("{}: no {name}", self.name));
            comparison.add(name, step, ours, &reference.values);
        }
    }

    fn tensor(&self, name: &str) -> &Reference {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: {name} is missing", self.name))
    }

    /// A network's parameters in the order of its layout, whose tensors are `{layer}/{weight | bias}` with the
    /// ensemble's axis first.
    fn parameters(&self, prefix: &str, layout: &Layout, ensemble: Option<usize>) -> Vec<f64> {
        let mut values = Vec::with_capacity(layout.size());
        for (name, shape, _) in layout.iter() {
            for critic in 0..ensemble.unwrap_or(1) {
                let name = match ensemble {
                    Some(_) => format!("{prefix}/{critic}/{name}"),
                    None => format!("{prefix}/{name}"),
                };
                let tensor = self.tensor(&name);
                assert_eq!(
                    tensor.values.len() * shape[0],
                    shape.iter().product::<usize>(),
                    "{}: {name}",
                    self.name
                );
                values.extend_from_slice(&tensor.values);
            }
        }
        values
    }

    fn rows(&self, name: &str, place: Place<'_>) -> Tensor<3> {
        let Reference { shape, values } = self.tensor(name);
        Tensor::from_data(TensorData::new(values.clone(), [1, shape[0], shape[1]]), place)
    }

    fn column(&self, name: &str, place: Place<'_>) -> Tensor<2> {
        let Reference { shape, values } = self.tensor(name);
        Tensor::from_data(TensorData::new(values.clone(), [1, shape[0]]), place)
    }
}

/// A processor with its state. `Nested` runs them in this order too, which the laws check; a trace may have any depth,
/// and a type has one.
enum Layer {
    Rnd(Rnd<Transitions>, RndState),
    Ail(Ail<Transitions>, AilState),
}

impl Layer {
    fn process(
        &mut self,
        trace: &Trace,
        step: usize,
        sample: Transitions,
        place: Place<'_>,
    ) -> (Transitions, Metrics) {
        match self {
            Self::Rnd(rnd, state) => rnd.process_with_noise(state, sample, ()).expect("a processed sample"),
            Self::Ail(ail, state) => {
                let field = |name: &str| format!("step/{step}/demo_{name}");
                let demonstrations = Transitions {
                    observation: trace.rows(&field("observation"), place),
                    action: trace.rows(&field("action"), place),
                    reward: trace.column(&field("reward"), place),
                    discount: trace.column(&field("discount"), place),
                    next_observation: trace.rows(&field("next_observation"), place),
                    importance_weight: None,
                    keys: None,
                };
                let interpolation = format!("step/{step}/interpolation");
                let noise = AilNoise {
                    interpolation: trace
                        .tensors
                        .contains_key(&interpolation)
                        .then(|| trace.rows(&interpolation, place)),
                };
                ail.process_with_noise(state, ImitationSample { rl: sample, demonstrations }, noise)
                    .expect("a processed sample")
            }
        }
    }

    fn compare(&self, trace: &Trace, step: usize, comparison: &mut Comparison) {
        let mut networks = |name: &str, parameters: &Tensor<2>, layout: &Layout| {
            let path = format!("expect/{step}/{name}");
            let ours = numbers(parameters.to_data());
            comparison.add(&path, step, &ours, &trace.parameters(&path, layout, None));
        };
        match self {
            Self::Rnd(rnd, state) => {
                networks("rnd_target", &state.target, rnd.network().layout());
                networks("rnd_predictor", &state.predictor.parameters, rnd.network().layout());
                for (name, moments) in [("observation", &state.observation), ("reward", &state.reward)] {
                    let squares = moments.variance.clone() * moments.count.clone();
                    for (item, ours) in [("mean", &moments.mean), ("m2", &squares)] {
                        let path = format!("expect/{step}/{name}_{item}");
                        comparison.add(&path, step, &numbers(ours.to_data()), &trace.tensor(&path).values);
                    }
                }
            }
            Self::Ail(ail, state) => {
                networks("discriminator", &state.discriminator.parameters, ail.network().layout());
            }
        }
    }
}

/// Keeps the worst deviation.
struct Comparison {
    precision: DType,
    worst: Deviation,
    compared: usize,
}

impl Comparison {
    fn new(precision: DType) -> Self {
        let worst = Deviation { name: "nothing".into(), difference: 0.0, over_allowed: 0.0 };
        Self { precision, worst, compared: 0 }
    }

    /// Float64: relative 1e-8; float32: `1e-5 · (1 + t)`, absolute plus relative.
    fn add(&mut self, name: &str, step: usize, ours: &[f64], reference: &[f64]) {
        assert_eq!(ours.len(), reference.len(), "{name}");
        for (&ours, &reference) in ours.iter().zip(reference) {
            let difference = (ours - reference).abs();
            let allowed = match self.precision {
                // Where the reference is all but 0, nothing is relative to it.
                DType::F64 => 1e-8 * reference.abs().max(1e-4),
                _ => 1e-5 * (1.0 + step as f64) * (1.0 + reference.abs()),
            };
            let over_allowed = if difference.is_finite() { difference / allowed } else { f64::INFINITY };
            self.compared += 1;
            if over_allowed > self.worst.over_allowed {
                self.worst = Deviation { name: name.to_owned(), difference, over_allowed };
            }
        }
    }

    fn finish(self) -> Outcome {
        Outcome::Run { worst: self.worst, compared: self.compared }
    }
}
