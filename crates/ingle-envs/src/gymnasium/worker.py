"""Runs a few Gymnasium environments for ingle. Frames come on standard input and go to standard output, which the
environments themselves never see. A frame is its length (uint32) and its bytes, everything little-endian:

    request 0: JSON {"id", "arguments", "count"}, once, first
        reply: O, A (uint32), then lower and upper bounds of observations and actions (float32)
    request 1, for each environment: seed (uint64), T (uint32), T actions (float32 [T, A]): reset, then these steps
        reply: observations (float32 [count, O])
    request 2: actions (float32 [count, A]), then the seeds (uint64 [count]) of the episodes that begin in this step
        reply: next observations, observations (float32 [count, O]), rewards (float64 [count]),
               flags (uint8 [count]: 1 terminated, 2 truncated)

A reply begins with one byte: 0, or for a failure 1 (something is not installed), 2 (the environment cannot be made) or
3 (it failed), followed by the index of the environment (uint32) and the Python error as text.
"""

import json
import os
import signal
import struct
import sys


def main():
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)  # what an environment prints goes to standard error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us by closing the pipe

    def receive():
        length = requests.read(4)
        if len(length) < 4:
            os._exit(0)
        return requests.read(struct.unpack("<I", length)[0])

    def send(*parts):
        replies.write(struct.pack("<I", sum(len(part) for part in parts)))
        for part in parts:
            replies.write(part)
        replies.flush()

    def fail(kind, index, error):
        text = f"{type(error).__name__}: {error}"
        send(struct.pack("<BI", kind, index), text.encode("utf-8", "replace"))

    try:
        environments, flatten, spaces = start(json.loads(receive()[1:]))
    except BaseException as error:
        name = type(error).__name__
        missing = isinstance(error, ImportError) or name in ("DependencyNotInstalled", "MissingDependency")
        fail(1 if missing else 2, 0, error)
        return

    import numpy as np

    observation_bounds, action_space = spaces
    count, size = len(environments), len(observation_bounds[0])
    shape, dtype = action_space.shape, action_space.dtype
    bounds = [*observation_bounds, action_space.low.ravel(), action_space.high.ravel()]
    width = len(bounds[2])
    send(b"\0", struct.pack("<II", size, width), *(np.asarray(bound, "<f4").tobytes() for bound in bounds))

    next_observations = np.empty((count, size), "<f4")
    observations = np.empty((count, size), "<f4")
    rewards = np.empty(count, "<f8")
    flags = np.empty(count, "u1")

    def actions_of(data, rows, offset):
        values = np.frombuffer(data, "<f4", rows * width, offset)
        return values.reshape(rows, *shape).astype(dtype)

    while True:
        request = receive()
        index = 0
        try:
            if request[0] == 1:
                offset = 1
                for index, environment in enumerate(environments):
                    seed, steps = struct.unpack_from("<QI", request, offset)
                    actions = actions_of(request, steps, offset + 12)
                    offset += 12 + 4 * steps * width
                    observation, _ = environment.reset(seed=seed)
                    for action in actions:
                        observation = environment.step(action)[0]
                    observations[index] = flatten(observation)
                send(b"\0", observations.data.cast("B"))
            else:
                actions = actions_of(request, count, 1)
                for index, environment in enumerate(environments):
                    observation, reward, terminated, truncated, _ = environment.step(actions[index])
                    next_observations[index] = observations[index] = flatten(observation)
                    rewards[index] = reward
                    flags[index] = bool(terminated) | bool(truncated) << 1
                    if flags[index]:
                        (seed,) = struct.unpack_from("<Q", request, 1 + 4 * count * width + 8 * index)
                        observations[index] = flatten(environment.reset(seed=seed)[0])
                parts = (next_observations, observations, rewards, flags)
                send(b"\0", *(part.data.cast("B") for part in parts))
        except Exception as error:
            fail(3, index, error)


def start(request):
    import gymnasium
    import numpy as np

    environments = [gymnasium.make(request["id"], **request["arguments"]) for _ in range(request["count"])]
    space = environments[0].action_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise TypeError(f"its actions are {space}, and only continuous actions (a Box) can be learned here")
    space = environments[0].observation_space
    if isinstance(space, gymnasium.spaces.Box):
        flatten = np.ravel
    else:  # a dictionary or tuple: its parts, one after another
        flat = gymnasium.spaces.utils.flatten_space(space)
        if not isinstance(flat, gymnasium.spaces.Box):
            raise TypeError(f"its observations are {space}, which cannot be flattened into numbers")
        flatten, parts, space = (lambda value: gymnasium.spaces.utils.flatten(parts, value)), space, flat
    return environments, flatten, ((space.low.ravel(), space.high.ravel()), environments[0].action_space)


main()
