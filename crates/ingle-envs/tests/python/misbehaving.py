"""An environment that counts, and does what one must not do. `gym:tests.python.misbehaving:Counter-v0`"""

import os
import random
import time

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Counter(gymnasium.Env):
    """Observes the episode's seed, the step and the sum of the actions.

    At step `at` of an episode it does what `trouble` says; with a file `once`, only if that does not exist yet.
    """

    def __init__(self, trouble="", at=5, once=None, actions="box", observations="box"):
        print("an environment may print", flush=True)
        self.trouble, self.at, self.once = trouble, at, once
        self.action_space = Box(-2.0, 2.0, (1, 2), np.float64) if actions == "box" else Discrete(3)
        if actions == "unbounded":
            self.action_space = Box(-np.inf, np.inf, (1,))
        self.as_dictionary = observations == "dictionary"
        box = Box(-np.inf, np.inf, (3,), np.float64)
        self.observation_space = Dict({"a": box, "b": Discrete(2)}) if self.as_dictionary else box
        if trouble == "start":
            raise ValueError("one of\ntwo lines")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.t, self.sum = seed, 0, 0.0
        return self.observe(), {}

    def step(self, action):
        assert action.shape == (1, 2) and action.dtype == np.float64 and action.flags.writeable
        self.t += 1
        self.sum += float(action.sum())
        if self.t == self.at and self.first():
            if self.trouble == "exit":
                print("the last words", flush=True)
                os._exit(7)
            if self.trouble == "hang":
                time.sleep(1000)
            if self.trouble == "raise":
                raise RuntimeError("it is broken")
            if self.trouble == "nan":
                self.sum = float("nan")
        if self.trouble == "noise" or self.trouble == "exit" and self.at == 7:
            self.sum += random.SystemRandom().random()
        print("step", self.t)
        return self.observe(), self.sum, self.t == 12, False, {}

    def first(self):
        """Whether nobody else was here before: of several processes, one makes the file."""
        if self.once is None:
            return True
        try:
            open(self.once, "x").close()
            return True
        except FileExistsError:
            return False

    def observe(self):
        values = np.array([self.seed % 1000, self.t, self.sum])
        return {"a": values, "b": self.t % 2} if self.as_dictionary else values


gymnasium.register("Counter-v0", Counter)
