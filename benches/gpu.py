#!/usr/bin/env python3
"""One table of SAC updates a second on a GPU: ingle, eager and replayed, beside PyTorch and JAX, in one run.

    just gpu                                     # CUDA and wgpu, populations of 1, 8, 128 and 512, all peers
    python3 benches/gpu.py --help

Runs programs that are there (`ingle`, built with the devices' features, and `benches/peers/gpu.py` under this Python) in
turns: each round measures every contender once, and the table has the medians over the rounds. It says what was
measured on, in which precision, by which command. Peers that are not installed are skipped with the reason.

Without a GPU, this shows that everything works as far as it can there, through a software Vulkan:

    python3 benches/gpu.py --devices wgpu --peer-device cpu --population 1,2 --batch 8 --width 8 --seconds 0.2 --rounds 1
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def lines(command):
    """The JSON lines that a command prints, or one that says how it failed."""
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return [{"error": f"{command[0]}: {error}"}]
    found = []
    for line in result.stdout.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()
        found.append({"error": said[-1][:300]})
    return found


def contenders(options):
    """What is measured: a command for each, and how its lines are read."""
    shape = ["--batch", str(options.batch), "--width", str(options.width), "--seconds", str(options.seconds)]
    for device in options.devices.split(","):
        for graph, how in [("off", "eager"), ("auto", "replayed")]:
            command = [options.ingle, "bench", "--learner", options.learner, "--device", device, "--graph", graph]
            command += ["--population", options.population, *shape, "--repeats", "1", "--json"]
            yield f"ingle, {device}, {how}", command
    if options.peers:
        several = [number for number in options.population.split(",") if number != "1"]
        for peer in options.peers.split(","):
            command = [sys.executable, os.path.join(HERE, "peers", "gpu.py"), "--impl", peer, *shape]
            command += ["--repeats", "1", "--device", options.peer_device]
            command += ["--population", ",".join(several or ["1"])]
            yield peer, command + (["--tf32"] if options.tf32 else [])


def gpu_name():
    """What the driver calls the GPU."""
    found = subprocess.run(
        "nvidia-smi --query-gpu=name,driver_version --format=csv,noheader", shell=True, capture_output=True, text=True
    )
    return found.stdout.strip() if found.returncode == 0 else "no NVIDIA driver"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ingle", default=os.path.join(HERE, "..", "target", "release", "ingle"))
    p.add_argument("--learner", default="sac")
    p.add_argument("--devices", default="cuda,wgpu", help="of ingle")
    p.add_argument("--peers", default="torch-eager,torch-compile,torch-graph,torch-compile-graph,jax,jax-scan,jax-vmap",
                   help="of benches/peers/gpu.py; empty for none")
    p.add_argument("--peer-device", default="cuda", choices=["cuda", "cpu"])
    p.add_argument("--population", default="1,8,128,512")
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--width", type=int, default=256)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    p.add_argument("--tf32", action="store_true", help="let the peers use TF32")
    p.add_argument("--out", help="write every measurement as a JSON line, too")
    options = p.parse_args()

    measured, notes, kernels = {}, {}, {}
    out = open(options.out, "w") if options.out else None
    for number in range(options.rounds):
        for name, command in contenders(options):
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            for line in lines(command):
                if out:
                    print(json.dumps({"round": number, "contender": name, **line}), file=out, flush=True)
                key = (name, line.get("population", 0))
                reason = line.get("error") or line.get("skipped")
                if reason:
                    notes[key] = reason
                    continue
                if "eager" in line and "replayed" in name and line["eager"]:
                    notes[key] = f"not replayed: {line['eager']}"
                    continue
                # ingle counts updates of the whole population, the peers those of its members.
                members = line["population"] if name.startswith("ingle") else 1
                measured.setdefault(key, []).append(line["updates_per_s"]["median"] * members)
                if line.get("kernels_per_update"):
                    kernels[key] = line["kernels_per_update"]
                notes.setdefault(("device", name), line.get("device", ""))

    tf32 = "TF32 allowed" if options.tf32 else "TF32 off"
    print(f"GPU: {gpu_name()}; host: {platform.machine()}, {os.cpu_count()} cores")
    print(f"precision: float32; the peers with {tf32}; ingle as burn's tuning chooses, which may be TF32 on tensor cores")
    print(f"command: {shlex.join([os.path.relpath(sys.executable), *sys.argv])}")
    print(f"batch {options.batch}, two layers of {options.width}; members' updates a second, medians of {options.rounds} rounds\n")
    print("| contender | P | updates/s | lowest | highest | kernels/update |")
    print("|---|---|---|---|---|---|")
    for (name, population), values in measured.items():
        count = kernels.get((name, population))
        row = [name, str(population), f"{statistics.median(values):,.1f}", f"{min(values):,.1f}", f"{max(values):,.1f}"]
        print(f"| {' | '.join(row)} | {'–' if count is None else f'{count:.1f}'} |")
    failed = {key: reason for key, reason in notes.items() if key[0] != "device"}
    if failed:
        print("\nNot measured:")
        for (name, population), reason in failed.items():
            print(f"- {name}{f', P = {population}' if population else ''}: {reason}")
    sys.exit(0 if measured else 1)


if __name__ == "__main__":
    main()
