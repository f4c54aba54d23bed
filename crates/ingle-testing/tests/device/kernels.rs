//! How many kernels an update launches on a GPU, and that it never waits for it: counted on software Vulkan.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Tensor};
use ingle::nested::ail::AilConfig;
use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{LearnerCore, Nested};
use ingle_testing::report;
use ingle_testing::sample::{Sizes, TestSample};

use crate::alone;

/// Sizes whose slices begin at multiples of 256 bytes, as those of width 256 do: such slices are views, others are copied.
const SIZES: Sizes = Sizes { population: 1, batch: 64, observation: 17, action: 6 };
const HIDDEN: [usize; 2] = [64, 64];
/// Delays and intervals come round in them.
const UPDATES: u64 = 12;

fn kernels_of_an_update<C>(name: &str, core: &C, most: f64, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
{
    let mut state = core.init(0, device).unwrap();
    let mut samples: Vec<C::Sample> =
        (0..2 * UPDATES).map(|seed| C::Sample::random(SIZES, seed, DType::F32, device)).collect();
    // Fusion looks for its plan in the first ones.
    for sample in samples.drain(..UPDATES as usize) {
        core.step(&mut state, sample).unwrap();
    }
    let mut updates = || {
        for sample in samples.drain(..) {
            core.step(&mut state, sample).unwrap();
        }
    };
    let ((), kernels) = ingle::kernels::count(device, &mut updates).unwrap();
    let kernels = kernels.expect("a device that launches kernels");
    let each = kernels.total() as f64 / UPDATES as f64;
    report(&format!("kernels of an update of {name}: {each:.1}, at most {most}"));
    if std::env::var_os("INGLE_KERNELS").is_some() {
        for (kernel, count) in &kernels.launched {
            report(&format!("{:8.2} {kernel}", *count as f64 / UPDATES as f64));
        }
    }
    assert!(
        each <= most,
        "{name}: {each} kernels in an update, at most {most} expected: {:#?}",
        kernels.launched
    );
    assert_eq!(kernels.waits, Some(0), "{name}: the host waited for the device");
}

#[test]
fn a_look_at_a_tensor_is_a_wait() {
    alone("waits are counted", |device| {
        let tensor = Tensor::<1>::ones([64], &device);
        let waits = |work: &dyn Fn()| ingle::kernels::count(&device, work).unwrap().1.unwrap().waits;
        let sum = RefCell::new(tensor.clone());
        let add = || {
            let next = sum.borrow().clone() + 1.0;
            sum.replace(next);
        };
        // The data are fetched when somebody looks.
        let read = || drop(sum.borrow().to_data().try_to_vec::<f32>().unwrap());
        assert_eq!(waits(&add), Some(0));
        assert_eq!(waits(&|| (0..3).for_each(|_| (add(), read()).1)), Some(3));
        assert_eq!(waits(&|| (add(), device.sync().unwrap()).1), Some(1));
    });
}

#[test]
fn an_update_launches_few_kernels() {
    let flex = ingle::device::open("flex").unwrap();
    assert!(ingle::kernels::count(&flex, || ()).unwrap().1.is_none(), "a CPU launches none");

    alone("kernels of an update", |device| {
        let sac = || SacConfig { hidden: HIDDEN.into(), ..SacConfig::default() }.init(17, 6).unwrap();
        let td3 = || Td3Config { hidden: HIDDEN.into(), ..Td3Config::default() }.init(17, 6).unwrap();
        let rnd = RndConfig { hidden: HIDDEN.into(), ..RndConfig::default() }.init(17).unwrap();
        let ail = AilConfig { hidden: HIDDEN.into(), ..AilConfig::default() }.init(17, 6).unwrap();
        kernels_of_an_update("sac", &sac(), 78.0, &device);
        kernels_of_an_update("td3", &td3(), 59.5, &device);
        kernels_of_an_update("rnd+sac", &Nested { processor: rnd, direct: sac() }, 135.0, &device);
        kernels_of_an_update("ail+td3", &Nested { processor: ail, direct: td3() }, 116.5, &device);
    });
}
