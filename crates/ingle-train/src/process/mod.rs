//! A learner in another process, in any language: it is given samples and asked for actions through pipes.
//!
//! [`ProcessLearner`] is the near end: a [`Learner`](ingle_core::Learner) and a [`Policy`](ingle_core::Policy), so that a
//! [`NestedLearner`](ingle_core::NestedLearner) puts any processor over it and a [`Trainer`](crate::Trainer) drives it.
//! [`serve`] is the far end for learners in Rust; `examples/external_learner.py` is one in Python.
//!
//! # The protocol, version 1
//!
//! The near end asks, the far end answers each request with one frame, on its standard input and output; it has nothing
//! else to say there (its standard error is free). A frame is a kind (1 byte), the payload's length (4 bytes) and the
//! payload. Numbers are little-endian: `u32`, `u64`, or `f32` for reals, arrays row after row.
//!
//! | request | payload |
//! |---|---|
//! | `H` hello, once and first | version, observation size O, action size A: `u32`; seed: `u64`; number M of metrics: `u32`; for each, the name's length `u32` and UTF-8 |
//! | `S` step | rows B, 1 if weighted else 0: `u32`; observation `[B, O]`, action `[B, A]`, reward `[B]`, discount `[B]`, next observation `[B, O]`, and if weighted, importance weight `[B]` |
//! | `A` act | rows B, 1 if exploring else 0: `u32`; observation `[B, O]`, and if exploring, standard normal noise `[B, A]` |
//! | `G` get the state | empty |
//! | `P` put the state | what the answer to `G` was |
//!
//! | answer | payload |
//! |---|---|
//! | `H` | version: `u32` |
//! | `S` | number of TD errors, B or 0: `u32`; metrics `[M]`; TD errors `[B]`, if it has them |
//! | `A` | actions `[B, A]` in `[-1, 1]` |
//! | `G` | any bytes |
//! | `P` | empty |
//! | `E` refused | the reason in UTF-8; the learner is then as it was |
//!
//! When its input ends, the far end ends itself.

mod frame;
mod learner;
mod serve;

pub use learner::{ProcessConfig, ProcessError, ProcessLearner};
pub use serve::{Answer, Batch, Hello, Remote, serve};
