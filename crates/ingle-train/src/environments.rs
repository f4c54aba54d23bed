//! Vectors of environments in a checkpoint.

use ingle_core::Error;
use ingle_core::random::{RandomStream, StreamPosition};
use ingle_core::state::Visitor;
use ingle_envs::{EnvironmentError, EpisodeState, VectorEnvironment, VectorState};

/// Shows the environments' state. When loading, returns the observations to act on next: those of the saved state, or,
/// of environments that could not be saved, the first ones of new episodes, drawn from `seed`.
///
/// # Errors
/// If the environments refuse the state or a new episode.
pub(crate) fn checkpoint<'a>(
    vector: &'a mut dyn VectorEnvironment,
    seed: u64,
    visitor: &mut Visitor<'_>,
) -> Result<Option<&'a [f32]>, EnvironmentError> {
    let (loading, count) = (visitor.is_loading(), vector.len());
    let saved = vector.save();
    let mut present = u64::from(saved.is_some());
    visitor.counter("present", &mut present);
    if present == 0 {
        if loading {
            tracing::warn!("the environments could not be saved: they begin new episodes");
            return vector.reset(seed).map(Some);
        }
        return Ok(None);
    }
    let state = visit(saved.unwrap_or_else(|| unknown(count)), visitor);
    match state {
        Some(state) if loading => vector.restore(&state).map(Some),
        _ => Ok(None),
    }
}

/// A state of which nothing is known but how many environments it is of.
fn unknown(count: usize) -> VectorState {
    let episode = EpisodeState {
        state: Vec::new(),
        observation: Vec::new(),
        stream_position: 0,
        episode_return: 0.0,
        length: 0,
    };
    VectorState { key: [0; 32], steps: 0, environments: vec![episode; count] }
}

/// Shows the fields of a state, each of all environments together: there may be thousands.
fn visit(mut saved: VectorState, visitor: &mut Visitor<'_>) -> Option<VectorState> {
    let episodes = &saved.environments;
    let count = episodes.len();
    let mut streams: Vec<RandomStream> = (0_u64..)
        .zip(episodes)
        .map(|(stream, episode)| {
            RandomStream::at(StreamPosition { key: saved.key, stream, word: episode.stream_position.into() })
        })
        .collect();
    let mut states: Vec<f64> = episodes.iter().flat_map(|episode| episode.state.iter().copied()).collect();
    let mut sizes: Vec<u64> = episodes.iter().map(|episode| episode.state.len() as u64).collect();
    let mut observations: Vec<f32> =
        episodes.iter().flat_map(|episode| episode.observation.iter().copied()).collect();
    let mut returns: Vec<f64> = episodes.iter().map(|episode| episode.episode_return).collect();
    let mut lengths: Vec<u64> = episodes.iter().map(|episode| episode.length).collect();
    visitor.counter("steps", &mut saved.steps);
    visitor.streams("streams", &mut streams);
    visitor.values("states", &mut states);
    visitor.values("sizes", &mut sizes);
    visitor.values("observations", &mut observations);
    visitor.values("returns", &mut returns);
    visitor.values("lengths", &mut lengths);
    if !visitor.is_loading() {
        return Some(saved);
    }
    let all = sizes.iter().try_fold(0_u64, |sum, size| sum.checked_add(*size));
    if [sizes.len(), returns.len(), lengths.len(), streams.len()] != [count; 4]
        || all != Some(states.len() as u64)
        || !observations.len().is_multiple_of(count.max(1))
    {
        visitor.fail(Error::Record(format!("the environments' state is not one of {count} environments")));
        return None;
    }
    let mut states = states.into_iter();
    let width = observations.len() / count.max(1);
    for (index, episode) in saved.environments.iter_mut().enumerate() {
        let position = streams[index].position();
        saved.key = position.key;
        *episode = EpisodeState {
            state: states.by_ref().take(sizes[index] as usize).collect(),
            observation: observations[index * width..(index + 1) * width].to_vec(),
            stream_position: u64::try_from(position.word).unwrap_or(u64::MAX),
            episode_return: returns[index],
            length: lengths[index],
        };
    }
    Some(saved)
}
