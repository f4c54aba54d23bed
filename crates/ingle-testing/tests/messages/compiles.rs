// Everything fits.
use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::{LearnerCore, NStep, Nested, Result};

pub fn nest() -> Result<impl LearnerCore> {
    Ok(Nested { processor: RndConfig::default().init(3)?, direct: SacConfig::default().init(3, 1)? })
}

pub fn n_step() -> Result<impl LearnerCore> {
    Ok(NStep { direct: SacConfig::default().init(3, 1)? })
}
