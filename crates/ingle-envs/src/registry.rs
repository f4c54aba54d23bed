use crate::{Environment, EnvironmentError, MountainCarContinuous, Pendulum, SyncVector, TimeLimit};

type Maker = fn() -> Result<Box<dyn Environment>, EnvironmentError>;

/// Our name, Gymnasium's name, and how to make one with the time limit that belongs to the name.
const REGISTRY: [(&str, &str, Maker); 2] = [
    ("pendulum", "Pendulum-v1", || limited(Pendulum::new(), Pendulum::TIME_LIMIT)),
    ("mountain-car-continuous", "MountainCarContinuous-v0", || {
        limited(MountainCarContinuous::new(), MountainCarContinuous::TIME_LIMIT)
    }),
];

fn limited(
    environment: impl Environment + 'static,
    steps: u64,
) -> Result<Box<dyn Environment>, EnvironmentError> {
    Ok(Box::new(TimeLimit::new(environment, steps)?))
}

/// The environments that [`make`] knows, each by its own name and by Gymnasium's.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    REGISTRY.into_iter().map(|(name, gymnasium, _)| (name, gymnasium))
}

/// Makes an environment by one of its [`names`], upper or lower case, with the time limit that belongs to it.
///
/// ```
/// let error = ingle_envs::make("pendulm").err().expect("there is no such environment");
/// assert_eq!(
///     error.to_string(),
///     "there is no environment `pendulm` (did you mean `pendulum`?); \
///      there is: pendulum (Pendulum-v1), mountain-car-continuous (MountainCarContinuous-v0)"
/// );
/// ```
///
/// # Errors
///
/// When no environment has this name. The error lists the names there are.
pub fn make(name: &str) -> Result<Box<dyn Environment>, EnvironmentError> {
    find(name)?()
}

/// Makes a vector of `n` environments of the same name.
///
/// # Errors
///
/// When no environment has this name, or when `n` is 0.
pub fn make_vector(name: &str, n: usize) -> Result<SyncVector, EnvironmentError> {
    let maker = find(name)?;
    SyncVector::new((0..n).map(|_| maker()).collect::<Result<_, _>>()?)
}

fn find(name: &str) -> Result<Maker, EnvironmentError> {
    let matches = |known: &str| known.eq_ignore_ascii_case(name);
    REGISTRY
        .into_iter()
        .find(|(ours, gymnasium, _)| matches(ours) || matches(gymnasium))
        .map(|(.., maker)| maker)
        .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> EnvironmentError {
    let lower_case = name.to_lowercase();
    let suggestion = names()
        .flat_map(|(ours, gymnasium)| [ours, gymnasium])
        .map(|known| (edits(&lower_case, &known.to_lowercase()), known))
        .min()
        .filter(|&(edits, known)| edits <= known.len() / 3)
        .map(|(_, known)| known.to_owned());
    let known: Vec<_> = names().map(|(ours, gymnasium)| format!("{ours} ({gymnasium})")).collect();
    EnvironmentError::UnknownName { name: name.to_owned(), suggestion, known: known.join(", ") }
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
