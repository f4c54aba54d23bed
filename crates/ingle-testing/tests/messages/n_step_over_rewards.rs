// Message: cannot be given n-step returns
// Message: n-step returns need a core that learns from rewards as they are
// Message: a processor that writes rewards would write one where n are folded
use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::{LearnerCore, NStep, Nested, Result, Transitions};

pub fn nest() -> Result<impl LearnerCore> {
    let processor = RndConfig::default().init::<Transitions>(3)?;
    Ok(NStep { direct: Nested { processor, direct: SacConfig::default().init(3, 1)? } })
}
