// Message: the samples do not fit: `
// Message: ` is handed to what learns from `ImitationSample<
// Message: the sampler's `Sample` must be that of the core or the processor
use ingle::nested::ail::AilConfig;
use ingle::replay::UniformReplay;
use ingle::sac::SacConfig;
use ingle::{CoreLearner, Learner, Nested, Result, Transitions};

pub fn learner(replay: UniformReplay, device: &ingle::burn::tensor::Device) -> Result<impl Learner> {
    let processor = AilConfig::default().init::<Transitions>(3, 1)?;
    let nest = Nested { processor, direct: SacConfig::default().init(3, 1)? };
    CoreLearner::new(nest, replay, 0, device)
}
