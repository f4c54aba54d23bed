//! A population stepped member by member is that population.

use burn::tensor::{DType, Tensor};
use ingle::sac::SacConfig;
use ingle::{Act, Acting, Inputs, LearnerCore, SideBySide, State, StepOutput, Transitions};
use ingle_testing::laws::{Subject, assert_same, determinism, errors, guard, many, population, resume};
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::values;

use crate::laws::{sac, td3};
use crate::processors::{dac, nested, rnd};

const SIZES: Sizes = Sizes { population: 3, batch: 16, observation: 3, action: 2 };

fn side_by_side<C: Act>(make: impl Fn(&[usize]) -> C) -> impl Fn(&[usize]) -> SideBySide<C> {
    move |members| SideBySide::new(make(members), make(&members[..1])).unwrap()
}

fn obeys_the_laws<C>(name: &'static str, make: impl Fn(&[usize]) -> C + Copy)
where
    C: Act<State: Send, Sample: TestSample + Inputs + Send> + Sync,
{
    let (device, precision) = (ingle::device::open("flex").unwrap(), DType::F32);
    let subject = Subject::new(name, side_by_side(make));
    determinism(&subject, precision, &device);
    resume(&subject, precision, &device);
    population(&subject, precision, &device);
    errors(&subject, precision, &device);
    guard(&subject, precision, &device);
    many(&subject, precision, &device);

    // And it is the population that goes through each operation together, output by output.
    let together = make(&[0, 1, 2]);
    let apart = side_by_side(make)(&[0, 1, 2]);
    let (mut one, mut other) = (together.init(5, &device).unwrap(), apart.init(5, &device).unwrap());
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let samples: Vec<_> =
                (0..3).map(|step| C::Sample::random(SIZES, step, precision, &device)).collect();
            let expected = together.step_many(&mut one, samples.clone()).unwrap();
            let outputs = apart.step_many(&mut other, samples).unwrap();
            for (expected, output) in expected.iter().zip(&outputs) {
                assert_eq!(expected.metrics.read().unwrap(), output.metrics.read().unwrap(), "{name}");
                assert_eq!(errors_and_keys(expected), errors_and_keys(output), "{name}");
            }
            let law = format!("{threads} threads");
            assert_same(name, &law, &one.save().unwrap(), &other.save().unwrap(), 0.0);
        });
    }
    for members in [1, 3] {
        let normal = |size: usize, seed: u64| {
            let sizes = Sizes { population: members, observation: size, ..SIZES };
            Transitions::random(sizes, seed, precision, &device).observation
        };
        let noise = Transitions::random(Sizes { observation: 2, ..SIZES }, 1, precision, &device).observation;
        for acting in [Acting::Deterministic, Acting::Exploring(noise)] {
            let act = values(&together.act(&one, normal(3, 2), acting.clone()).unwrap());
            assert_eq!(act, values(&apart.act(&other, normal(3, 2), acting).unwrap()), "{name}: actions");
        }
    }
    let wrong = Tensor::zeros([2, 4, 3], &device);
    assert!(apart.act(&other, wrong, Acting::Deterministic).is_err(), "{name}: observations for two members");
}

fn errors_and_keys(output: &StepOutput) -> Option<(Vec<f64>, Option<ingle::Keys>)> {
    output.feedback.as_ref().map(|own| (values(&own.td_error), own.keys.clone()))
}

#[test]
fn members_side_by_side_obey_the_laws() {
    obeys_the_laws("sac, side by side", sac);
    obeys_the_laws("td3, side by side", td3);
    obeys_the_laws("rnd+sac, side by side", |members: &[usize]| nested(rnd(members), sac(members)));
    obeys_the_laws("dac+td3, side by side", |members: &[usize]| nested(dac(members), td3(members)));
}

#[test]
fn what_all_members_share_reaches_each_of_them() {
    let device = ingle::device::open("flex").unwrap();
    let shared = Transitions::random(Sizes { population: 1, ..SIZES }, 4, DType::F32, &device);
    let (together, apart) = (sac(&[0, 1, 2]), side_by_side(sac)(&[0, 1, 2]));
    let (mut one, mut other) = (together.init(5, &device).unwrap(), apart.init(5, &device).unwrap());
    let expected = together.step(&mut one, shared.clone()).unwrap();
    let output = apart.step(&mut other, shared).unwrap();
    assert_same("sac, side by side", "shared rows", &one.save().unwrap(), &other.save().unwrap(), 0.0);
    let errors = |output: &StepOutput| values(&output.feedback.as_ref().unwrap().td_error);
    assert_eq!(errors(&expected), errors(&output));
    // A key for every row of every member.
    assert_eq!(output.feedback.unwrap().keys.unwrap().len(), SIZES.population * SIZES.batch);
}

#[test]
fn a_core_of_several_members_steps_no_single_one() {
    let error = SideBySide::new(sac(&[0, 1, 2]), sac(&[0, 1])).unwrap_err().to_string();
    assert!(error.contains("steps one member at a time, not 2"), "{error}");
    let other = SacConfig::default().init(4, 2).unwrap();
    let error = SideBySide::new(sac(&[0]), other).unwrap_err().to_string();
    assert!(error.contains("sizes [3, 2] of the population and [4, 2] of a member"), "{error}");
}
