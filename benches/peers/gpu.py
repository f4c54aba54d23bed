#!/usr/bin/env python3
"""SAC updates a second of PyTorch and JAX on a GPU: what `ingle bench --device cuda` is to be put beside.

    python3 benches/peers/gpu.py --impl torch-eager,torch-compile-graph,jax-scan,jax-vmap --population 8,128,512

Prints one JSON line for each implementation and population. The work is that of `ingle bench`: float32 (TF32 off unless
--tf32), observation 17, action 6, two hidden layers, twin critics, Adam 3e-4, tau 0.005, a learned temperature, batches
drawn on the device from a buffer of 100,000 transitions that lies there.

    torch-eager          one update, operation by operation
    torch-compile        the losses through torch.compile
    torch-graph          the whole update (sampling, losses, Adam, averaging) in one CUDA graph
    torch-compile-graph  the same over the compiled losses
    jax                  one jitted update a call
    jax-scan             32 updates a call, lax.scan
    jax-vmap             the same for a population of learners, vmap

Needs torch for the first four, jax and optax for the rest. `--device cpu` checks the code without a GPU (no CUDA graphs).
"""

import argparse
import json
import math
import os
import statistics
import time

OBSERVATION, ACTION, TRANSITIONS = 17, 6, 100_000
GAMMA, TAU, LEARNING_RATE, SCANNED = 0.99, 0.005, 3e-4, 32
LOG_STD = (-20.0, 2.0)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
TORCH = ["torch-eager", "torch-compile", "torch-graph", "torch-compile-graph"]
JAX = ["jax", "jax-scan", "jax-vmap"]


class Skipped(Exception):
    """What cannot be measured here, and why."""


def rates(call, wait, repeats, seconds):
    """Calls a second, of each repeat."""
    for _ in range(3):
        call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    calls = max(1, int(seconds / max(time.perf_counter() - start, 1e-6)))
    measured = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        measured.append(calls / (time.perf_counter() - start))
    return measured


def torch_update(name, options, device):
    """A function that makes one update, and a dictionary with its last loss."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    def network(inputs, outputs):
        width = options.width
        layers = [nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)]
        return nn.Sequential(*layers).to(device)

    buffer = [
        torch.randn(TRANSITIONS, OBSERVATION, device=device),
        torch.rand(TRANSITIONS, ACTION, device=device) * 2 - 1,
        torch.randn(TRANSITIONS, 1, device=device),
        torch.randn(TRANSITIONS, OBSERVATION, device=device),
        torch.full((TRANSITIONS, 1), GAMMA, device=device),
    ]
    actor = network(OBSERVATION, 2 * ACTION)
    critics = [network(OBSERVATION + ACTION, 1) for _ in range(2)]
    targets = [network(OBSERVATION + ACTION, 1) for _ in range(2)]
    for critic, target in zip(critics, targets):
        target.load_state_dict(critic.state_dict())
        target.requires_grad_(False)
    actor_parameters = list(actor.parameters())
    critic_parameters = [parameter for critic in critics for parameter in critic.parameters()]
    target_parameters = [parameter for target in targets for parameter in target.parameters()]
    log_alpha = torch.zeros(1, device=device, requires_grad=True)
    capturable = {"capturable": True} if device.type == "cuda" else {}
    critic_adam, actor_adam, alpha_adam = (
        torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True, **capturable)
        for parameters in (critic_parameters, actor_parameters, [log_alpha])
    )

    def policy(observation):
        mean, log_std = actor(observation).chunk(2, -1)
        log_std = log_std.clamp(*LOG_STD)
        noise = torch.randn_like(mean)
        u = mean + noise * log_std.exp()
        gaussian = -0.5 * noise * noise - log_std - HALF_LOG_2PI
        return torch.tanh(u), (gaussian - 2 * (math.log(2.0) - u - F.softplus(-2 * u))).sum(-1, keepdim=True)

    def critic_loss(observation, action, reward, next_observation, discount, alpha):
        with torch.no_grad():
            next_action, log_prob = policy(next_observation)
            pair = torch.cat([next_observation, next_action], -1)
            value = torch.min(targets[0](pair), targets[1](pair))
            target = reward + discount * (value - alpha * log_prob)
        pair = torch.cat([observation, action], -1)
        return F.mse_loss(critics[0](pair), target) + F.mse_loss(critics[1](pair), target)

    def actor_loss(observation, alpha):
        action, log_prob = policy(observation)
        pair = torch.cat([observation, action], -1)
        value = torch.min(critics[0](pair), critics[1](pair))
        return (alpha * log_prob - value).mean(), log_prob.detach()

    if "compile" in name:
        critic_loss = torch.compile(critic_loss, fullgraph=True, dynamic=False)
        actor_loss = torch.compile(actor_loss, fullgraph=True, dynamic=False)
    last = {}

    def update():
        rows = torch.randint(0, TRANSITIONS, (options.batch,), device=device)
        batch = [field.index_select(0, rows) for field in buffer]
        alpha = log_alpha.detach().exp()
        loss = critic_loss(*batch, alpha)
        critic_adam.zero_grad(set_to_none=True)
        loss.backward()
        critic_adam.step()
        policy_loss, log_prob = actor_loss(batch[0], alpha)
        actor_adam.zero_grad(set_to_none=True)
        policy_loss.backward(inputs=actor_parameters)
        actor_adam.step()
        log_alpha.grad = -(log_prob - ACTION).mean().reshape(1)
        alpha_adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(target_parameters, critic_parameters, TAU)
        last["critic_loss"] = loss.detach()

    return update, last, [critic_adam, actor_adam, alpha_adam]


def run_torch(name, options):
    import torch

    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = options.tf32
    torch.manual_seed(0)
    if "graph" in name and device.type != "cuda":
        raise Skipped("a CUDA graph needs a CUDA device")
    update, last, optimisers = torch_update(name, options, device)
    if "graph" in name:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(5):
                update()
        torch.cuda.current_stream().wait_stream(stream)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            update()
        update = graph.replay
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    measured = rates(update, wait, options.repeats, options.seconds)
    device_name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    return measured, last["critic_loss"].item(), device_name, {"torch": torch.__version__}


def run_jax(name, options, population):
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if options.tf32 else "highest")
    adam = optax.adam(LEARNING_RATE)
    keys = jax.random.split(jax.random.PRNGKey(0), 6)
    buffer = (
        jax.random.normal(keys[0], (TRANSITIONS, OBSERVATION)),
        jax.random.uniform(keys[1], (TRANSITIONS, ACTION), minval=-1.0),
        jax.random.normal(keys[2], (TRANSITIONS,)),
        jax.random.normal(keys[3], (TRANSITIONS, OBSERVATION)),
        jnp.full((TRANSITIONS,), GAMMA),
    )

    def network(key, inputs, outputs):
        def layer(key, rows, columns):
            bound = rows**-0.5
            return jax.random.uniform(key, (rows, columns), minval=-bound, maxval=bound), jnp.zeros((columns,))

        sizes = [(inputs, options.width), (options.width, options.width), (options.width, outputs)]
        return [layer(key, *size) for key, size in zip(jax.random.split(key, 3), sizes)]

    def init(key):
        key, of_actor, of_critic = jax.random.split(key, 3)
        actor = network(of_actor, OBSERVATION, 2 * ACTION)
        critic = jax.vmap(lambda key: network(key, OBSERVATION + ACTION, 1))(jax.random.split(of_critic, 2))
        log_alpha = jnp.zeros(())
        return {
            "actor": actor, "critic": critic, "target": jax.tree.map(jnp.copy, critic), "log_alpha": log_alpha,
            "adam": (adam.init(actor), adam.init(critic), adam.init(log_alpha)), "key": key,
        }

    def forward(layers, x):
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ layers[-1][0] + layers[-1][1]

    def values(critic, observation, action):
        pair = jnp.concatenate([observation, action], -1)
        return jax.vmap(forward, (0, None))(critic, pair)[..., 0]

    def policy(actor, observation, key):
        mean, log_std = jnp.split(forward(actor, observation), 2, -1)
        log_std = jnp.clip(log_std, *LOG_STD)
        noise = jax.random.normal(key, mean.shape)
        u = mean + noise * jnp.exp(log_std)
        gaussian = -0.5 * noise**2 - log_std - HALF_LOG_2PI
        return jnp.tanh(u), (gaussian - 2 * (math.log(2.0) - u - jax.nn.softplus(-2 * u))).sum(-1)

    def step(gradient, moments, parameters):
        change, moments = adam.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, change), moments

    def update(state, _):
        key, of_rows, of_next, of_current = jax.random.split(state["key"], 4)
        rows = jax.random.randint(of_rows, (options.batch,), 0, TRANSITIONS)
        observation, action, reward, next_observation, discount = (field[rows] for field in buffer)
        alpha = jnp.exp(state["log_alpha"])
        next_action, next_log_prob = policy(state["actor"], next_observation, of_next)
        next_value = values(state["target"], next_observation, next_action).min(0)
        target = reward + discount * (next_value - alpha * next_log_prob)

        def critic_loss(critic):
            return ((values(critic, observation, action) - target) ** 2).mean(1).sum()

        of_actor, of_critic, of_alpha = state["adam"]
        loss, gradient = jax.value_and_grad(critic_loss)(state["critic"])
        critic, of_critic = step(gradient, of_critic, state["critic"])

        def actor_loss(actor):
            action, log_prob = policy(actor, observation, of_current)
            return (alpha * log_prob - values(critic, observation, action).min(0)).mean(), log_prob.mean()

        (_, log_prob), gradient = jax.value_and_grad(actor_loss, has_aux=True)(state["actor"])
        actor, of_actor = step(gradient, of_actor, state["actor"])
        log_alpha, of_alpha = step(-(log_prob - ACTION), of_alpha, state["log_alpha"])
        target_critic = jax.tree.map(lambda old, new: old + TAU * (new - old), state["target"], critic)
        state = {
            "actor": actor, "critic": critic, "target": target_critic, "log_alpha": log_alpha,
            "adam": (of_actor, of_critic, of_alpha), "key": key,
        }
        return state, loss

    scanned = 1 if name == "jax" else SCANNED

    def many(state):
        return jax.lax.scan(update, state, None, length=scanned)

    if name == "jax-vmap":
        many, state = jax.vmap(many), jax.vmap(init)(jax.random.split(keys[5], population))
    else:
        population, state = 1, init(keys[5])
    many = jax.jit(many, donate_argnums=0)
    box = [state, None]

    def call():
        box[0], box[1] = many(box[0])

    measured = rates(call, lambda: jax.block_until_ready(box[1]), options.repeats, options.seconds)
    device = jax.devices()[0]
    return (
        [rate * scanned * population for rate in measured],
        float(jnp.mean(box[1])),
        getattr(device, "device_kind", str(device)),
        {"jax": jax.__version__},
    )


def measure(name, options, population):
    """The line of one implementation and population."""
    line = {"impl": name, "population": population, "batch": options.batch, "width": options.width, "tf32": options.tf32}
    try:
        if name in TORCH:
            measured, loss, device, versions = run_torch(name, options)
        else:
            measured, loss, device, versions = run_jax(name, options, population)
    except Skipped as reason:
        return line | {"skipped": str(reason)}
    except Exception as error:  # one that fails must not hide the others
        return line | {"error": f"{type(error).__name__}: {error}"[:300]}
    if not math.isfinite(loss):
        return line | {"error": f"the critics' loss is {loss}"}
    numbers = {"median": statistics.median(measured), "min": min(measured), "max": max(measured)}
    return line | {"updates_per_s": numbers, "critic_loss": loss, "device": device, "versions": versions}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--impl", default=",".join(TORCH + JAX))
    p.add_argument("--population", default="8,128,512", help="of jax-vmap; the others train one learner")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--width", type=int, default=256)
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    p.add_argument("--tf32", action="store_true")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0, help="of one repeat")
    options = p.parse_args()
    names = options.impl.split(",")
    unknown = [name for name in names if name not in TORCH + JAX]
    if unknown:
        p.error(f"--impl: {', '.join(unknown)}: choose from {', '.join(TORCH + JAX)}")
    for name in names:
        populations = [int(number) for number in options.population.split(",")] if name == "jax-vmap" else [1]
        for population in populations:
            print(json.dumps(measure(name, options, population)), flush=True)


if __name__ == "__main__":
    main()
