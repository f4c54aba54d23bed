"""Stable-Baselines3's TD3 as an external learner of ingle: it owns its networks, ingle its samples.

    pip install stable-baselines3
    cargo run --release -p ingle --example external_learner -- python3 examples/external_learner.py

The protocol is on the page of ingle's module `train::process`.
"""

import io
import os
import struct
import sys

# What libraries print must not get between the frames: standard output becomes standard error for them.
protocol = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

import gymnasium
import numpy as np
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples


def read_exactly(count):
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        sys.exit(0)  # the input has ended, and with it this learner
    return data


def read_frame():
    kind, length = struct.unpack("<cI", read_exactly(5))
    return kind, io.BytesIO(read_exactly(length))


def write_frame(kind, payload):
    protocol.write(struct.pack("<cI", kind, len(payload)) + payload)
    protocol.flush()


def integers(payload, count=1):
    return struct.unpack(f"<{count}I", payload.read(4 * count))


def reals(payload, *shape):
    return np.frombuffer(payload.read(4 * int(np.prod(shape))), "<f4").reshape(shape)


class Given:
    """A replay buffer that hands out the batch it was given."""

    batch = None

    def sample(self, batch_size, env=None):
        return self.batch


class Spaces(gymnasium.Env):
    """No environment: only its spaces are read."""

    def __init__(self, observation, action):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action,))


class Learner:
    def __init__(self, observation, action, seed):
        torch.set_num_threads(1)
        self.observation, self.action = observation, action
        # Discounts come with the samples: γ is 1, and what is missing from 1 is SB3's `dones`.
        self.td3 = TD3("MlpPolicy", Spaces(observation, action), gamma=1.0, seed=seed, buffer_size=1)
        self.td3.replay_buffer = Given()
        self.td3.set_logger(Logger(None, []))

    def step(self, payload):
        rows, weighted = integers(payload, 2)
        if weighted:
            raise ValueError("SB3's TD3 knows no importance weights")
        sizes = [(rows, self.observation), (rows, self.action), (rows, 1), (rows, 1), (rows, self.observation)]
        fields = [torch.from_numpy(reals(payload, *size).copy()) for size in sizes]
        observation, action, reward, discount, following = fields
        given = {"observations": observation, "actions": action, "next_observations": following}
        self.td3.replay_buffer.batch = ReplayBufferSamples(**given, dones=1 - discount, rewards=reward)
        self.td3.train(gradient_steps=1, batch_size=rows)
        # No TD errors, and the one metric that was asked for.
        return struct.pack("<If", 0, self.td3.logger.name_to_value["train/critic_loss"])

    def act(self, payload):
        rows, exploring = integers(payload, 2)
        action, _ = self.td3.predict(reals(payload, rows, self.observation), deterministic=True)
        if exploring:
            action = np.clip(action + 0.1 * reals(payload, rows, self.action), -1, 1)
        return np.ascontiguousarray(action, "<f4").tobytes()

    def state(self, _):
        file = io.BytesIO()
        self.td3.save(file, exclude=["replay_buffer"])
        return file.getvalue()

    def restore(self, payload):
        self.td3.set_parameters(payload)
        return b""


kind, hello = read_frame()
version, observation, action = integers(hello, 3)
(seed,) = struct.unpack("<Q", hello.read(8))
metrics = [hello.read(*integers(hello)).decode() for _ in range(*integers(hello))]
if (kind, version, metrics) != (b"H", 1, ["td_loss"]):
    write_frame(b"E", f"expected version 1 and the metric td_loss, got {version} and {metrics}".encode())
    sys.exit(1)
learner = Learner(observation, action, seed)
write_frame(b"H", struct.pack("<I", 1))
requests = {b"S": learner.step, b"A": learner.act, b"G": learner.state, b"P": learner.restore}
while True:
    kind, payload = read_frame()
    try:
        answer = requests[kind](payload)
    except Exception as error:
        write_frame(b"E", repr(error).encode())
    else:
        write_frame(kind, answer)
