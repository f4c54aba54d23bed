//! Learners by name: processors outermost first, then the direct core, joined by `+`.

use ingle::bc::BcConfig;
use ingle::burn::tensor::Device;
use ingle::envs::VectorEnvironment;
use ingle::nested::ail::AilConfig;
use ingle::nested::airl::AirlConfig;
use ingle::nested::normalise::NormaliseConfig;
use ingle::nested::rnd::RndConfig;
use ingle::nested::scale::ScaleConfig;
use ingle::nested::sqil::SqilConfig;
use ingle::nested::standardise::StandardiseConfig;
use ingle::replay::demonstrations::Demonstrations;
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::error::CliError;
use crate::stack::{Core, Imitator};

/// Declares the layers: their names, a section of settings for each, how they are checked, and how they are made.
macro_rules! layers {
    (
        processors { $($processor:ident: $processor_config:ty = |$pc:pat_param, $ps:pat_param, $pi:ident| $nest:expr,)* }
        imitators { $($imitator:ident: $imitator_config:ty = |$ic:pat_param, $is:pat_param, $ii:ident| $imitate:expr,)* }
        cores { $($core:ident: $core_config:ty = |$cc:pat_param, $cs:pat_param| $make:expr,)* }
    ) => {
        const PROCESSORS: &[&str] = &[$(stringify!($processor)),*];
        const IMITATORS: &[&str] = &[$(stringify!($imitator)),*];
        const CORES: &[&str] = &[$(stringify!($core)),*];

        /// The settings of every layer, a section for each.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct Layers {
            $(pub(crate) $processor: $processor_config,)*
            $(pub(crate) $imitator: $imitator_config,)*
            $(pub(crate) $core: $core_config,)*
        }

        impl Layers {
            /// Every section's name, and what its settings' check came to.
            pub(crate) fn validate(&self) -> Vec<(&'static str, Result<()>)> {
                vec![
                    $((stringify!($processor), self.$processor.validate()),)*
                    $((stringify!($imitator), self.$imitator.validate()),)*
                    $((stringify!($core), self.$core.validate()),)*
                ]
            }

            fn direct(&self, name: &str, sizes: Sizes) -> Result<Core> {
                $(if name == stringify!($core) {
                    let ($cc, $cs) = (self.$core.clone(), sizes);
                    return Ok($make);
                })*
                Err(Error::Config(vec![format!("'{name}' is not a direct core")]))
            }

            fn nest(&self, name: &str, sizes: Sizes, inner: Core) -> Result<Core> {
                $(if name == stringify!($processor) {
                    let ($pc, $ps, $pi) = (self.$processor.clone(), sizes, inner);
                    return Ok($nest);
                })*
                $(if name == stringify!($imitator) {
                    let ($ic, $is, $ii) = (self.$imitator.clone(), sizes, inner);
                    return Ok($imitate);
                })*
                Err(Error::Config(vec![format!("'{name}' is not a processor")]))
            }
        }
    };
}

// The registry: one line makes a layer known to `train`, `eval`, `bench` and the configuration, where its section has
// its name. The expression makes a core of its section, the environment's sizes and the core below.
layers! {
    processors {
        normalise: NormaliseConfig = |config, sizes, inner| inner.under(config.init(sizes.observation)?),
        rnd: RndConfig = |config, sizes, inner| inner.under(config.init(sizes.observation)?),
        scale: ScaleConfig = |config, _, inner| inner.under(config.init()?),
        standardise: StandardiseConfig = |config, sizes, inner| inner.under(config.init(sizes.observation)?),
    }
    // Layers that learn from demonstrations.
    imitators {
        ail: AilConfig = |config, sizes, inner| inner.under(Imitator(config.init(sizes.observation, sizes.action)?)),
        airl: AirlConfig = |config, _, inner| Core::imitator(config.init(inner.with_density("airl")?)?),
        sqil: SqilConfig = |config, sizes, inner| inner.under(Imitator(config.init(sizes.observation, sizes.action)?)),
    }
    cores {
        bc: BcConfig = |config, sizes| Core::deterministic(config.init(sizes.observation, sizes.action)?),
        sac: SacConfig = |config, sizes| Core::direct(config.init(sizes.observation, sizes.action)?),
        td3: Td3Config = |config, sizes| Core::deterministic(config.init(sizes.observation, sizes.action)?),
    }
}

/// TD3+BC (Fujimoto & Gu 2021) is short for these layers, the outermost first, with `td3.behaviour_cloning` = 2.5.
const TD3BC: &str = "td3bc";
const TD3BC_LAYERS: (&str, &str) = ("standardise", "td3");

impl Layers {
    /// Takes what the layers need to know of the data that they are to learn from.
    pub(crate) fn look_at(&mut self, data: &Demonstrations) {
        (self.standardise.mean, self.standardise.deviation) = data.observation_moments();
    }

    /// Whether the layer of that name has a network, whose hidden layers are set.
    pub(crate) fn has_network(layer: &str) -> bool {
        toml::Table::try_from(Self::default())
            .is_ok_and(|sections| sections.get(layer).is_some_and(|section| section.get("hidden").is_some()))
    }
}

/// The numbers of elements of an environment's observations and actions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) observation: usize,
    pub(crate) action: usize,
}

impl Sizes {
    pub(crate) fn of(environment: &dyn VectorEnvironment) -> Self {
        Self { observation: environment.observation_space().len(), action: environment.action_space().len() }
    }

    pub(crate) fn of_data(data: &Demonstrations) -> Self {
        Self { observation: data.observation_size(), action: data.action_size() }
    }
}

/// A learner's layers, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Outermost first.
    pub(crate) processors: Vec<&'static str>,
    pub(crate) core: &'static str,
}

impl Stack {
    /// Reads a learner's name.
    ///
    /// # Errors
    /// Everything that is wrong with it, and how it is put right.
    pub(crate) fn parse(learner: &str) -> Result<Self, CliError> {
        let find = |known: &[&'static str], name: &str| known.iter().copied().find(|known| *known == name);
        let names: Vec<&str> = learner.split('+').map(str::trim).collect();
        let mut problems = Vec::new();
        let mut processors = Vec::new();
        let mut core = None;
        for (place, name) in names.iter().enumerate() {
            if let Some(name) = find(PROCESSORS, name).or_else(|| find(IMITATORS, name)) {
                if processors.contains(&name) {
                    problems.push(format!("'{name}' is there twice: a processor is in a stack once"));
                }
                processors.push(name);
            } else if *name == TD3BC && place + 1 == names.len() && !processors.contains(&TD3BC_LAYERS.0) {
                processors.push(TD3BC_LAYERS.0);
                core = Some(TD3BC_LAYERS.1);
            } else if let Some(name) = find(CORES, name) {
                if place + 1 < names.len() {
                    problems.push(format!("'{name}' is a direct core: it comes last, and there is one"));
                }
                core = Some(name);
            } else {
                problems.push(format!("'{name}' is not a learner"));
            }
        }
        match core {
            Some(core) if problems.is_empty() => return Ok(Self { processors, core }),
            None if problems.is_empty() => {
                problems
                    .push(format!("'{learner}' has no direct core: end it with one, as in {learner}+sac"));
            }
            _ => {}
        }
        Err(CliError::Input(format!(
            "{}; give processors ({}) outermost first, then a direct core ({}, {TD3BC}), joined by +",
            problems.join("; "),
            [PROCESSORS, IMITATORS].concat().join(", "),
            CORES.join(", ")
        )))
    }

    /// All layers, outermost first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.processors.iter().copied().chain([self.core])
    }

    /// Whether a learner's name ends in that of TD3+BC.
    pub(crate) fn is_td3bc(learner: &str) -> bool {
        learner.rsplit('+').next().is_some_and(|core| core.trim() == TD3BC)
    }

    /// Why this learner needs a data set that is there before it begins, if it does: its layer's name, and what it does
    /// with it.
    pub(crate) fn needs_data(&self) -> Option<(&'static str, &'static str)> {
        if let Some(imitator) = self.imitator() {
            return Some((imitator, "learns from demonstrations"));
        }
        if self.core == "bc" {
            return Some(("bc", "learns from a data set"));
        }
        let standardise = self.processors.iter().find(|name| **name == "standardise")?;
        Some((standardise, "takes the moments of a data set"))
    }

    /// The outermost layer that learns from demonstrations.
    pub(crate) fn imitator(&self) -> Option<&'static str> {
        self.processors.iter().copied().find(|name| IMITATORS.contains(name))
    }
}

/// The learner of a configuration, for observations and actions of these sizes.
pub(crate) fn core(config: &RunConfig, sizes: Sizes) -> Result<Core, CliError> {
    let stack = Stack::parse(&config.learner)?;
    let direct = config.layers.direct(stack.core, sizes)?;
    let core = stack
        .processors
        .into_iter()
        .rev()
        .try_fold(direct, |inner, processor| config.layers.nest(processor, sizes, inner))?;
    Ok(core)
}

/// The learner of a configuration as it is stepped on this device: the members of a population one by one on flex, all in
/// each operation elsewhere.
pub(crate) fn stepped(config: &RunConfig, sizes: Sizes, device: &Device) -> Result<Core, CliError> {
    let all = core(config, sizes)?;
    #[cfg(feature = "flex")]
    if config.population > 1 && *device == Device::flex() {
        return Ok(all.side_by_side(core(&crate::members::Members::of(config)?.alone(0)?, sizes)?)?);
    }
    #[cfg(not(feature = "flex"))]
    let _ = device;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_outermost_first() {
        let stack = Stack::parse("normalise+rnd+ail+td3").unwrap();
        assert_eq!(stack, Stack { processors: vec!["normalise", "rnd", "ail"], core: "td3" });
        assert_eq!(stack.imitator(), Some("ail"));
        assert_eq!(Stack::parse("sac").unwrap(), Stack { processors: vec![], core: "sac" });
        assert_eq!(Stack::parse("rnd+sac").unwrap().imitator(), None);
        let td3bc = Stack { processors: vec!["scale", "standardise"], core: "td3" };
        assert_eq!(Stack::parse("scale+td3bc").unwrap(), td3bc);
        assert!(Stack::is_td3bc("scale+td3bc") && !Stack::is_td3bc("td3bc+sac") && !Stack::is_td3bc("td3"));
        assert!(Stack::parse("standardise+td3bc").is_err() && Stack::parse("td3bc+sac").is_err());
    }

    #[test]
    fn a_wrong_name_says_what_is_wrong_and_what_there_is() {
        for (name, parts) in [
            (
                "ppo",
                vec![
                    "'ppo' is not a learner",
                    "normalise, rnd, scale, standardise, ail, airl, sqil",
                    "(bc, sac, td3, td3bc)",
                ],
            ),
            ("", vec!["'' is not a learner"]),
            ("rnd+", vec!["'' is not a learner"]),
            ("rnd", vec!["'rnd' has no direct core: end it with one, as in rnd+sac"]),
            ("sac+rnd", vec!["'sac' is a direct core: it comes last, and there is one"]),
            ("sac+td3", vec!["'sac' is a direct core"]),
            ("rnd+rnd+sac", vec!["'rnd' is there twice"]),
            (
                "rdn+ail+ail+ppo",
                vec!["'rdn' is not a learner", "'ail' is there twice", "'ppo' is not a learner"],
            ),
        ] {
            let error = Stack::parse(name).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{name}: {part} is not in {error}");
            }
        }
    }
}
