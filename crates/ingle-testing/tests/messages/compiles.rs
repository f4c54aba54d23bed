// Everything fits.
use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::{LearnerCore, Nested, Result};

pub fn nest() -> Result<impl LearnerCore> {
    Ok(Nested { processor: RndConfig::default().init(3)?, direct: SacConfig::default().init(3, 1)? })
}
