//! The phases of an update as spans of `tracing`, for whoever wants to know where the time goes.
//!
//! With no subscriber that asks for them, entering one costs the reading of a number. On a device that works behind the
//! host's back, a span says when work was issued; `ingle bench --phases` waits for the device at each border.

use tracing::span::EnteredSpan;
use tracing::trace_span;

/// The spans' target.
pub const TARGET: &str = "ingle::phase";

/// A part of an update. They nest: a critic's optimiser step is inside of `Critics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Drawing the sample and bringing it to the device.
    Sampling,
    /// A processor's own learning and relabelling.
    Processor,
    /// Target values.
    Targets,
    /// The critics' loss and its gradient.
    Critics,
    /// The actor's loss and its gradient, and the temperature's.
    Actor,
    /// Adam.
    Optimiser,
    /// Target parameters.
    Averaging,
}

impl Phase {
    /// Enters the phase until the guard drops.
    pub fn enter(self) -> EnteredSpan {
        match self {
            Self::Sampling => trace_span!(target: TARGET, "sampling"),
            Self::Processor => trace_span!(target: TARGET, "processor"),
            Self::Targets => trace_span!(target: TARGET, "targets"),
            Self::Critics => trace_span!(target: TARGET, "critics"),
            Self::Actor => trace_span!(target: TARGET, "actor"),
            Self::Optimiser => trace_span!(target: TARGET, "optimiser"),
            Self::Averaging => trace_span!(target: TARGET, "averaging"),
        }
        .entered()
    }
}
