"""Records reference traces of behaviour cloning with JAX in float64, for `src/traces.rs` to replay.

    python -m venv .venv && .venv/bin/pip install jax numpy
    .venv/bin/python crates/ingle-testing/traces/record_bc.py

Writes `bc.safetensors`, `bc_likelihood.safetensors` beside this file. It shares no code with the Rust: JAX
differentiates the losses as they are in the papers, and the density of the squashed Gaussian is that of the normal
distribution at artanh(a), over 1 - a^2.
"""

import json
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

OBSERVATION, ACTION, HIDDEN, BATCH, STEPS, LR = 3, 2, [16, 16], 8, 10, 1e-3


def outputs(parameters, x):
    for index, (weight, bias) in enumerate(parameters):
        x = x @ weight + bias
        if index + 1 < len(parameters):
            x = jnp.maximum(x, 0)
    return x


def squared_error(parameters, observation, action, weight):
    return jnp.mean(weight * jnp.mean((jnp.tanh(outputs(parameters, observation)) - action) ** 2, axis=1))


def negative_log_likelihood(parameters, observation, action, weight):
    mean, raw = jnp.split(outputs(parameters, observation), 2, axis=1)
    action = jnp.clip(action, -(1 - 2**-20), 1 - 2**-20)
    normal = jax.scipy.stats.norm.logpdf(jnp.arctanh(action), mean, jnp.exp(jnp.clip(raw, -20, 2)))
    return -jnp.mean(weight * jnp.sum(normal - jnp.log(1 - action**2), axis=1))


def adam(parameters, gradient, first, second, step):
    tree = jax.tree_util.tree_map
    first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = tree(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradient)
    change = tree(
        lambda m, v: LR * (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.999**step)) + 1e-8), first, second
    )
    return tree(lambda p, c: p - c, parameters, change), first, second


def clipped(gradient, limit):
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree_util.tree_leaves(gradient)))
    return jax.tree_util.tree_map(lambda g: g * jnp.minimum(1.0, limit / (norm + 1e-6)), gradient)


def named(prefix, parameters):
    for layer, (weight, bias) in enumerate(parameters):
        yield f"{prefix}/{layer}/weight", weight
        yield f"{prefix}/{layer}/bias", bias


def write(path, tensors, meta):
    header, data, offset = {"__metadata__": {"meta": json.dumps(meta)}}, [], 0
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name], dtype="<f8")
        end = offset + array.nbytes
        header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": [offset, end]}
        data.append(array.tobytes())
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def record(name, loss, bc_loss, seed, weighted, limit):
    random = np.random.default_rng(seed)
    sizes = [OBSERVATION, *HIDDEN, ACTION * (1 if bc_loss == "mean_squared_error" else 2)]
    parameters = [
        tuple(random.uniform(-1, 1, shape) / np.sqrt(fan_in) for shape in [(fan_in, out), (out,)])
        for fan_in, out in zip(sizes, sizes[1:])
    ]
    tensors = dict(named("init/actor", parameters))
    first = second = jax.tree_util.tree_map(jnp.zeros_like, parameters)
    for step in range(STEPS):
        observation = random.normal(size=(BATCH, OBSERVATION))
        action = np.tanh(random.normal(size=(BATCH, ACTION)))
        if bc_loss == "log_likelihood":
            action[0] = [1.0, -1.0]  # saturated
        weight = random.uniform(0.1, 1, BATCH) if weighted else np.ones(BATCH)
        sample = {
            "observation": observation,
            "action": action,
            "reward": random.normal(size=BATCH),
            "discount": np.full(BATCH, 0.99),
            "next_observation": random.normal(size=(BATCH, OBSERVATION)),
        }
        if weighted:
            sample["importance_weight"] = weight
        tensors.update((f"step/{step}/{field}", array) for field, array in sample.items())
        value, gradient = jax.value_and_grad(loss)(parameters, observation, action, weight)
        if limit is not None:
            gradient = clipped(gradient, limit)
        parameters, first, second = adam(parameters, gradient, first, second, step + 1)
        tensors.update(named(f"expect/{step}/actor", parameters))
        tensors[f"expect/{step}/output/cloning_loss"] = value.reshape(1)
    meta = {
        "name": name,
        "learner": "bc",
        "batch": BATCH,
        "steps": STEPS,
        "observation": OBSERVATION,
        "action": ACTION,
        "hidden": HIDDEN,
        "lr": LR,
        "bc_loss": bc_loss,
        "max_gradient_norm": limit,
    }
    write(Path(__file__).with_name(f"{name}.safetensors"), tensors, meta)


record("bc", squared_error, "mean_squared_error", 0, weighted=False, limit=None)
record("bc_likelihood", negative_log_likelihood, "log_likelihood", 1, weighted=True, limit=5.0)
