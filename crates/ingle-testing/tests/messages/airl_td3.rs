// Message: the policy of `Td3` has no log-probability
// Message: a deterministic policy such as `Td3`'s has none: imitate with `Ail` there
use ingle::nested::airl::AirlConfig;
use ingle::td3::Td3Config;
use ingle::{LearnerCore, Result};

pub fn nest() -> Result<impl LearnerCore> {
    AirlConfig::default().init(Td3Config::default().init(3, 1)?)
}
