"""Plays episodes in the real Gymnasium, one environment after another, and prints what happened as JSON.

    python reference.py ID ARGUMENTS STEPS SEEDS

SEEDS has a list of seeds for each environment, one for each episode. The actions are `action(t, i)` times the bound.
"""

import json
import sys

import gymnasium
import numpy as np

identifier, arguments, steps, seeds = sys.argv[1], *map(json.loads, sys.argv[2:])


def action(t, i):
    return (t * (i + 3) * 7919 + i * 104729) % 2001 / 1000 - 1


def numbers(observation):
    return [float(value) for value in np.asarray(observation).astype(np.float32).ravel()]


result = []
for seeds_of_environment in seeds:
    environment = gymnasium.make(identifier, **arguments)
    space = environment.action_space
    next_seed = iter(seeds_of_environment)
    rows = [numbers(environment.reset(seed=next(next_seed))[0])]
    for t in range(steps):
        values = [action(t, i) for i in range(space.shape[0])]
        observation, reward, terminated, truncated, _ = environment.step(
            (np.array(values, np.float32) * space.high).astype(np.float32)
        )
        row = [numbers(observation), float(reward), bool(terminated), bool(truncated)]
        if terminated or truncated:
            observation = environment.reset(seed=next(next_seed))[0]
        rows.append([*row, numbers(observation)])
    result.append(rows)
print(json.dumps(result))
