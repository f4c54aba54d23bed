#!/usr/bin/env bash
# The learning results of docs/results.md: trains every learner on every seed, prints the table, draws the curves.
#
#   benches/results/run.sh pendulum|imitation|exploration [SEED...]      (default: seeds 0 1 2 3 4)
#
# Runs are put below runs/results; one that is already there and finished is not trained again. Each takes one thread.
# INGLE is the command to run (default: cargo run --release), NICE how nicely (default: 10).
set -euo pipefail
cd "$(dirname "$0")/../.."

experiment=${1:?give pendulum, imitation or exploration}
shift
seeds=("$@")
[ ${#seeds[@]} -gt 0 ] || seeds=(0 1 2 3 4)
read -ra ingle <<< "${INGLE:-cargo run --release --quiet --}"

case $experiment in
pendulum)
    learners=(sac td3)
    threshold=-200
    ;;
imitation)
    learners=(ail+td3)
    threshold=-250
    ;;
exploration)
    learners=(rnd+sac sac)
    threshold=90
    ;;
*)
    echo "$0: '$experiment' is not an experiment: give pendulum, imitation or exploration" >&2
    exit 2
    ;;
esac

directory=runs/results/$experiment
mkdir -p "$directory"
for seed in "${seeds[@]}"; do
    for learner in "${learners[@]}"; do
        run=$directory/$learner-$seed
        [ -e "$run/summary.json" ] && continue
        rm -rf "$run"
        nice -n "${NICE:-10}" "${ingle[@]}" train "$learner" --config "benches/results/$experiment.toml" \
            --seed "$seed" --threads 1 --run "$run"
    done
done
"${ingle[@]}" plot "$directory"/*/ --threshold "$threshold" --out "docs/results/$experiment"
