//! The reference traces, on every device that is built in and there.

use burn::tensor::{DType, Device};
use ingle_testing::traces::{Outcome, directory, read_all};
use ingle_testing::{device_or_skip, has_f64, report};

fn replay_all(name: &str, precision: DType, device: &Device) {
    let mut failed = Vec::new();
    let mut run = 0;
    for trace in read_all(&directory()) {
        match trace.replay(precision, device) {
            Outcome::Run { worst, compared } => {
                report(&format!("{:24} {name} {precision:?}: {compared} numbers, worst {worst}", trace.name));
                run += 1;
                if worst.over_allowed > 1.0 {
                    failed.push(format!("{}: {worst}", trace.name));
                }
            }
            Outcome::NotRun { learner } => {
                report(&format!("{:24} NOT RUN: there is no learner '{learner}' yet", trace.name));
            }
        }
    }
    assert!(failed.is_empty(), "traces that deviate on {name}: {failed:#?}");
    assert!(run > 0, "no trace in {} could be run", directory().display());
}

#[test]
fn traces_in_float64() {
    let device = ingle::device::open("flex").unwrap();
    assert!(has_f64(&device));
    replay_all("flex", DType::F64, &device);
}

#[test]
fn traces_in_float32_on_flex() {
    replay_all("flex", DType::F32, &ingle::device::open("flex").unwrap());
}

#[test]
fn traces_in_float32_on_ndarray() {
    if let Some(device) = device_or_skip("ndarray", "reference traces") {
        replay_all("ndarray", DType::F32, &device);
    }
}

#[test]
fn traces_in_float32_on_wgpu() {
    if let Some(device) = device_or_skip("wgpu", "reference traces") {
        replay_all("wgpu", DType::F32, &device);
    }
}
