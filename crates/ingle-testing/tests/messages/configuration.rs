// Message: `SacConfig` is not a learning rule
// Message: a configuration becomes one by its `init`
use ingle::sac::SacConfig;
use ingle::{CoreLearner, Result};

pub fn learner(device: &ingle::burn::tensor::Device) -> Result<()> {
    CoreLearner::new(SacConfig::default(), (), 0, device)?;
    Ok(())
}
