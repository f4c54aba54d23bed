# Recipes for people who work on ingle; `just` lists them.

features := "ndarray,wgpu"

_default:
    @just --list

# Train SAC on Pendulum and print an evaluation.
train *options:
    cargo run --release -- train sac --env pendulum {{options}}

# All tests, on flex, ndarray and wgpu (skipped, with the reason, where there is no adapter).
test *options:
    cargo test --release --workspace --features {{features}} {{options}}

# The conformance suite on one device.
laws device:
    INGLE_DEVICE={{device}} cargo test --release -p ingle-testing --features {{features}} laws -- --nocapture

# Replay reference traces of another directory.
traces directory:
    INGLE_TRACES={{directory}} cargo test --release -p ingle-testing --features {{features}} traces -- --nocapture

# Random kills of the trainer, each run resumed to the end and compared bit for bit.
kills count="200" seed="1":
    INGLE_KILLS={{count}} INGLE_FAULT_SEED={{seed}} cargo test --release --workspace --features {{features}} --test runs -- --nocapture a_killed_run

# INT and TERM at random moments.
signals count="100" seed="1":
    INGLE_SIGNALS={{count}} INGLE_FAULT_SEED={{seed}} cargo test --release --workspace --features {{features}} --test runs -- --nocapture a_signal

# How much memory a run of many steps takes up more and more.
memory steps="1000000":
    INGLE_MEMORY_STEPS={{steps}} cargo test --release --workspace --features {{features}} --test runs -- --nocapture memory_does_not_grow

# Damaged and hostile checkpoints, and files of other libraries.
corruptions count="10000" seed="1":
    INGLE_CORRUPTIONS={{count}} INGLE_FAULT_SEED={{seed}} cargo test --release --workspace --features {{features}} --test checkpoints --test policies -- --nocapture

# Configurations and demonstration files with one thing wrong.
mutations count="10000" seed="1":
    INGLE_MUTATIONS={{count}} INGLE_FAULT_SEED={{seed}} cargo test --release --workspace --features {{features}} --bin ingle -- --nocapture a_wrong_configuration
    INGLE_MUTATIONS={{count}} INGLE_FAULT_SEED={{seed}} cargo test --release --workspace --features {{features}} --test replay -- --nocapture wrong_demonstrations
    INGLE_MUTATIONS={{count}} INGLE_FAULT_SEED={{seed}} cargo test --release --workspace --features {{features}} --test conformance -- --nocapture no_reader_panics

# Wrong versions of replays, limiter, targets and guard, each of which a test must fail on (crates/ingle-testing/mutants).
mutants *words:
    python3 crates/ingle-testing/mutants/run.py {{words}}

# Fuzz one reader: state, checkpoint, demonstrations, imitation, run (needs cargo-fuzz and a nightly toolchain).
fuzz target *options:
    cargo +nightly fuzz run {{target}} {{options}}

# Kills and errors at every system call of a save (needs strace).
save-faults:
    INGLE_FAULTS=full cargo test --release --workspace --features {{features}} --test faults -- --nocapture

# Formatting, lints, documentation.
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets --features {{features}} -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --features {{features}}

# Licences, bans and sources of the dependencies; spelling.
audit:
    cargo deny check licenses bans sources
    typos

# The book of the pages in docs/, into target/book; needs mdbook, or installs it into the cache.
book folder="target/book":
    .ci/book {{folder}}
    INGLE_BOOK=$(realpath {{folder}}) cargo test --release --workspace --features {{features}} --test conformance -- built_book

# Micro-benchmarks.
bench *options:
    cargo bench --workspace --features {{features}} --bench step {{options}}

# ingle beside rlevo, thrust-rl or modurl, SAC and TD3 on one core and on two, in turns (see benches/peers/README.md).
peers-rust peer="rlevo" *options:
    cargo build --release
    cargo build --release --manifest-path benches/peers/rust/Cargo.toml --target-dir target/rust-peers --no-default-features --features {{peer}}
    python3 benches/peers/beside.py --peer {{peer}} --points sac:256:256:1,sac:256:256:2{{ if peer == "thrust-rl" { "" } else { ",td3:256:256:1,td3:256:256:2" } }} {{options}}

# SAC on a GPU, eager and replayed, populations, beside PyTorch and JAX, in one table (see benches/gpu.py).
gpu python="python3" features="cuda,wgpu,autotune" *options:
    cargo build --release --features {{features}}
    {{python}} benches/gpu.py {{options}}

# Kernels that an update launches on a GPU, by name, counted on any Vulkan device.
kernels:
    INGLE_KERNELS=1 cargo test --release --workspace --features {{features}} --test device -- --nocapture kernels

# Environment steps a second beside Gymnasium's SyncVectorEnv (needs Python with the packages of docs/environments.md).
bench-environments:
    cargo bench --workspace --features {{features}} --bench environments

# SAC on Pendulum, seeds 0 to 4: the returns that the README reports.
results:
    for seed in 0 1 2 3 4; do cargo run --release --quiet -- train sac --env pendulum --seed $seed --threads 1 --run runs/results/pendulum-$seed --json 2>/dev/null | tail -n 1; done

# The learning results of docs/results.md: `just learning pendulum`, `... imitation`, `... exploration`; or with seeds.
learning experiment *seeds:
    benches/results/run.sh {{experiment}} {{seeds}}

# SAC and TD3 beside Stable-Baselines3 and SBX: the first table of docs/results.md (needs a Python with
# benches/peers/requirements.txt). What is finished is not trained again; `just beside PYTHON --jobs 2` runs two at once.
beside python="python3" *options:
    cargo build --release
    {{python}} benches/results/beside.py {{options}}

# Learning offline from the episodes that come with ingle: the returns of docs/demonstrations.md.
offline:
    for learner in td3bc bc; do for seed in 0 1 2 3 4; do cargo run --release --quiet -- train $learner --data demonstrations/pendulum.safetensors --env pendulum --seed $seed --threads 1 --run runs/offline/$learner-$seed --json 2>/dev/null | tail -n 1; done; done

# How long a clean build of the command line takes, with the default features and with wgpu.
build-time:
    cargo build --release --target-dir target/clean-flex --timings && cargo build --release --features wgpu --target-dir target/clean-wgpu --timings

# Exported policies beside onnxruntime, NumPy and torch, imported ones beside Stable-Baselines3's returns (needs a Python
# with torch, onnx, onnxruntime, safetensors and gymnasium).
policies python="python3":
    INGLE_PYTHON={{python}} INGLE_TORCH=1 cargo test --release --workspace --features {{features}} --test policies -- --nocapture

# Record the environments' reference trajectories anew (needs Python with gymnasium and mujoco).
fixtures python="python3":
    {{python}} crates/ingle-envs/fixtures/record.py
    {{python}} crates/ingle-envs/fixtures/record_mujoco.py

# What CI runs.
ci:
    bash .ci/run
