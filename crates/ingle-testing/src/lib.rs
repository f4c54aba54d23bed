//! Conformance suite, reference traces and fakes for ingle.
//!
//! - [`laws`] runs the laws that every core and every nest must obey;
//! - [`traces`] replays reference traces of an independent implementation;
//! - [`fakes`] has small samplers and processors for tests;
//! - [`remote`] is a learner with its own parameters, which a process of its own serves.
//!
//! `INGLE_DEVICE` picks the device of all tests that can run on any (default `flex`).

#![forbid(unsafe_code)]

pub mod fakes;
pub mod laws;
pub mod readers;
pub mod remote;
pub mod sample;
pub mod traces;

use std::io::Write;

use burn::tensor::{DType, Device, Tensor, TensorData};

/// The device that `INGLE_DEVICE` names, by default `flex`.
///
/// # Panics
/// If there is no such device: whoever names one wants to know.
pub fn device() -> Device {
    let name = std::env::var("INGLE_DEVICE").unwrap_or_else(|_| "flex".into());
    ingle::device::open(&name).unwrap_or_else(|error| panic!("INGLE_DEVICE: {error}"))
}

/// The device of that name; if it is not there, prints that a check was skipped and why.
pub fn device_or_skip(name: &str, check: &str) -> Option<Device> {
    match ingle::device::open(name) {
        Ok(device) => Some(device),
        Err(reason) => {
            report(&format!("SKIPPED {check} on {name}: {reason}"));
            None
        }
    }
}

/// Prints a line even where the test harness captures what passing tests print: what was skipped, and how near a trace
/// came to its tolerance, is to be seen.
pub fn report(line: &str) {
    // A line that cannot be printed is not worth a failed test.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether a device computes in float64.
pub fn has_f64(device: &Device) -> bool {
    device.supports_dtype(DType::F64)
}

/// The numbers in a tensor, in float64.
///
/// # Panics
/// If the device fails.
pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    numbers(tensor.to_data())
}

/// The numbers in tensor data, in float64.
///
/// # Panics
/// If they are not floats.
pub fn numbers(data: TensorData) -> Vec<f64> {
    data.convert::<f64>().as_slice::<f64>().expect("float data").to_vec()
}
