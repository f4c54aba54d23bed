#!/usr/bin/env python3
"""Puts `ingle bench` beside a peer, in turns on the same cores, and prints the ratio of each turn.

    cargo build --release
    .venv/bin/python benches/peers/beside.py --turns 5
    .venv/bin/python benches/peers/beside.py --points sac:256:256:1,td3:256:256:2 --peer jax-scan --json
    python3 benches/peers/beside.py --points sac:256:256:1,td3:256:256:2 --peer rlevo
    python3 benches/peers/beside.py --against ../before/target/release/ingle    # another build of ingle

A point is learner:batch:width:threads. A Python peer runs under this Python (requirements.txt); a Rust peer (rlevo, thrust-rl,
modurl) is in the program that `rust/` builds with the feature of its name (README.md). On a shared machine single figures differ
from minute to minute; the median of the turns' ratios is what to read.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RUST_PEERS = ("rlevo", "thrust-rl", "modurl")


def measured(command, cores):
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
        )
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}; build it first (README.md)")
    if result.returncode != 0:
        last = (result.stderr.strip() or result.stdout.strip() or "no message").splitlines()[-1]
        sys.exit(f"{command[0]}: {last}")
    return json.loads(result.stdout.strip().splitlines()[-1])["updates_per_s"]["median"]


def ingle_command(program, learner):
    return [program, "bench", "--learner", learner, "--seconds", "1", "--json"]


def peer_command(o, learner):
    if o.against:
        return ingle_command(o.against, learner)
    if o.peer in RUST_PEERS:
        return [o.rust, "--peer", o.peer, "--algo", learner]
    return [sys.executable, os.path.join(HERE, "run.py"), "--peer", o.peer, "--wait", "0", "--algo", learner]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ingle", default=os.path.join(ROOT, "target", "release", "ingle"))
    p.add_argument("--rust", default=os.path.join(ROOT, "target", "rust-peers", "release", "rust-peers"),
                   help="the program of the Rust peers, built with the peer's feature")
    p.add_argument("--peer", default="jax-scan", help=f"one of run.py, or of rust/: {', '.join(RUST_PEERS)}")
    p.add_argument("--against", metavar="PROGRAM", help="another build of ingle, in the place of a peer")
    p.add_argument("--points", default="sac:256:256:1,sac:256:256:2,sac:256:64:1,sac:1024:256:1,td3:256:256:1")
    p.add_argument("--turns", type=int, default=5)
    p.add_argument("--json", action="store_true", help="one object per point instead of a table")
    o = p.parse_args()
    peer = "before" if o.against else o.peer
    allowed = sorted(os.sched_getaffinity(0))
    if not o.json:
        print(f"{'learner':8} {'batch':>6} {'width':>6} {'cores':>6} {'ingle':>8} {peer:>9} {'ratio':>7}   (turns: lowest to highest)")
    for point in o.points.split(","):
        learner, batch, width, threads = point.split(":")
        if int(threads) > len(allowed):
            print(f"skipped {point}: this process may use {len(allowed)} cores only", file=sys.stderr)
            continue
        cores = allowed[: int(threads)]
        shape = ["--batch", batch, "--width", width, "--threads", threads, "--repeats", "3"]
        ours, theirs = [], []
        for _ in range(o.turns):
            ours.append(measured([*ingle_command(o.ingle, learner), *shape], cores))
            theirs.append(measured([*peer_command(o, learner), *shape], cores))
        ratios = [a / b for a, b in zip(ours, theirs)]
        if o.json:
            print(json.dumps({"learner": learner, "batch": int(batch), "width": int(width), "threads": int(threads),
                              "peer": peer, "ingle_updates_per_s": ours, "peer_updates_per_s": theirs,
                              "ratio": statistics.median(ratios)}), flush=True)
        else:
            print(f"{learner:8} {batch:>6} {width:>6} {threads:>6} {statistics.median(ours):8.1f} "
                  f"{statistics.median(theirs):9.1f} {statistics.median(ratios):7.2f}   "
                  f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
