//! Where the time of an update goes: the spans of `ingle::phase`, timed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ingle::burn::tensor::Device;
use ingle::phase::TARGET;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Seconds that each phase took by itself, without the phases inside of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Phases(pub(super) BTreeMap<&'static str, f64>);

/// Does `work` on this thread and times its phases. On a device that works behind the host's back, `wait` is waited for
/// at each border: the phases then add up, but the whole takes longer than it does without.
pub(super) fn timed<T>(wait: Option<&Device>, work: impl FnOnce() -> T) -> (T, Phases) {
    let clock = Arc::new(Clock { wait: wait.cloned(), state: Mutex::new(Running::default()) });
    let result = tracing::subscriber::with_default(Arc::clone(&clock), work);
    let phases = Phases(std::mem::take(&mut clock.running().totals));
    (result, phases)
}

struct Clock {
    wait: Option<Device>,
    state: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// The spans seen so far; a span's id is its place, plus one.
    names: Vec<&'static str>,
    /// The spans that are open, innermost last, and since when the innermost one runs by itself.
    open: Vec<usize>,
    since: Option<Instant>,
    totals: BTreeMap<&'static str, f64>,
}

impl Clock {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what runs: the innermost span's time so far is its own.
    fn border(&self, change: impl FnOnce(&mut Vec<usize>)) {
        if let Some(device) = &self.wait {
            // A device that failed shows in the update itself.
            let _ = device.sync();
        }
        let mut running = self.running();
        let Running { names, open, since, totals } = &mut *running;
        let now = Instant::now();
        if let (Some(&innermost), Some(since)) = (open.last(), *since) {
            *totals.entry(names[innermost]).or_default() += (now - since).as_secs_f64();
        }
        change(open);
        *since = Some(now);
    }
}

fn place(span: &Id) -> usize {
    usize::try_from(span.into_u64() - 1).unwrap_or(usize::MAX)
}

impl Subscriber for Clock {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == TARGET
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let name = span.metadata().name();
        let mut running = self.running();
        let place = running.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            running.names.push(name);
            running.names.len() - 1
        });
        Id::from_u64(place as u64 + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        self.border(|open| open.push(place(span)));
    }

    fn exit(&self, span: &Id) {
        let place = place(span);
        self.border(|open| {
            if let Some(last) = open.iter().rposition(|open| *open == place) {
                open.remove(last);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::Duration;

    use ingle::phase::Phase;

    use super::*;

    #[test]
    fn a_phase_has_its_own_time_without_those_inside() {
        let pause = || sleep(Duration::from_millis(20));
        let (result, phases) = timed(None, || {
            pause();
            let critics = Phase::Critics.enter();
            pause();
            {
                let _optimiser = Phase::Optimiser.enter();
                pause();
                pause();
            }
            pause();
            drop(critics);
            let _critics = Phase::Critics.enter();
            tracing::error!("no span of an update");
            7
        });
        assert_eq!(result, 7);
        assert_eq!(phases.0.keys().copied().collect::<Vec<_>>(), ["critics", "optimiser"]);
        for time in phases.0.values() {
            assert!((0.04..0.4).contains(time), "{phases:?}");
        }
        assert!(timed(None, || ()).1.0.is_empty());
    }
}
