//! Policies out of runs and checkpoints.

use std::path::Path;

use ingle_core::{Record, RecordItem};
use toml::{Table, Value};

use super::{LARGEST, Normalisation, PolicyKind, PolicyParameters, export, parameter_count};
use crate::run_directory::CONFIGURATION;
use crate::{Checkpoints, RunDirectory, TrainError};

/// Layers of the `ingle` command that leave observations as they are.
const BLIND: &[&str] = &["ail", "airl", "rnd", "scale", "sqil"];

/// Numbers of a member's episodes in `trainer/evaluated`: the mean return is the first.
const EVALUATED: usize = 4;

pub(super) fn load(path: &Path, member: Option<usize>) -> Result<PolicyParameters, TrainError> {
    if path.is_file() {
        return export::read(path);
    }
    let saved = if RunDirectory::holds_run(path) {
        Saved::of_run(path)?
    } else if let Some((checkpoints, step)) = checkpoint(path) {
        let state = checkpoints.read(step)?.record.scope("learner").scope("state");
        Saved::of_checkpoint(&checkpoints, step, state)?
    } else {
        let reason = format!(
            "is neither a run (it has no {CONFIGURATION}), nor a checkpoint of one, nor a .safetensors file"
        );
        return Err(TrainError::Format { path: path.to_owned(), reason });
    };
    saved.policy(member).map_err(|reason| TrainError::Format { path: path.to_owned(), reason })
}

/// The checkpoints beside the one in `path`, and its step.
fn checkpoint(path: &Path) -> Option<(Checkpoints, u64)> {
    let name = path.file_name()?.to_str()?;
    let step = name.strip_prefix("checkpoint-")?.parse().ok().filter(|_| path.is_dir())?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some((Checkpoints::new(directory, "", 1), step))
}

/// What a policy is made of.
struct Saved {
    configuration: String,
    /// The learner's state.
    state: Record,
    /// What the training loop saved of itself.
    trainer: Record,
}

impl Saved {
    fn of_run(path: &Path) -> Result<Self, TrainError> {
        let (state, step) = RunDirectory::policy(path)?;
        // A population's best member has no checkpoints of its own: those of the run around it say the rest.
        for run in [path].into_iter().chain(path.parent()) {
            let checkpoints = Checkpoints::of_run(run);
            if let Some(step) = step.or(checkpoints.steps()?.last().copied()) {
                return Self::of_checkpoint(&checkpoints, step, state);
            }
        }
        let reason = "has no checkpoint, which says what its actions mean".into();
        Err(TrainError::Format { path: path.to_owned(), reason })
    }

    /// A learner's state, with what a checkpoint says of the rest.
    fn of_checkpoint(checkpoints: &Checkpoints, step: u64, state: Record) -> Result<Self, TrainError> {
        let (manifest, trainer) = checkpoints.read_scope(step, "trainer")?;
        Ok(Self { configuration: manifest.configuration, state, trainer })
    }

    fn policy(&self, member: Option<usize>) -> Result<PolicyParameters, String> {
        let configuration: Table = self.configuration.parse().map_err(
            |_| "its configuration is none of the `ingle` command, which names learner and networks",
        )?;
        let text = |key: &str| configuration.get(key).and_then(Value::as_str);
        let learner = text("learner").ok_or("its configuration names no learner")?;
        let layers: Vec<&str> = learner.split('+').map(str::trim).flat_map(expanded).collect();
        let (core, processors) = layers.split_last().ok_or("its configuration names no learner")?;
        let hidden = hidden(&configuration, core)
            .ok_or_else(|| format!("its configuration has no widths of hidden layers, {core}.hidden"))?;

        let observation = match self.trainer.0.get("observation_size") {
            Some(RecordItem::Counter(size)) => usize::try_from(*size).unwrap_or(usize::MAX),
            _ => {
                return Err(
                    "it does not say what the policy observes and what its actions mean: there was neither \
                     an environment nor a data set"
                        .into(),
                );
            }
        };
        let (action_low, action_high) = (self.bounds("action_low")?, self.bounds("action_high")?);
        let direct = "direct/".repeat(processors.len());
        let actor = self.tensor(&format!("{direct}actor/parameters"))?;
        let member = self.member(member, actor.members)?;
        let parameters = actor.row(member);

        // How many outputs there are for an action element says what they are.
        let widths = |outputs| [&[observation][..], &hidden, &[outputs]].concat();
        let count = action_low.len();
        let fits = |sizes: &Vec<usize>| parameter_count(sizes) == Some(parameters.len());
        let noise = self.tensor(&format!("{direct}exploration_noise"));
        let exploration_noise = noise.map_or(0.0, |noise| noise.row(member).first().copied().unwrap_or(0.0));
        let (sizes, kind) = [
            (widths(2 * count), PolicyKind::Gaussian),
            (widths(count), PolicyKind::Deterministic { exploration_noise }),
        ]
        .into_iter()
        .find(|(sizes, _)| fits(sizes))
        .ok_or_else(|| {
            format!(
                "its policy has {} parameters, which is no network from {observation} over {hidden:?} to {count} \
                 or {} outputs: a network of your own is acted with by its own core",
                parameters.len(),
                2 * count
            )
        })?;
        Ok(PolicyParameters {
            // Runs that learn offline may have none.
            environment: text("env").filter(|env| *env != "none").map(str::to_owned),
            action_low,
            action_high,
            normalisation: self.normalisation(&configuration, processors, member)?,
            sizes,
            parameters,
            kind,
        })
    }

    /// The member that was asked for, or the best one of the last evaluation.
    fn member(&self, wanted: Option<usize>, members: usize) -> Result<usize, String> {
        if let Some(member) = wanted {
            return if member < members {
                Ok(member)
            } else {
                Err(format!("has no member {member}: they are numbered 0 to {}", members.saturating_sub(1)))
            };
        }
        if members == 1 {
            return Ok(0);
        }
        let evaluated = match self.trainer.0.get("evaluated") {
            Some(RecordItem::Tensor(data)) => data.as_slice::<f64>().unwrap_or_default(),
            _ => &[],
        };
        let returns = evaluated.chunks_exact(EVALUATED).map(|numbers| numbers[0]).take(members).enumerate();
        let best = returns.max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map(|(member, _)| member).ok_or_else(|| {
            format!("none of its {members} members was evaluated yet: say which is meant (--member)")
        })
    }

    /// What the processors, outermost first, do to an observation before the policy sees it.
    fn normalisation(
        &self,
        configuration: &Table,
        processors: &[&str],
        member: usize,
    ) -> Result<Option<Normalisation>, String> {
        let mut whole: Option<Normalisation> = None;
        for (depth, layer) in processors.iter().enumerate() {
            let row = |name: &str| -> Result<Vec<f32>, String> {
                let name = format!("{}processor/{name}", "direct/".repeat(depth));
                Ok(self.tensor(&name)?.row(member))
            };
            let own = match *layer {
                "normalise" => Normalisation {
                    mean: row("mean")?,
                    // As `RunningMoments::deviation`, to the bit.
                    deviation: row("variance")?.iter().map(|variance| (variance + 1e-8).sqrt()).collect(),
                    clip: Some(clip(configuration).ok_or("its configuration has no normalise.clip")?),
                },
                "standardise" => {
                    Normalisation { mean: row("mean")?, deviation: row("deviation")?, clip: None }
                }
                layer if BLIND.contains(&layer) => continue,
                other => {
                    return Err(format!("what its layer '{other}' does to observations is not known here"));
                }
            };
            whole = Some(match whole {
                None => own,
                Some(outer) => outer.then(&own).ok_or_else(|| {
                    format!("its layer '{layer}' gets observations that are clipped already: the two are no one map")
                })?,
            });
        }
        Ok(whole)
    }

    fn bounds(&self, name: &str) -> Result<Vec<f32>, String> {
        match self.trainer.0.get(name) {
            Some(RecordItem::Tensor(data)) => {
                data.clone().try_into_vec().map_err(|_| format!("{name}: no numbers"))
            }
            _ => Err(format!("it has no {name}: an older version wrote it")),
        }
    }

    fn tensor(&self, name: &str) -> Result<Rows, String> {
        let Some(RecordItem::Tensor(data)) = self.state.0.get(name) else {
            return Err(format!("its state has no {name}: it is no learner whose policy can be taken out"));
        };
        match data.shape()[..] {
            [members, width] if members > 0 && width <= LARGEST => {
                let values = data.clone().convert::<f32>().try_into_vec();
                Ok(Rows { members, width, values: values.map_err(|_| format!("{name}: no numbers"))? })
            }
            _ => Err(format!("{name} has shape {:?}", data.shape())),
        }
    }
}

/// The layers that a name in a learner's stack is short for.
fn expanded(name: &str) -> Vec<&str> {
    match name {
        "td3bc" => vec!["standardise", "td3"],
        name => vec![name],
    }
}

/// The bound of `normalise`.
fn clip(configuration: &Table) -> Option<f32> {
    let clip = configuration.get("normalise")?.get("clip")?;
    clip.as_float().or_else(|| clip.as_integer().map(|clip| clip as f64)).map(|clip| clip as f32)
}

/// The widths of the hidden layers of a core.
fn hidden(configuration: &Table, core: &str) -> Option<Vec<usize>> {
    let widths = configuration.get(core)?.get("hidden")?.as_array()?;
    widths.iter().map(|width| usize::try_from(width.as_integer()?).ok()).collect()
}

/// A tensor `[P, ·]`.
struct Rows {
    members: usize,
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    fn row(&self, member: usize) -> Vec<f32> {
        self.values.iter().skip(member * self.width).take(self.width).copied().collect()
    }
}
