//! Laws, reference traces and gradient checks, in one binary.

mod bc;
mod demonstrations;
mod documentation;
mod gradients;
mod guard;
mod imitation;
mod laws;
mod messages;
mod nests;
mod pages;
mod process;
mod processors;
mod readers;
mod replay;
mod traces;
mod training;
