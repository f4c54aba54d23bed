//! Laws, reference traces and gradient checks, in one binary.

mod bc;
mod demonstrations;
mod device_replay;
mod documentation;
mod gradients;
mod guard;
mod imitation;
mod laws;
mod messages;
mod nests;
mod pages;
mod population;
mod process;
mod processors;
mod readers;
mod replay;
mod side_by_side;
mod targets;
mod traces;
mod training;
