use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gymnasium::GymnasiumVector;
use crate::mujoco::{self, Maker};
use crate::{
    Environment, EnvironmentError, LinearQuadratic, MountainCarContinuous, Mujoco, Pendulum, SyncVector,
    TimeLimit, VectorEnvironment,
};

type Native = fn() -> Result<Box<dyn Environment>, EnvironmentError>;

/// Our name, Gymnasium's name if it has the environment, and how to make one with the time limit that belongs to the name.
const REGISTRY: [(&str, Option<&str>, Native); 4] = [
    ("pendulum", Some("Pendulum-v1"), || limited(Pendulum::new(), Pendulum::TIME_LIMIT)),
    ("mountain-car-continuous", Some("MountainCarContinuous-v0"), || {
        limited(MountainCarContinuous::new(), MountainCarContinuous::TIME_LIMIT)
    }),
    ("lqr", None, || limited(LinearQuadratic::lqr(), LinearQuadratic::TIME_LIMIT)),
    ("point-mass", None, || limited(LinearQuadratic::point_mass(), LinearQuadratic::TIME_LIMIT)),
];

/// What precedes the name of an environment on the native `MuJoCo`.
const MUJOCO: &str = "mujoco:";

/// What precedes the name of an environment of the user's Gymnasium.
const GYMNASIUM: &str = "gym:";

fn limited(
    environment: impl Environment + 'static,
    steps: u64,
) -> Result<Box<dyn Environment>, EnvironmentError> {
    Ok(Box::new(TimeLimit::new(environment, steps)?))
}

/// The environments that are built in, each by its own name and by Gymnasium's, if it has it.
pub fn names() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    REGISTRY.into_iter().map(|(name, gymnasium, _)| (name, gymnasium))
}

/// Makes an environment by its name, upper or lower case, with the time limit that belongs to it: one of [`names`], or
/// `mujoco:` with the name of a [`Mujoco`](crate::Mujoco) environment, `mujoco:HalfCheetah-v5`.
///
/// ```
/// let error = ingle_envs::make("pendulm").err().expect("there is no such environment");
/// assert!(error.to_string().starts_with("there is no environment `pendulm` (did you mean `pendulum`?)"));
/// ```
///
/// # Errors
///
/// When no environment has this name (the error lists the names there are), or when what it needs is not installed
/// (the error says how to install it).
pub fn make(name: &str) -> Result<Box<dyn Environment>, EnvironmentError> {
    EnvironmentOptions::default().make(name)
}

/// Makes a vector of `n` environments of the same name: one that [`make`] takes, or `gym:` with what `gymnasium.make`
/// takes, `gym:HalfCheetah-v5` (see [`GymnasiumVector`]).
///
/// # Errors
///
/// As for [`make`], or when `n` is 0.
pub fn make_vector(name: &str, n: usize) -> Result<Box<dyn VectorEnvironment>, EnvironmentError> {
    EnvironmentOptions::default().make_vector(name, n)
}

/// Where environments that are not built in come from. By default, from the user's Python.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnvironmentOptions {
    /// The Python whose packages are used. Default: the variable `INGLE_PYTHON`, or the Python of the active virtual
    /// or Conda environment, or `python3`.
    pub python: Option<PathBuf>,
    /// The `MuJoCo` library. Default: that of the Python package `mujoco`.
    pub mujoco_library: Option<PathBuf>,
    /// The folder with the model files (`half_cheetah.xml`, ...). Default: that of the Python package `gymnasium`.
    pub mujoco_models: Option<PathBuf>,
    /// `gym:` The processes that a vector's environments are spread over. Default: one for every 8 environments, at most
    /// as many as there are processors.
    pub workers: Option<usize>,
    /// `gym:` Seconds that a process may take for a step (default 60); then it is replaced.
    pub timeout: u64,
    /// How many failures of a vector's environments are borne before it gives up (default 3): of `gym:` processes, which are
    /// replaced, and of environments in this process, whose episodes are cut ([`SyncVector::restarts`]).
    pub restarts: u64,
    /// `gym:` Keyword arguments of `gymnasium.make`.
    pub arguments: BTreeMap<String, Value>,
}

impl Default for EnvironmentOptions {
    fn default() -> Self {
        Self {
            python: None,
            mujoco_library: None,
            mujoco_models: None,
            workers: None,
            timeout: 60,
            restarts: 3,
            arguments: BTreeMap::new(),
        }
    }
}

/// How to make the environments of one name.
enum Source {
    Native(Native),
    Mujoco(Maker),
}

impl Source {
    fn make(&self) -> Result<Box<dyn Environment>, EnvironmentError> {
        match self {
            Self::Native(make) => make(),
            Self::Mujoco(maker) => limited(maker.make()?, maker.time_limit()),
        }
    }
}

impl EnvironmentOptions {
    /// [`make`], with these options.
    ///
    /// # Errors
    ///
    /// As for [`make`].
    pub fn make(&self, name: &str) -> Result<Box<dyn Environment>, EnvironmentError> {
        self.find(name)?.make()
    }

    /// Makes a `mujoco:` environment by its name, without the time limit, where [`Mujoco`]'s own methods are needed.
    ///
    /// # Errors
    ///
    /// As for [`make`].
    pub fn make_mujoco(&self, name: &str) -> Result<Mujoco, EnvironmentError> {
        match self.find(name)? {
            Source::Mujoco(maker) => maker.make(),
            Source::Native(_) => Err(unknown(name)),
        }
    }

    /// [`make_vector`], with these options. Environments whose steps are long enough for it are stepped by the
    /// threads of rayon's current pool.
    ///
    /// # Errors
    ///
    /// As for [`make_vector`].
    pub fn make_vector(&self, name: &str, n: usize) -> Result<Box<dyn VectorEnvironment>, EnvironmentError> {
        if let Some(id) = after(GYMNASIUM, name) {
            return Ok(Box::new(GymnasiumVector::new(name, id, n, self)?));
        }
        let source = self.find(name)?;
        let vector = SyncVector::new((0..n).map(|_| source.make()).collect::<Result<_, _>>()?)?
            .restarts(self.restarts);
        Ok(Box::new(match source {
            Source::Native(_) => vector,
            Source::Mujoco(_) => vector.threaded(),
        }))
    }

    fn find(&self, name: &str) -> Result<Source, EnvironmentError> {
        if let Some(argument) = self.arguments.keys().next() {
            return Err(EnvironmentError::Unavailable {
                name: name.to_owned(),
                reason: format!("it takes no arguments, and got `{argument}`"),
                help: "only `gym:` environments take arguments".to_owned(),
            });
        }
        let matches = |known: &str| known.eq_ignore_ascii_case(name);
        if let Some((.., make)) =
            REGISTRY.into_iter().find(|(ours, gymnasium, _)| matches(ours) || gymnasium.is_some_and(matches))
        {
            return Ok(Source::Native(make));
        }
        if let Some(task) = after(MUJOCO, name)
            && let Some(maker) = Maker::new(name, task, self)?
        {
            return Ok(Source::Mujoco(maker));
        }
        Err(unknown(name))
    }
}

/// What follows a prefix, in which upper and lower case are the same.
fn after<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn unknown(name: &str) -> EnvironmentError {
    let lower_case = name.to_lowercase();
    let suggestion = names()
        .flat_map(|(ours, gymnasium)| [Some(ours), gymnasium])
        .flatten()
        .map(str::to_owned)
        .chain(mujoco::names().map(|task| format!("{MUJOCO}{task}")))
        .map(|known| (edits(&lower_case, &known.to_lowercase()), known))
        .min()
        .filter(|(edits, known)| *edits <= known.len() / 3)
        .map(|(_, known)| known);
    let known: Vec<_> = names()
        .map(|(ours, gymnasium)| {
            gymnasium.map_or(ours.to_owned(), |gymnasium| format!("{ours} ({gymnasium})"))
        })
        .collect();
    let mujoco: Vec<_> = mujoco::names().collect();
    let known = format!(
        "{}, {MUJOCO}NAME with one of {}, {GYMNASIUM}NAME with any that your Gymnasium knows",
        known.join(", "),
        mujoco.join(", ")
    );
    EnvironmentError::UnknownName { name: name.to_owned(), suggestion, known }
}

/// How many characters to insert, delete or replace to turn `a` into `b` (Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}
