"""Steps of Gymnasium's own SyncVectorEnv: `benches/environments.rs` runs this.

    python sync_vector_env.py ID N SECONDS
"""

import sys
import time

import gymnasium
import numpy as np

identifier, n, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
environments = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(identifier)] * n)
low, high = environments.single_action_space.low, environments.single_action_space.high
actions = np.random.default_rng(0).uniform(low, high, (256, n, *low.shape)).astype(np.float32)
environments.reset(seed=0)
for t in range(50):
    environments.step(actions[t])
start, t = time.perf_counter(), 0
while time.perf_counter() - start < seconds:
    for _ in range(10):
        environments.step(actions[t % 256])
        t += 1
print(t * n / (time.perf_counter() - start))
