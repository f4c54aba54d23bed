// Message: `NStepTransitions` is not a sample whose rewards can be replaced
// Message: the rewards of `NStepTransitions` are folded already: nest over a core with one-step transitions
use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::{LearnerCore, NStep, NStepTransitions, Nested, Result};

pub fn nest() -> Result<impl LearnerCore> {
    let processor = RndConfig::default().init::<NStepTransitions>(3)?;
    Ok(Nested { processor, direct: NStep { direct: SacConfig::default().init(3, 1)? } })
}
