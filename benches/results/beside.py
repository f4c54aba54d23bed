#!/usr/bin/env python3
"""SAC and TD3 of ingle beside Stable-Baselines3 and SBX: trains all, prints the table of docs/results.md, draws the curves.

    cargo build --release
    .venv/bin/python benches/results/beside.py --jobs 2        # this Python has benches/peers/requirements.txt

Runs are put below runs/results/beside; one that is finished is not trained again, so that the command can be stopped and
repeated. Each run is a process of one thread; the peers get their settings from the file of ingle's run (see peer.py). CPU time and memory are those of the whole process, evaluations included; in brackets
without the start of the interpreter and the imports. Variables: INGLE, the program (default: target/release/ingle); NICE (10).
"""

import argparse
import collections
import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RUNS = os.path.join("runs", "results", "beside")
INGLE = os.environ.get("INGLE", os.path.join(ROOT, "target", "release", "ingle"))
WARMUP = 1_000
NAMES = {"ingle": "ingle", "played": "ingle, from the peers' starts", "sb3": "Stable-Baselines3", "sbx": "SBX"}

Task = collections.namedtuple("Task", "name env steps interval learners frameworks")
TASKS = [
    Task("Pendulum-v1", "pendulum", 10_000, 1_000, ("sac", "td3"), ("ingle", "sbx", "sb3")),
    Task("InvertedPendulum-v5", "mujoco:InvertedPendulum-v5", 10_000, 1_000, ("sac", "td3"), ("ingle", "sbx")),
    Task("MountainCarContinuous-v0", "mountain-car-continuous", 10_000, 1_000, ("sac",), ("ingle", "sbx")),
    Task("HalfCheetah-v5", "mujoco:HalfCheetah-v5", 100_000, 10_000, ("sac",), ("ingle", "sbx")),
]

Run = collections.namedtuple("Run", "task learner framework seed")


def directory(run):
    return os.path.join(RUNS, run.task.name, f"{run.framework}-{run.learner}", str(run.seed))


def finished(run):
    return os.path.exists(os.path.join(directory(run), "cost.json"))


def command(run):
    path = directory(run)
    if run.framework == "ingle":
        task = run.task
        return [INGLE, "train", run.learner, "--env", task.env, "--python", sys.executable, "--seed", str(run.seed),
                "--steps", str(task.steps), "--set", f"train.evaluation_interval={task.interval}",
                "--set", f"train.warmup_steps={WARMUP}",
                "--threads", "1", "--run", path]
    like = os.path.join(directory(run._replace(framework="ingle")), "config.toml")
    for _ in range(600):  # it may just be starting
        if os.path.exists(like):
            break
        time.sleep(0.1)
    return [sys.executable, os.path.join(HERE, "peer.py"), run.framework, "--like", like, "--run", path]


def train(run):
    """Trains in a process of its own, and writes down what that took."""
    path = directory(run)
    for old in [run, run._replace(framework="played")] if run.framework == "ingle" else [run]:
        shutil.rmtree(directory(old), ignore_errors=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(["nice", "-n", os.environ.get("NICE", "10"), *command(run)], stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{path}: exit code {process.returncode}, see {path}.log")
    cost = {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}
    with open(os.path.join(path, "cost.json"), "w", encoding="utf-8") as file:
        json.dump(cost, file)
    print(f"{path}: {cost['cpu_seconds']:.0f} s of CPU time, {cost['peak_mb']:.0f} MB", file=sys.stderr, flush=True)


def play(run):
    """Plays the last policy of a run of ingle from the starts of the peers' evaluations, and returns the run of that."""
    played = run._replace(framework="played")
    path, policy = directory(played), os.path.join(directory(run), "policy.onnx")
    if not os.path.exists(os.path.join(path, "metrics.jsonl")):
        shutil.rmtree(path, ignore_errors=True)
        ingle("export", directory(run), "--out", policy)
        script = os.path.join(HERE, "play.py")
        subprocess.run([sys.executable, script, policy, "--like", directory(run), "--run", path], check=True)
    return played


def read(run, name):
    with open(os.path.join(directory(run), name), encoding="utf-8") as file:
        return json.load(file)


def ingle(*arguments):
    return subprocess.run([INGLE, *arguments], check=True, capture_output=True, text=True).stdout


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--jobs", type=int, default=1, help="processes at once, of one thread each (default: 1)")
    p.add_argument("--seeds", default="0,1,2", help="default: 0,1,2")
    p.add_argument("--tasks", default=",".join(task.name for task in TASKS), help="default: %(default)s")
    p.add_argument("--learners", default="sac,td3", help="default: sac,td3")
    p.add_argument("--frameworks", default="ingle,sbx,sb3", help="default: ingle,sbx,sb3")
    p.add_argument("--table", action="store_true", help="train nothing: table and figures of the runs that are there")
    o = p.parse_args()
    os.chdir(ROOT)
    if o.jobs < 1:
        sys.exit(f"--jobs: must be at least 1, got {o.jobs}")
    if not shutil.which(INGLE):
        sys.exit(f"{INGLE} is not there: build it (cargo build --release), or set INGLE")
    tasks = {task.name: task for task in TASKS}
    unknown = [name for name in o.tasks.split(",") if name not in tasks]
    if unknown:
        sys.exit(f"--tasks: there is no {unknown[0]}; there are {', '.join(tasks)}")
    # Seed by seed, the frameworks in turns: what is there when somebody stops it is balanced.
    runs = [
        Run(tasks[name], learner, framework, int(seed))
        for name in o.tasks.split(",") for seed in o.seeds.split(",")
        for learner in tasks[name].learners if learner in o.learners.split(",")
        for framework in tasks[name].frameworks if framework in o.frameworks.split(",")
    ]
    if not o.table:
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            list(pool.map(train, [run for run in runs if not finished(run)]))
    report([run for run in runs if finished(run)])


def row(task, learner, framework, scores, cpu, peak):
    score = scores[f"{framework}-{learner}"]
    interval = " to ".join(f"{bound:.1f}" for bound in score["interval"] or ()) or "–"
    return (f"| {task.name}, {task.steps:,} | {learner.upper()} | {NAMES[framework]} | {score['n']} | {score['iqm']:.1f} "
            f"| {interval} | {cpu} | {peak} |").replace("| -", "| −").replace(" to -", " to −")


def report(runs):
    """A row for each group of runs, a figure for each learner in an environment, and what the peers were given."""
    print("| environment, steps | learner | framework | seeds | IQM of the return | 95 % interval | CPU seconds | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    arguments, versions = {}, {}
    for task, learner in dict.fromkeys((run.task, run.learner) for run in runs):
        own = [run for run in runs if (run.task, run.learner) == (task, learner)]
        paths = list(map(directory, own))
        played = [play(run) for run in own if run.framework == "ingle"]
        all_paths = [*paths, *map(directory, played)]
        rows = list(map(json.loads, ingle("compare", "--group", "directory", "--json", *all_paths).splitlines()))
        scores = {group["group"]: group for group in rows if "iqm" in group}
        for framework in dict.fromkeys(run.framework for run in own):
            group = [run for run in own if run.framework == framework]
            costs = [read(run, "cost.json") for run in group]
            summaries = [read(run, "summary.json") for run in group]
            for run, summary in zip(group, summaries):
                # One update for each step after the random ones, in every framework: else nothing is compared.
                made = (summary["env_steps"], summary["updates"])
                if made != (task.steps, task.steps - WARMUP):
                    sys.exit(f"{directory(run)}: {made[0]} steps and {made[1]} updates are not comparable")
            cpu = f"{statistics.median(cost['cpu_seconds'] for cost in costs):.0f}"
            peers = [summary["peer"] for summary in summaries if "peer" in summary]
            if peers:
                cpu += f" ({statistics.median(peer['training_cpu_seconds'] for peer in peers):.0f})"
                arguments[NAMES[framework], learner.upper()] = peers[0]["differs_from_default"]
                versions |= peers[0]["versions"]
            peak = f"{max(cost['peak_mb'] for cost in costs):.0f}"
            print(row(task, learner, framework, scores, cpu, peak))
            if framework == "ingle":
                print(row(task, learner, "played", scores, "", ""))
        figure = os.path.join("docs", "results", f"beside-{learner}-{task.name.lower()}")
        ingle("plot", "--group", "directory", "--title", f"{learner.upper()} on {task.name}", "--out", figure, *paths)
    print("\n| framework | learner | argument | its default | here |")
    print("|---|---|---|---|---|")
    for (framework, learner), differs in sorted(arguments.items()):
        for name, value in differs.items():
            print(f"| {framework} | {learner} | `{name}` | `{value['default']}` | `{value['here']}` |")
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
