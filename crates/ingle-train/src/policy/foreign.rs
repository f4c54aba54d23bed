//! Learners that other libraries saved: their networks, put into our states.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use ingle_core::{Error, Record, RecordItem};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::archive::{Archive, SIZE_LIMIT};
use super::export::{DESCRIPTION, DEVIATION, Description, MEAN};
use super::pickle::shown;
use super::torch::{self, Array, StateDictionary};
use super::{Normalisation, PolicyKind, PolicyParameters, parameter_count};
use crate::TrainError;
use crate::files::{plain_file_length, read_exactly};

/// The largest header of a safetensors file that is read.
const HEADER_LIMIT: u64 = 8 << 20;

/// SAC or TD3 as another library saved it.
///
/// Read are Stable-Baselines3's `.zip` files, files of `torch.save` with a state dictionary (the actor's, or one with
/// `actor.` and `critic.` names) or a tuple of them (actor first, then critics, as CleanRL has it), and safetensors
/// files with the same names. Pickles are read without running anything that they name.
///
/// Networks are chains of `nn.Linear` with `ReLU` between them; widths follow from the shapes.
#[derive(Debug, Clone)]
pub struct Foreign {
    path: PathBuf,
    actor: Networks,
    target_actor: Option<Networks>,
    critic: Option<Networks>,
    target_critic: Option<Networks>,
    log_alpha: Option<f32>,
    /// Whether the actor has log standard deviations.
    gaussian: bool,
    /// The bounds of actions that CleanRL keeps with its actor; its critics read actions in the environment's units.
    scaling: Option<Scaling>,
    settings: Vec<(String, String)>,
    notes: Vec<String>,
    description: Option<Description>,
    normalisation: Option<Normalisation>,
}

/// One network, or several of one shape.
#[derive(Debug, Clone, PartialEq)]
struct Networks {
    /// Widths of input, hidden layers and output.
    sizes: Vec<usize>,
    /// How many.
    count: usize,
    /// As [`ingle_core::network::Mlp`] has them: for each layer the weights `[K, in, out]`, then the biases `[K, out]`.
    parameters: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
struct Scaling {
    scale: Vec<f32>,
    bias: Vec<f32>,
}

/// CleanRL's log σ: `−5 + ½ (2 − −5) (tanh(x) + 1) = −1.5 + 3.5 tanh(x)`.
const CLEANRL_LOG_STD: (f32, f32) = (-1.5, 3.5);

impl Foreign {
    /// Reads a file, whatever its kind.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, of another kind, or holds networks that ours cannot be.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let length = plain_file_length(path)?;
        let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
        if length > SIZE_LIMIT {
            return Err(format(format!("has {length} bytes, at most {SIZE_LIMIT} are read")));
        }
        let bytes = read_exactly(path, length)?;
        Contents::read(&bytes).and_then(|contents| contents.assemble(path)).map_err(format)
    }

    /// The direct core that it is: `sac` if the actor has standard deviations, `td3` if not.
    pub fn learner(&self) -> &'static str {
        if self.gaussian { "sac" } else { "td3" }
    }

    /// Number of elements of an observation.
    pub fn observation_size(&self) -> usize {
        self.actor.sizes.first().copied().unwrap_or_default()
    }

    /// Number of elements of an action.
    pub fn action_size(&self) -> usize {
        let outputs = self.actor.sizes.last().copied().unwrap_or_default();
        if self.gaussian { outputs / 2 } else { outputs }
    }

    /// The settings of a run that are known of it, as dotted keys with TOML values: widths, critics, and what
    /// Stable-Baselines3 writes down.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Its policy, with actions from `action_low` to `action_high`; one that is deterministic explores by no noise.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not as many bounds as the policy has action elements, or they are out of order.
    pub fn policy(&self, action_low: Vec<f32>, action_high: Vec<f32>) -> Result<PolicyParameters, Error> {
        let deterministic = PolicyKind::Deterministic { exploration_noise: 0.0 };
        let described = self.description.as_ref().map(|description| description.kind);
        let policy = PolicyParameters {
            environment: self.description.as_ref().and_then(|description| description.environment.clone()),
            action_low,
            action_high,
            normalisation: self.normalisation.clone(),
            sizes: self.actor.sizes.clone(),
            parameters: self.actor.parameters.clone(),
            kind: described.unwrap_or(if self.gaussian { PolicyKind::Gaussian } else { deterministic }),
        };
        policy.validate()?;
        Ok(policy)
    }

    /// The bounds of its actions, where the file has them: CleanRL's buffers, or the description of an export.
    pub fn action_bounds(&self) -> Option<(Vec<f32>, Vec<f32>)> {
        if let Some(description) = &self.description {
            return Some((description.action_low.clone(), description.action_high.clone()));
        }
        let Scaling { scale, bias } = self.scaling.as_ref()?;
        let pairs = || scale.iter().zip(bias);
        let low = pairs().map(|(scale, bias)| bias - scale).collect();
        Some((low, pairs().map(|(scale, bias)| bias + scale).collect()))
    }

    /// Puts the networks into the saved state of a fresh `sac` or `td3` of the same widths, into every member of it,
    /// and says what was taken over, what is fresh, and what cannot be the same.
    ///
    /// # Errors
    /// If the state is of another learner or of other sizes.
    pub fn put_into(&self, state: &mut Record) -> Result<Vec<String>, TrainError> {
        let mut notes = self.notes.clone();
        self.put(state, "actor/parameters", &self.actor)?;
        if !self.gaussian {
            self.put(state, "target_actor/parameters", self.target_actor.as_ref().unwrap_or(&self.actor))?;
        }
        let mut taken = vec!["actor"];
        if let Some(critic) = &self.critic {
            self.put(state, "critic/parameters", critic)?;
            self.put(state, "target_critic/parameters", self.target_critic.as_ref().unwrap_or(critic))?;
            taken.push("critics");
        } else {
            notes.push("the file has no critics: they are fresh".into());
        }
        if self.target_actor.is_some() || self.target_critic.is_some() {
            taken.push("targets");
        } else {
            notes.push("the file has no target networks: they begin as copies".into());
        }
        if let Some(log_alpha) = self.log_alpha {
            self.fill(state, "log_alpha/parameters", &[log_alpha])?;
            taken.push("log α");
        } else if self.gaussian {
            notes.push("the file has no temperature: it begins as the configuration says".into());
        }
        notes.insert(0, format!("taken over: {}", taken.join(", ")));
        notes.push("the optimisers' moments are fresh, and the replay is empty".into());
        Ok(notes)
    }

    fn put(&self, state: &mut Record, name: &str, networks: &Networks) -> Result<(), TrainError> {
        self.fill(state, name, &networks.parameters)
    }

    /// Fills every member's row with the same values.
    fn fill(&self, state: &mut Record, name: &str, values: &[f32]) -> Result<(), TrainError> {
        let reason = match state.0.get_mut(name) {
            Some(RecordItem::Tensor(data)) => match data.shape()[..] {
                [members, width] if width == values.len() => {
                    let rows = values.repeat(members);
                    *data = TensorData::new(rows, [members, width]);
                    return Ok(());
                }
                _ => format!(
                    "{name} has {} elements, the learner's has shape {:?}",
                    values.len(),
                    data.shape()
                ),
            },
            _ => format!("is a {}: the learner has no {name}", self.learner()),
        };
        Err(TrainError::Format { path: self.path.clone(), reason })
    }
}

/// What a file holds, whatever its kind.
#[derive(Default)]
struct Contents {
    parts: Vec<StateDictionary>,
    log_alpha: Option<f32>,
    settings: Vec<(String, String)>,
    notes: Vec<String>,
    description: Option<Description>,
}

impl Contents {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(b"PK") {
            let archive =
                Archive::open(bytes).map_err(|error| format!("is a damaged zip archive: {error}"))?;
            return match archive.read("policy.pth")? {
                Some(policy) => Self::stable_baselines(&archive, &policy),
                None => Ok(Self { parts: torch::read(bytes)?, ..Self::default() }),
            };
        }
        if bytes.starts_with(&[0x80, 0x02]) {
            return Err(
                "is of torch.save's format before 1.6, or a bare pickle: load it and save it again".into()
            );
        }
        if bytes.get(8) == Some(&b'{') {
            return Self::safetensors(bytes);
        }
        Err("is neither a zip of Stable-Baselines3, nor a file of torch.save, nor safetensors".into())
    }

    fn safetensors(bytes: &[u8]) -> Result<Self, String> {
        let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if length > HEADER_LIMIT {
            return Err(format!("its header has {length} bytes, at most {HEADER_LIMIT} are read"));
        }
        let unreadable =
            |error: safetensors::SafeTensorError| format!("is no readable safetensors file: {error}");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let description = header.metadata().as_ref().and_then(|metadata| metadata.get(DESCRIPTION));
        let description = description.map(|text| Description::parse(text)).transpose()?;
        let mut tensors = StateDictionary::new();
        for (name, view) in file.iter() {
            let values = match view.dtype() {
                Dtype::F32 => {
                    view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
                }
                Dtype::F64 => {
                    view.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()
                }
                other => {
                    let name = shown(name);
                    return Err(format!("{name}: elements of type {other:?}, float32 and float64 are read"));
                }
            };
            tensors.push((name.to_owned(), Array { shape: view.shape().to_vec(), values }));
        }
        Ok(Self { parts: vec![tensors], description, ..Self::default() })
    }

    /// A `.zip` of Stable-Baselines3. Of its `data` only plain JSON is looked at; the pickles in it are not.
    fn stable_baselines(archive: &Archive<'_>, policy: &[u8]) -> Result<Self, String> {
        let parts = torch::read(policy).map_err(|reason| format!("policy.pth: {reason}"))?;
        let mut contents = Self { parts, ..Self::default() };
        let entry = |name: &str| archive.read(name);
        let mut fixed = None;
        if let Some(variables) = entry("pytorch_variables.pth")? {
            let parts =
                torch::read(&variables).map_err(|reason| format!("pytorch_variables.pth: {reason}"))?;
            for (name, array) in parts.into_iter().flatten() {
                match (name.as_str(), array.values.as_slice()) {
                    ("log_ent_coef", [value]) => contents.log_alpha = Some(*value),
                    ("ent_coef_tensor", [value]) => fixed = Some(*value),
                    _ => {}
                }
            }
        }
        let data = entry("data")?.unwrap_or_default();
        let data: Value =
            serde_json::from_slice(&data).map_err(|error| format!("data: not readable: {error}"))?;
        contents.stable_baselines_settings(&data, fixed)?;
        Ok(contents)
    }

    fn stable_baselines_settings(&mut self, data: &Value, fixed: Option<f32>) -> Result<(), String> {
        if data["use_sde"].as_bool() == Some(true) {
            return Err("explores with gSDE (use_sde), which is not known here".into());
        }
        let activation = data["policy_kwargs"]["activation_fn"].as_str().unwrap_or("ReLU");
        if !activation.contains("ReLU'>") && activation != "ReLU" {
            return Err(format!("its networks have the activation {}: only ReLU is read", shown(activation)));
        }
        let gaussian = self.parts.iter().flatten().any(|(name, _)| name == "actor.log_std.weight");
        let core = if gaussian { "sac" } else { "td3" };
        let rates: &[&str] = if gaussian {
            &["actor_learning_rate", "critic_learning_rate", "temperature_learning_rate"]
        } else {
            &["actor_learning_rate", "critic_learning_rate"]
        };
        let mut numbers: Vec<(String, &str)> = vec![
            ("train.gamma".into(), "gamma"),
            (format!("{core}.tau"), "tau"),
            ("replay.batch".into(), "batch_size"),
            ("replay.capacity".into(), "buffer_size"),
        ];
        numbers.extend(rates.iter().map(|rate| (format!("{core}.{rate}"), "learning_rate")));
        let own: &[(&str, &str)] = if gaussian {
            &[("target_entropy", "target_entropy"), ("target_update_interval", "target_update_interval")]
        } else {
            &[
                ("policy_delay", "policy_delay"),
                ("target_noise", "target_policy_noise"),
                ("noise_clip", "target_noise_clip"),
            ]
        };
        numbers.extend(own.iter().map(|(ours, theirs)| (format!("{core}.{ours}"), *theirs)));
        for (ours, theirs) in numbers {
            // A schedule is a pickle, and stays one.
            match &data[theirs] {
                Value::Number(number) => self.settings.push((ours, number.to_string())),
                _ => self.notes.push(format!("{theirs} is no number in the file: {ours} has its default")),
            }
        }
        if let Some(alpha) = fixed {
            self.settings.push(("sac.temperature".into(), format!("{{ fixed = {alpha:?} }}")));
        }
        Ok(())
    }

    /// Sorts the tensors into networks.
    fn assemble(mut self, path: &Path) -> Result<Foreign, String> {
        let mut roles = BTreeMap::<Role, StateDictionary>::new();
        let mut moments = BTreeMap::new();
        let several = self.parts.len() > 1;
        for (index, part) in std::mem::take(&mut self.parts).into_iter().enumerate() {
            let prefixed = part.iter().any(|(name, _)| Role::of(name).is_some());
            for (name, array) in part {
                if !array.values.iter().all(|value| value.is_finite()) {
                    return Err(format!("{}: not all of its elements are finite", shown(&name)));
                }
                if name == MEAN || name == DEVIATION {
                    moments.insert(name, array.values);
                } else if name == "log_alpha" && array.values.len() == 1 {
                    self.log_alpha = array.values.first().copied();
                } else if several {
                    // A tuple of state dictionaries: the actor's, then the critics'.
                    let role = if index == 0 { Role::Actor } else { Role::Critic(format!("{index:05}")) };
                    roles.entry(role).or_default().push((name, array));
                } else if let Some((role, rest)) = Role::of(&name) {
                    let rest = rest.to_owned();
                    roles.entry(role).or_default().push((rest, array));
                } else if prefixed {
                    return Err(format!("{}: belongs to no network that is known here", shown(&name)));
                } else {
                    roles.entry(Role::Actor).or_default().push((name, array));
                }
            }
        }
        let mut actor = roles.remove(&Role::Actor).ok_or("has no actor")?;
        let scaling = Scaling::take(&mut actor)?;
        let actor = Chain::new(actor).map_err(|reason| format!("actor: {reason}"))?;
        let gaussian = actor.has_log_std;
        if gaussian && scaling.is_some() {
            self.notes.push(
                "CleanRL bounds log σ by tanh, ingle by a clamp: its tangent at 0 is taken over, so exploration \
                 differs where tanh bends; the deterministic actions are the same"
                    .into(),
            );
        }
        let actor = actor.networks(gaussian && scaling.is_some())?;
        let target_actor = match roles.remove(&Role::TargetActor) {
            Some(mut target) => {
                Scaling::take(&mut target)?;
                let chain = Chain::new(target).map_err(|reason| format!("target actor: {reason}"))?;
                Some(chain.networks(false)?)
            }
            None => None,
        };
        let (mut critics, mut targets) = (Vec::new(), Vec::new());
        for (role, tensors) in roles {
            let (name, place) = match &role {
                Role::Critic(name) => (name, &mut critics),
                Role::TargetCritic(name) => (name, &mut targets),
                Role::Actor | Role::TargetActor => continue,
            };
            let chain = Chain::new(tensors).map_err(|reason| format!("critic {}: {reason}", shown(name)))?;
            place.push(chain.networks(false)?);
        }
        let mut foreign = Foreign {
            path: path.to_owned(),
            actor,
            target_actor,
            critic: Networks::stack(&critics)?,
            target_critic: Networks::stack(&targets)?,
            log_alpha: self.log_alpha,
            gaussian,
            scaling,
            settings: self.settings,
            notes: self.notes,
            description: self.description,
            normalisation: None,
        };
        foreign.complete(&moments)?;
        Ok(foreign)
    }
}

impl Foreign {
    /// Checks that the networks fit each other, and settles what follows from them.
    fn complete(&mut self, moments: &BTreeMap<String, Vec<f32>>) -> Result<(), String> {
        let (observation, action) = (self.observation_size(), self.action_size());
        if self.target_actor.as_ref().is_some_and(|target| target.sizes != self.actor.sizes) {
            return Err("its target actor has other widths than its actor".into());
        }
        let hidden = self.actor.sizes.get(1..self.actor.sizes.len() - 1).unwrap_or_default();
        let expected = [&[observation + action][..], hidden, &[1]].concat();
        for critic in [&self.critic, &self.target_critic].into_iter().flatten() {
            if critic.sizes != expected {
                return Err(format!(
                    "its critics have widths {:?}, beside its actor's {:?} they would be {expected:?}: actor and \
                     critics have the same hidden layers here",
                    critic.sizes, self.actor.sizes
                ));
            }
        }
        let counts =
            [&self.critic, &self.target_critic].map(|critic| critic.as_ref().map(|critic| critic.count));
        if let [Some(critics), Some(targets)] = counts
            && critics != targets
        {
            return Err(format!("it has {critics} critics and {targets} target critics"));
        }
        if let Some(Scaling { scale, bias }) = &self.scaling {
            if scale.len() != action || bias.len() != action {
                return Err(format!("{} bounds for {action} action elements", scale.len()));
            }
            // Its critics read actions in the environment's units: the first layer takes the scaling in.
            for critic in [&mut self.critic, &mut self.target_critic].into_iter().flatten() {
                critic.fold_scaling(observation, scale, bias);
            }
        }
        let core = self.learner();
        let widths: Vec<String> = hidden.iter().map(ToString::to_string).collect();
        self.settings.push((format!("{core}.hidden"), format!("[{}]", widths.join(", "))));
        if let Some(critic) = &self.critic {
            self.settings.push((format!("{core}.critics"), critic.count.to_string()));
        }
        let described = self.description.as_ref().and_then(|description| description.normalisation.as_ref());
        self.normalisation = match (described, moments.get(MEAN), moments.get(DEVIATION)) {
            (None, None, None) => None,
            (Some(described), Some(mean), Some(deviation)) => {
                Some(Normalisation { mean: mean.clone(), deviation: deviation.clone(), clip: described.clip })
            }
            _ => return Err("its input normalisation is not complete".into()),
        };
        Ok(())
    }

    /// Whether its observations are normalised before the actor sees them, which a `sac` or `td3` alone does not do.
    pub fn is_normalised(&self) -> bool {
        self.normalisation.is_some()
    }
}

/// Which network a tensor belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Actor,
    TargetActor,
    Critic(String),
    TargetCritic(String),
}

impl Role {
    /// The network that a name begins with, and the rest of the name.
    fn of(name: &str) -> Option<(Self, &str)> {
        let (first, rest) = name.split_once('.')?;
        let numbered =
            |name: &str| name.trim_start_matches(|letter: char| letter.is_ascii_lowercase()).to_owned();
        let is_critic = |name: &str| {
            let number = name.trim_start_matches("qf").trim_start_matches('q');
            number.len() < name.len() && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        match first {
            "actor" => Some((Self::Actor, rest)),
            "actor_target" | "target_actor" => Some((Self::TargetActor, rest)),
            "critic" | "critic_target" => {
                let (critic, rest) = rest.split_once('.').filter(|(critic, _)| is_critic(critic))?;
                let number = format!("{:0>5}", numbered(critic));
                Some((
                    if first == "critic" { Self::Critic(number) } else { Self::TargetCritic(number) },
                    rest,
                ))
            }
            _ => {
                let (critic, target) = match first.strip_suffix("_target") {
                    Some(critic) => (critic, true),
                    None => (first, false),
                };
                let number = format!("{:0>5}", numbered(critic));
                let role = if target { Self::TargetCritic(number) } else { Self::Critic(number) };
                is_critic(critic).then_some((role, rest))
            }
        }
    }
}

impl Scaling {
    /// Takes CleanRL's buffers out of an actor's tensors.
    fn take(tensors: &mut StateDictionary) -> Result<Option<Self>, String> {
        let mut take = |name: &str| {
            let place = tensors.iter().position(|(own, _)| own == name)?;
            Some(tensors.remove(place).1.values)
        };
        match (take("action_scale"), take("action_bias")) {
            (None, None) => Ok(None),
            (Some(scale), Some(bias)) if scale.iter().all(|scale| *scale > 0.0) => {
                Ok(Some(Self { scale, bias }))
            }
            _ => Err("its action_scale and action_bias are no bounds of actions".into()),
        }
    }
}

/// A linear layer as `PyTorch` has it.
struct Linear {
    name: String,
    input: usize,
    output: usize,
    /// `[output, input]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// The layers of a network in order; of a Gaussian the last one has the means, then the log standard deviations.
struct Chain {
    layers: Vec<Linear>,
    has_log_std: bool,
}

/// The last parts of the names of heads.
const MEANS: [&str; 4] = ["mu", "mean", "fc_mu", "fc_mean"];
const LOG_STDS: [&str; 4] = ["log_std", "logstd", "fc_log_std", "fc_logstd"];

impl Chain {
    fn new(tensors: StateDictionary) -> Result<Self, String> {
        let mut layers = Self::layers(tensors)?;
        let head = |names: [&str; 4], layers: &mut Vec<Linear>| {
            let place = layers
                .iter()
                .position(|layer| names.contains(&layer.name.rsplit('.').next().unwrap_or_default()))?;
            Some(layers.remove(place))
        };
        let (mean, log_std) = (head(MEANS, &mut layers), head(LOG_STDS, &mut layers));
        layers.sort_by_cached_key(|layer| natural(&layer.name));
        layers.extend(mean);
        let has_log_std = log_std.is_some();
        if let (Some(log_std), Some(mean)) = (log_std, layers.last_mut()) {
            if (log_std.input, log_std.output) != (mean.input, mean.output) {
                return Err(format!(
                    "{} has shape [{}, {}], {} [{}, {}]",
                    shown(&mean.name),
                    mean.output,
                    mean.input,
                    shown(&log_std.name),
                    log_std.output,
                    log_std.input
                ));
            }
            mean.output *= 2;
            mean.weight.extend(log_std.weight);
            mean.bias.extend(log_std.bias);
        }
        if layers.is_empty() {
            return Err("it has no layers".into());
        }
        if let Some(pair) = layers.windows(2).find(|pair| pair[0].output != pair[1].input) {
            return Err(format!(
                "layers {} and {} do not fit: {} outputs for {} inputs",
                shown(&pair[0].name),
                shown(&pair[1].name),
                pair[0].output,
                pair[1].input
            ));
        }
        Ok(Self { layers, has_log_std })
    }

    /// Pairs of weight and bias.
    fn layers(tensors: StateDictionary) -> Result<Vec<Linear>, String> {
        let mut weights = Vec::new();
        let mut biases = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (name, array) in tensors {
            if !seen.insert(name.clone()) {
                return Err(format!("{} is there twice", shown(&name)));
            }
            match (name.rsplit_once('.'), array.shape.as_slice()) {
                (Some((layer, "weight")), &[output, input]) if output > 0 && input > 0 => {
                    weights.push((layer.to_owned(), output, input, array.values));
                }
                (Some((layer, "bias")), &[_]) => {
                    biases.insert(layer.to_owned(), array.values);
                }
                (_, shape) => {
                    return Err(format!(
                        "{} of shape {shape:?} belongs to no linear layer: only chains of nn.Linear and ReLU are read",
                        shown(&name)
                    ));
                }
            }
        }
        let linear = |(name, output, input, weight): (String, usize, usize, Vec<f32>)| match biases
            .remove(&name)
            .filter(|bias| bias.len() == output)
        {
            Some(bias) => Ok(Linear { name, input, output, weight, bias }),
            None => Err(format!("{}: its bias is missing or has another size", shown(&name))),
        };
        let layers = weights.into_iter().map(linear).collect::<Result<Vec<_>, _>>()?;
        match biases.keys().next() {
            Some(name) => Err(format!("{}: its weight is missing", shown(name))),
            None => Ok(layers),
        }
    }

    /// The layers as ours: weights transposed. CleanRL's log σ is taken over by its tangent.
    fn networks(self, cleanrl: bool) -> Result<Networks, String> {
        let mut sizes: Vec<usize> = self.layers.iter().map(|layer| layer.input).collect();
        let last = self.layers.len() - 1;
        let mut parameters = Vec::new();
        for (index, mut layer) in self.layers.into_iter().enumerate() {
            if index == last {
                sizes.push(layer.output);
            }
            if cleanrl && index == last {
                let (offset, slope) = CLEANRL_LOG_STD;
                let actions = layer.output / 2;
                layer.weight[actions * layer.input..].iter_mut().for_each(|weight| *weight *= slope);
                layer.bias[actions..].iter_mut().for_each(|bias| *bias = offset + slope * *bias);
            }
            let columns =
                (0..layer.input).flat_map(|input| (0..layer.output).map(move |output| (input, output)));
            parameters.extend(columns.map(|(input, output)| layer.weight[output * layer.input + input]));
            parameters.extend(layer.bias);
        }
        if parameter_count(&sizes) != Some(parameters.len()) {
            return Err(format!("a network of widths {sizes:?} is too large"));
        }
        Ok(Networks { sizes, count: 1, parameters })
    }
}

impl Networks {
    /// Networks of one shape as one ensemble.
    fn stack(networks: &[Self]) -> Result<Option<Self>, String> {
        let Some(first) = networks.first() else { return Ok(None) };
        if let Some(other) = networks.iter().find(|network| network.sizes != first.sizes) {
            return Err(format!(
                "its critics have different widths: {:?} and {:?}",
                first.sizes, other.sizes
            ));
        }
        let mut parameters = Vec::with_capacity(first.parameters.len() * networks.len());
        let mut start = 0;
        for pair in first.sizes.windows(2) {
            for length in [pair[0] * pair[1], pair[1]] {
                for network in networks {
                    parameters.extend_from_slice(&network.parameters[start..start + length]);
                }
                start += length;
            }
        }
        Ok(Some(Self { sizes: first.sizes.clone(), count: networks.len(), parameters }))
    }

    /// Makes critics that read `scale · a + bias` read a: `W (scale · a + bias) + b = (W scale) a + (b + W bias)`.
    fn fold_scaling(&mut self, observation: usize, scale: &[f32], bias: &[f32]) {
        let [input, width, ..] = self.sizes[..] else { return };
        let (weights, rest) = self.parameters.split_at_mut(self.count * input * width);
        for (weight, biases) in weights.chunks_exact_mut(input * width).zip(rest.chunks_exact_mut(width)) {
            let rows = weight.chunks_exact_mut(width).skip(observation);
            for (row, (scale, bias)) in rows.zip(scale.iter().zip(bias)) {
                for (weight, own) in row.iter_mut().zip(&mut *biases) {
                    *own += *weight * bias;
                    *weight *= scale;
                }
            }
        }
    }
}

/// A name whose numbers count as numbers when names are put in order.
fn natural(name: &str) -> Vec<(String, u64)> {
    name.split(['.', '_'])
        .map(|part| {
            let text = part.trim_end_matches(|letter: char| letter.is_ascii_digit());
            (text.to_owned(), part[text.len()..].parse().unwrap_or(0))
        })
        .collect()
}
