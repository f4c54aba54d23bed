//! thrust-rl on burn's ndarray: `SacTrainer::train_step`, which samples, too. It has no TD3.

use burn_021::backend::{Autodiff, NdArray};
use thrust_rl::train::sac::{SacConfig, SacTrainer};

use crate::{
    ACTION, Algorithm, BUFFER, GAMMA, LEARNING_RATE, OBSERVATION, Options, Peer, Result, TAU, transitions,
};

/// The trainer, and the losses of its last update.
struct ThrustRl(SacTrainer<Autodiff<NdArray<f32>>>, Vec<(&'static str, f32)>);

impl Peer for ThrustRl {
    fn updates(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let stats = self.0.train_step()?;
            self.1 = vec![
                ("critic_loss", stats.critic_loss as f32),
                ("actor_loss", stats.actor_loss as f32),
                ("alpha_loss", stats.alpha_loss as f32),
                ("alpha", stats.alpha as f32),
            ];
        }
        Ok(())
    }

    fn action(&mut self) -> Result<Vec<f32>> {
        Ok(self.0.eval_action(&[0.5; OBSERVATION]))
    }

    fn losses(&self) -> Vec<(&'static str, f32)> {
        self.1.clone()
    }
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    if options.algorithm != Algorithm::Sac {
        return Err("--algo td3: thrust-rl has sac".into());
    }
    let config = SacConfig::new()
        .actor_lr(LEARNING_RATE)
        .critic_lr(LEARNING_RATE)
        .alpha_lr(LEARNING_RATE)
        .gamma(f64::from(GAMMA))
        .tau(f64::from(TAU))
        .batch_size(options.batch)
        .buffer_capacity(BUFFER)
        .hidden_dim(options.width)
        .num_hidden_layers(2)
        .auto_alpha(true);
    let mut trainer = SacTrainer::new(config, OBSERVATION, ACTION, Default::default())?;
    for one in transitions() {
        trainer.buffer_mut().push(
            &one.observation,
            &one.action,
            one.reward,
            &one.next_observation,
            one.terminated,
        );
    }
    crate::measure(options, "0.4.0 on burn-ndarray 0.21.0", &mut ThrustRl(trainer, Vec::new()))
}
