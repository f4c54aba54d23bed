// Message: the samples do not fit: `ImitationSample<
// Message: >` is handed to what learns from `
use ingle::nested::{ImitationSample, rnd::RndConfig};
use ingle::sac::SacConfig;
use ingle::{LearnerCore, Nested, Result, Transitions};

pub fn nest() -> Result<impl LearnerCore> {
    let processor = RndConfig::default().init::<ImitationSample<Transitions>>(3)?;
    Ok(Nested { processor, direct: SacConfig::default().init(3, 1)? })
}
