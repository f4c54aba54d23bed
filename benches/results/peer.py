#!/usr/bin/env python3
"""Trains SAC or TD3 of Stable-Baselines3 or SBX with the settings of a run of ingle, and writes a run directory.

    ingle train sac --env pendulum --seed 0 --threads 1 --run runs/ingle
    .venv/bin/python benches/results/peer.py sbx --like runs/ingle/config.toml --run runs/sbx

`ingle plot` and `ingle compare` read both. The settings come from ingle's file, so that the two cannot disagree; one that the
peer has no counterpart of is an error. `summary.json` says what was measured, and which arguments differ from the peer's
defaults. One thread; evaluations as ingle makes them: the deterministic policy, one episode in each of N environments whose
starts come from the run's seed, after the update of the step.
"""

import argparse
import copy
import inspect
import json
import os
import resource
import sys
import time
import tomllib

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

NATIVE = {"pendulum": "Pendulum-v1", "mountain-car-continuous": "MountainCarContinuous-v0"}

# Evaluations of seed S begin at Gymnasium's seeds FIRST_START + S, FIRST_START + S + 1, ...: the same starts every time.
FIRST_START = 10_000

# What a comparison cannot translate must have this value (None: not be there).
PLAIN = {
    "envs": 1, "population": 1, "replay.kind": "uniform", "replay.n_step": 1,
    "train.updates_per_step": 1.0, "train.updates_per_call": 1,
    "sac.critics": 2, "sac.target_update_interval": 1, "sac.max_gradient_norm": None, "sac.target_entropy": None,
    "td3.critics": 2, "td3.max_gradient_norm": None, "td3.behaviour_cloning": None,
}


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def setting(config, key):
    for part in key.split("."):
        config = config.get(part, {})
    return config if config != {} else None


def environment(name):
    kind, _, rest = name.partition(":")
    if kind in ("mujoco", "gym") and rest:
        return rest
    return NATIVE.get(name) or sys.exit(f"{name}: Gymnasium has no counterpart")


def arguments(config, learner, framework):
    """The arguments of the peer's constructor that say what the configuration says."""
    for key, plain in PLAIN.items():
        section = key.split(".")[0]
        if section in ("sac", "td3") and section != learner:
            continue
        if setting(config, key) != plain:
            sys.exit(f"{key} = {setting(config, key)}: only {plain} can be compared")
    own = config[learner]
    actor, critic = own["actor_learning_rate"], own["critic_learning_rate"]
    if framework == "sb3" and actor != critic:
        sys.exit("Stable-Baselines3 has one learning rate: actor and critic must be equal")
    train, replay = config["train"], config["replay"]
    given = {
        "learning_rate": actor,
        "buffer_size": replay["capacity"],
        "learning_starts": train["warmup_steps"],
        "batch_size": replay["batch"],
        "tau": own["tau"],
        "gamma": train["gamma"],
        "train_freq": 1,
        "gradient_steps": 1,
        "policy_kwargs": {"net_arch": own["hidden"]},
    }
    if framework == "sbx" and actor != critic:
        given["qf_learning_rate"] = critic
    if learner == "sac":
        temperature = own["temperature"]
        learned = temperature.get("learned")
        given["ent_coef"] = f"auto_{learned}" if learned is not None else temperature["fixed"]
        if learned is not None and own["temperature_learning_rate"] != actor:
            sys.exit("the temperature's learning rate must be the actor's: the peers have one for both")
    else:
        given |= {
            "policy_delay": own["policy_delay"],
            "target_policy_noise": own["target_noise"],
            "target_noise_clip": own["noise_clip"],
            "action_noise": own["exploration_noise"],
        }
    return given


def changed(algorithm, given):
    """The arguments that are not the peer's defaults."""
    defaults = {name: p.default for name, p in inspect.signature(algorithm.__init__).parameters.items()}
    same = {"ent_coef": "auto_1.0"}
    return {name: {"default": defaults.get(name), "here": value} for name, value in given.items()
            if value != defaults.get(name) and value != same.get(name)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("framework", choices=["sb3", "sbx"])
    p.add_argument("--like", required=True, metavar="CONFIG", help="config.toml of the run of ingle")
    p.add_argument("--run", required=True, metavar="DIR", help="where to put the run; must not be there")
    o = p.parse_args()
    with open(o.like, encoding="utf-8") as file:
        text = file.read()
    config = tomllib.loads(text)
    learner, train, seed = config["learner"], config["train"], config["seed"]
    if learner not in ("sac", "td3"):
        sys.exit(f"{learner}: only sac and td3 have a counterpart")
    given = arguments(config, learner, o.framework)
    name = environment(config["env"])

    import gymnasium
    import numpy
    import stable_baselines3
    import torch
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.noise import NormalActionNoise

    torch.set_num_threads(1)
    versions = {"python": sys.version.split()[0], "gymnasium": gymnasium.__version__, "numpy": numpy.__version__,
                "stable_baselines3": stable_baselines3.__version__, "torch": torch.__version__}
    if o.framework == "sb3":
        library, extra = stable_baselines3, {"device": "cpu"}
    else:
        # XLA's pool has one thread for each core that the process may use when JAX is started.
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, [min(allowed)])
        import jax
        import sbx

        jax.devices()
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), allowed)
        library, extra = sbx, {}
        versions |= {"sbx": sbx.__version__, "jax": jax.__version__}
    if config["env"].startswith("mujoco:"):
        import mujoco

        versions["mujoco"] = mujoco.__version__
    algorithm = {"sac": library.SAC, "td3": library.TD3}[learner]
    differs = changed(algorithm, copy.deepcopy(given))  # SBX writes into policy_kwargs
    imports = {"cpu_seconds": cpu_seconds(), "peak_mb": peak_mb()}

    os.makedirs(o.run)
    env = gymnasium.make(name)
    noise = given.get("action_noise")
    if noise is not None:
        size = env.action_space.shape[0]
        given["action_noise"] = NormalActionNoise(numpy.zeros(size), numpy.full(size, noise))
    model = algorithm("MlpPolicy", env, seed=seed, **given, **extra)
    evaluation = make_vec_env(name, n_envs=train["evaluation_episodes"])
    with open(os.path.join(o.run, "config.toml"), "w", encoding="utf-8") as file:
        file.write(text)
    with open(os.path.join(o.run, "metrics.jsonl"), "w", encoding="utf-8") as metrics:
        start, start_cpu = time.perf_counter(), cpu_seconds()
        spent = last = 0.0

        def evaluate():
            nonlocal spent, last
            before = cpu_seconds()
            evaluation.seed(FIRST_START + seed)  # of the first environment; each further one has one more
            returns, lengths = evaluate_policy(
                model, evaluation, n_eval_episodes=train["evaluation_episodes"], deterministic=True,
                return_episode_rewards=True)
            spent += cpu_seconds() - before
            last = [{"mean_return": float(numpy.mean(returns)), "std_return": float(numpy.std(returns)),
                     "mean_length": float(numpy.mean(lengths)), "episodes": len(returns)}]
            write("evaluation", members=last)
            print(f"{o.run}: step {model.num_timesteps}: {numpy.mean(returns):.1f}", flush=True)

        def write(event, **fields):
            json.dump({"event": event, "env_steps": model.num_timesteps, "updates": int(model._n_updates),
                       "seconds": time.perf_counter() - start, **fields}, metrics)
            metrics.write("\n")
            metrics.flush()

        class Evaluations(BaseCallback):
            """A rollout is one step: its start is after the update of the step before."""

            def _on_rollout_start(self):
                if 0 < self.num_timesteps < train["steps"] and self.num_timesteps % train["evaluation_interval"] == 0:
                    evaluate()

            def _on_step(self):
                return True

        model.learn(train["steps"], callback=Evaluations())
        evaluate()
        write("finished", reason="steps", evaluation=last)
        summary = {
            "env_steps": model.num_timesteps, "updates": int(model._n_updates), "seconds": time.perf_counter() - start,
            "reason": "steps", "evaluation": last,
            "peer": {
                "framework": o.framework, "versions": versions, "differs_from_default": differs,
                "training_cpu_seconds": cpu_seconds() - start_cpu, "evaluation_cpu_seconds": spent,
                "peak_mb": peak_mb(), "imports": imports,
            },
        }
    with open(os.path.join(o.run, "summary.json"), "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
