#!/usr/bin/env python3
"""Wrong versions of the code, each of which some test must fail on: `mutants.toml` lists them.

    just mutants                     # all of them
    just mutants limiter             # those with a word in their file or name

All mutants are compiled at once, into a copy of the working tree: in the place of each expression stands a choice among it
and its mutants, and the environment variable INGLE_MUTANT says which is taken. So our crates are compiled once, not once for
each mutant, and burn not at all: the copy's packages have another version, so that cargo keeps the two apart in one target
folder. Each suite must first pass with no mutant alive. Then each mutant is run, and is killed if its suite fails, crashes or
does not end. Exits with 1 if one survived: then a test is missing, or the mutant changes nothing and is to be taken out.
"""

import json
import os
import re
import subprocess
import sys
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")))
COPY = os.path.join(TARGET, "mutants")

CHOICE = """
/// The mutant that is alive, if one is.
pub(crate) fn mutant() -> u32 {
    static MUTANT: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *MUTANT.get_or_init(|| {
        std::env::var("INGLE_MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
    })
}
"""


def copied():
    """The files of the working tree, by their paths."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    files = {}
    for name in names:
        path = os.path.join(ROOT, name)
        if name and os.path.isfile(path):
            with open(path, "rb") as file:
                files[name] = file.read()
    version = re.compile(rb'^(version = "[^"]*)"', re.MULTILINE)
    files["Cargo.toml"] = version.sub(rb'\1+mutants"', files["Cargo.toml"], count=1)
    return files


def written(files):
    """Puts the files into the copy. What is the same already keeps its time, so that cargo compiles only what changed."""
    for folder, _, names in os.walk(COPY):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.relpath(path, COPY) not in files:
                os.remove(path)
    for name, content in files.items():
        path = os.path.join(COPY, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                if file.read() == content:
                    continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def with_mutants(files, mutants):
    """Puts a choice in the place of every mutant's expression."""
    problems, places, crates = [], {}, set()
    for mutant in mutants:
        text, start = files.get(mutant["file"], b"").decode(), 0
        for part in (mutant.get("within", mutant["from"]), mutant["from"]):
            if text.count(part) != 1:
                problems.append(f"{mutant['file']} has {text.count(part)} times, not once: {part}")
                break
            start, text = start + text.index(part), part
        if text != mutant["from"]:
            continue
        of_file = places.setdefault(mutant["file"], {})
        of_file.setdefault((start, start + len(mutant["from"])), []).append(mutant)
    for name, of_file in places.items():
        text, end_of_last = files[name].decode(), None
        pieces, begin = [], 0
        for (start, end), here in sorted(of_file.items()):
            if end_of_last is not None and start < end_of_last:
                problems.append(f"{name}: mutants overlap in: {text[start:end]}")
            arms = "".join(f"{mutant['number']} => {{ {mutant['to']} }} " for mutant in here)
            choice = f"(match crate::mutant() {{ {arms}_ => {{ {text[start:end]} }} }})"
            pieces += [text[begin:start], choice]
            begin = end_of_last = end
        files[name] = ("".join(pieces) + text[begin:]).encode()
        crates.add(name.split("/src/")[0])
    if problems:
        sys.exit("\n".join(["mutants.toml is not that of this code:"] + problems))
    for crate in crates:
        library = f"{crate}/src/lib.rs"
        files[library] = b"#![allow(warnings)]\n" + files[library] + CHOICE.encode()


def built(suites):
    """The test binaries, compiled in the copy: path and folder to run in, by name."""
    command = ["cargo", "test", "--release", "--workspace", "--features", "ndarray,wgpu", "--offline", "--no-run"]
    for test in sorted({suite["test"] for suite in suites.values()}):
        command += ["--test", test]
    command += ["--message-format", "json-render-diagnostics"]
    environment = os.environ | {"CARGO_TARGET_DIR": TARGET}
    result = subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit("a mutant does not compile")
    binaries = {}
    for line in result.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and "test" in message["target"]["kind"]:
            folder = os.path.dirname(message["manifest_path"])
            binaries[message["target"]["name"]] = (message["executable"], folder)
    return binaries


def run(suite, binaries, number, limit):
    """How a suite ended with a mutant alive: None if it passed, else why it did not; and what it printed."""
    executable, folder = binaries[suite["test"]]
    command = [executable, *suite["filters"]]
    environment = os.environ | {"INGLE_MUTANT": str(number), "INGLE_DEVICE": "flex"}
    try:
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=limit
        )
    except subprocess.TimeoutExpired:
        return f"not ended after {limit:.0f} s", ""
    if result.returncode == 0:
        return None, result.stdout
    failed = re.findall(r"^test (\S+) .*\.\.\. FAILED", result.stdout, re.MULTILINE)
    if not failed:
        return f"exit status {result.returncode}", result.stdout
    return failed[0] + (f" and {len(failed) - 1} more" if len(failed) > 1 else ""), result.stdout


def main():
    with open(os.path.join(HERE, "mutants.toml"), "rb") as file:
        table = tomllib.load(file)
    suites, mutants = table["suite"], table["mutant"]
    for number, mutant in enumerate(mutants, 1):
        mutant["number"] = number
    words = sys.argv[1:]
    chosen = [m for m in mutants if all(word in f"{m['file']} {m['what']}" for word in words)]
    if not chosen:
        sys.exit(f"no mutant has {' and '.join(words)} in its file or name")
    files = copied()
    with_mutants(files, mutants)
    written(files)
    binaries = built(suites)

    limits = {}
    for name in sorted({mutant["suite"] for mutant in chosen}):
        began = time.monotonic()
        failure, printed = run(suites[name], binaries, 0, 3600)
        if failure:
            sys.exit(f"{printed}\nwithout a mutant, the suite {name} fails: {failure}")
        if not re.search(r"^test result: ok\. [1-9]", printed, re.MULTILINE):
            sys.exit(f"the suite {name} has no tests")
        limits[name] = 30 + 10 * (time.monotonic() - began)

    survived, began = [], time.monotonic()
    for mutant in chosen:
        suite = mutant["suite"]
        by, _ = run(suites[suite], binaries, mutant["number"], limits[suite])
        if by is None:
            survived.append(mutant)
        source = re.sub(r"^crates/|src/", "", mutant["file"])
        verdict = f"killed by {by}" if by else f"SURVIVED the suite {suite}"
        print(f"{mutant['number']:3} {source:32} {mutant['what']:58} {verdict}", flush=True)
    killed = len(chosen) - len(survived)
    print(f"{killed} of {len(chosen)} mutants killed, in {time.monotonic() - began:.0f} s")
    for mutant in survived:
        print(f"survived: {mutant['file']}: `{mutant['from']}` became `{mutant['to']}`", file=sys.stderr)
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
