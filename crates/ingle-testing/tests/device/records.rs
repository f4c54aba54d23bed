//! A saved state is that of the moment in which it was saved, whatever the device does with the state's buffers later.

use burn::tensor::{DType, Device};
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{LearnerCore, Record, RecordItem, State, Transitions};
use ingle_testing::numbers;
use ingle_testing::sample::{Sizes, TestSample};

use crate::alone;

const MEMBERS: usize = 3;
const SIZES: Sizes = Sizes { population: MEMBERS, batch: 8, observation: 3, action: 2 };

/// The numbers of every tensor, in its rows `rows`, looked at now.
fn looked_at(record: &Record, rows: std::ops::Range<usize>) -> Vec<(String, Vec<f64>)> {
    let tensors = record.0.iter().filter_map(|(name, item)| match item {
        RecordItem::Tensor(data) => {
            let width = data.num_elements() / data.shape()[0];
            let own = numbers(data.clone())[rows.start * width..rows.end * width].to_vec();
            Some((name.clone(), own))
        }
        _ => None,
    });
    tensors.collect()
}

/// Saved, and looked at only when training has gone on: what a thread that writes a checkpoint does.
fn saved_and_trained_on<C: LearnerCore<Sample = Transitions>>(name: &str, core: &C, device: &Device) {
    let sample = |seed| Transitions::random(SIZES, seed, DType::F32, device);
    let mut state = core.init(1, device).unwrap();
    for seed in 0..6 {
        // What was loaded is in buffers of its own at first.
        let reloaded = seed % 2 == 1;
        if reloaded {
            let record = state.save().unwrap();
            state.load(&record).unwrap();
        }
        let what = format!("{name}, before step {seed}, reloaded: {reloaded}");
        let expected = state.save().unwrap();
        let whole = looked_at(&expected, 0..MEMBERS);
        let saved = state.save().unwrap();
        let members = [0, 1, 2].map(|member| state.member(member).unwrap().save().unwrap());
        core.step(&mut state, sample(seed)).unwrap();
        core.step(&mut state, sample(10 + seed)).unwrap();
        assert!(looked_at(&saved, 0..MEMBERS) == whole, "{what}");
        for (member, record) in members.iter().enumerate() {
            let own = looked_at(&expected, member..member + 1);
            assert!(looked_at(record, 0..1) == own, "{what}, member {member}");
        }
    }
}

#[test]
fn what_was_saved_stays_as_it_was_while_training_goes_on() {
    alone("what was saved stays as it was", |wgpu| {
        for device in [Device::flex(), wgpu] {
            for hidden in [vec![16, 16], vec![64]] {
                let sac = SacConfig { population: MEMBERS, hidden: hidden.clone(), ..SacConfig::default() };
                saved_and_trained_on("SAC", &sac.init(3, 2).unwrap(), &device);
                let td3 = Td3Config { population: MEMBERS, hidden, ..Td3Config::default() };
                saved_and_trained_on("TD3", &td3.init(3, 2).unwrap(), &device);
            }
        }
    });
}
