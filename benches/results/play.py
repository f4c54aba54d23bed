#!/usr/bin/env python3
"""Plays an exported policy of ingle in Gymnasium from the starts of peer.py's evaluations, as a run with one evaluation.

    ingle export runs/ingle --out policy.onnx
    .venv/bin/python benches/results/play.py policy.onnx --like runs/ingle --run runs/played

How good a policy looks depends on where its few evaluation episodes begin: this makes the beginnings equal.
"""

import argparse
import json
import os
import shutil
import tomllib

import gymnasium
import numpy
import onnxruntime
from peer import FIRST_START, environment


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("policy", help="an .onnx file of `ingle export`")
    p.add_argument("--like", required=True, metavar="RUN", help="the run of ingle that the policy is of")
    p.add_argument("--run", required=True, metavar="DIR", help="where to put the run; must not be there")
    o = p.parse_args()
    with open(os.path.join(o.like, "config.toml"), "rb") as file:
        config = tomllib.load(file)
    with open(os.path.join(o.like, "summary.json"), encoding="utf-8") as file:
        summary = json.load(file)
    session = onnxruntime.InferenceSession(o.policy, providers=["CPUExecutionProvider"])
    env = gymnasium.make(environment(config["env"]))
    returns, lengths = [], []
    for start in range(config["train"]["evaluation_episodes"]):
        observation, _ = env.reset(seed=FIRST_START + config["seed"] + start)
        done, earned, steps = False, 0.0, 0
        while not done:
            row = numpy.asarray(observation, numpy.float32)[None]
            action = session.run(None, {"observation": row})[0][0]
            observation, reward, terminated, truncated, _ = env.step(action)
            done, earned, steps = terminated or truncated, earned + float(reward), steps + 1
        returns.append(earned)
        lengths.append(steps)
    evaluation = [{"mean_return": float(numpy.mean(returns)), "std_return": float(numpy.std(returns)),
                   "mean_length": float(numpy.mean(lengths)), "episodes": len(returns)}]
    at = {"env_steps": summary["env_steps"], "updates": summary["updates"], "seconds": summary["seconds"]}
    os.makedirs(o.run)
    shutil.copy(os.path.join(o.like, "config.toml"), o.run)
    with open(os.path.join(o.run, "metrics.jsonl"), "w", encoding="utf-8") as file:
        for line in ({"event": "evaluation", **at, "members": evaluation},
                     {"event": "finished", **at, "reason": "steps", "evaluation": evaluation}):
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
