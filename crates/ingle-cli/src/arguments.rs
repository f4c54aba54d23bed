//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Reinforcement learning on burn: train, evaluate, compare, export and import learners.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
`ingle COMMAND --help` shows examples; the first run is `ingle train sac --env pendulum`.

Exit codes of every command:
  0 done   1 other failure   2 bad configuration or input   3 no such device
  4 device out of memory   5 device lost   6 the learner is not finite   7 an environment failed
  101 internal error   130/143 stopped by INT/TERM

Environment:
  INGLE_LOG      what to log to standard error, e.g. info or ingle_train=debug
                 (default: error,ingle_envs=warn)
  INGLE_PYTHON   the Python whose packages environments use, where --python is not given";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a learner in an environment, or offline from recorded episodes.
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(TrainOptions),
    /// Evaluate the policy of a run.
    #[command(
        after_help = "Examples:\n  ingle eval runs/sac-pendulum-0\n  ingle eval runs/sac-pendulum-0 --episodes 100 --json\n  ingle eval runs/sac-pendulum-0 --member 3\n  ingle eval runs/sac-pendulum-0/best\n  ingle eval runs/bc-human-v2-0 --env gym:AdroitHandPen-v1 --python .venv/bin/python"
    )]
    Eval(EvalOptions),
    /// Write the policy of a run for other programs: safetensors in PyTorch's layout, or ONNX.
    #[command(
        after_help = "Examples:\n  ingle export runs/sac-pendulum-0 --out policy.onnx\n  ingle export runs/sac-pendulum-0 --out policy.safetensors\n  ingle export runs/sweep --member 3 --format onnx --out best.model\n\nThe layout, the names and Python programs that use the files: docs/policies.md."
    )]
    Export(ExportOptions),
    #[command(about = "Make a run of what Stable-Baselines3, CleanRL or PyTorch saved", after_help = IMPORT_EXAMPLES)]
    Import(ImportOptions),
    /// Measure how many updates a second a learner makes.
    #[command(
        after_help = "Examples:\n  ingle bench --learner sac --batch 256 --width 256 --device flex\n  ingle bench --batch 64,256,1024 --width 64,256 --threads 1 --json\n  ingle bench --population 1,8,64 --width 64 --updates-per-call 8\n  ingle bench --learner rnd+sac,ail+sac,rnd+ail+sac --set ail.gradient_penalty=10\n  ingle bench --phases --peers .venv/bin/python\n  ingle bench --batch 64,256,1024 --plot batch"
    )]
    Bench(BenchOptions),
    /// Learning curves of runs: a table, and figures as SVG and PNG.
    #[command(
        after_help = "Examples:\n  ingle plot runs/sac-* --threshold -150\n  ingle plot runs/rnd+sac-* runs/sac-* --out curves\n  ingle plot runs/sweep --group settings --out sweep\n  ingle plot runs/a/* runs/b/* --group directory --metric critic_loss --smooth 10 --out losses"
    )]
    Plot(PlotOptions),
    /// Record episodes of a run, look into recorded episodes, convert them.
    #[command(subcommand)]
    Demos(DemosCommand),
    /// What groups of runs came to: interquartile means, bootstrap intervals, probabilities of improvement.
    #[command(
        after_help = "Examples:\n  ingle compare runs/sac-* runs/td3-*\n  ingle compare runs --steps 10000 --json\n  ingle compare runs --normalise pendulum=-1200,-150 --normalise mujoco:Hopper-v5=20,3000"
    )]
    Compare(CompareOptions),
    /// List runs: learner, environment, steps, last return, and whether they run; or print their numbers as CSV.
    #[command(
        after_help = "Examples:\n  ingle runs\n  ingle runs experiments --json\n  ingle runs runs/sac-pendulum-0 --csv > run.csv"
    )]
    Runs(RunsOptions),
    /// List the devices that are built in and there.
    #[command(after_help = "Examples:\n  ingle devices\n  ingle devices --json")]
    Devices(DevicesOptions),
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  ingle train sac --env pendulum
  ingle train rnd+sac --env mountain-car-continuous --steps 50000 --seed 3 --set rnd.intrinsic=0.5
  ingle train ail+td3 --env pendulum --data demonstrations/pendulum.safetensors
  ingle train td3bc --data demonstrations/pendulum.safetensors --env pendulum
  ingle train bc --data my-minari-dataset
  ingle train td3 --env pendulum --envs 4 --set td3.exploration_noise=0.2
  ingle train sac --env mujoco:HalfCheetah-v5 --envs 4 --python .venv/bin/python
  ingle train td3 --env gym:Hopper-v5 --set env.healthy_reward=0.5
  ingle train sac --env pendulum --population 8
  ingle train sac --env pendulum --sweep sac.actor_learning_rate=1e-4,3e-4,1e-3 --sweep seed=0..4
  ingle train rnd+sac --sweep 'rnd.intrinsic={ from = 0.01, to = 1, steps = 5, log = true }'
  ingle train sac --env pendulum --device wgpu --set sac.tau=0.01 --set replay.batch=512
  ingle train sac --config my.toml --run runs/my-run --json
  ingle train --resume --run runs/my-run
  ingle train --resume --run runs/my-run --steps 100000 --device wgpu
  ingle train sac --env gym:Hopper-v5 --steps 1000000 --restarts 20

The first INT or TERM stops after the current step and saves; a second one stops at once.
Exit codes are listed by `ingle --help`.
Settings are taken from the defaults, then --config, then --set, then the options here.
`--set` takes the dotted keys of the configuration file; the resolved configuration of a run is
in its directory as config.toml and can be given to --config.";

#[derive(Debug, Args)]
pub(crate) struct TrainOptions {
    /// Processors outermost first (normalise, rnd, scale, standardise, ail, airl, sqil), then a direct core (bc, sac, td3,
    /// td3bc), joined by +
    #[arg(required_unless_present = "resume")]
    pub(crate) learner: Option<String>,
    /// The environment: pendulum, mountain-car-continuous, lqr, point-mass, mujoco:NAME as in
    /// mujoco:HalfCheetah-v5, or gym:NAME with any of your own Gymnasium [default: pendulum]
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// The Python that mujoco: and gym: environments use [default: that of the active virtual environment, or python3]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// Recorded episodes: safetensors, an .npz of Python's imitation, or a dataset of Minari. ail, airl and sqil learn from
    /// them beside what they play; all other learners learn from them alone, without playing (and --env, if it is
    /// given, is what they are evaluated in)
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<String>,
    /// Where to compute: flex, ndarray, wgpu[:n], cuda[:n]; `ingle devices` lists them [default: flex]
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Whether updates are captured once and replayed, on devices that have graphs: on fails where that cannot be,
    /// auto then makes eager ones [default: off]
    #[arg(long, value_name = "MODE", value_parser = ["off", "auto", "on"])]
    pub(crate) graph: Option<String>,
    /// Seed of everything random; member p of a population has that plus p [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Learners trained side by side as one program, each with its own seed and data [default: 1]
    #[arg(long, value_name = "P")]
    pub(crate) population: Option<usize>,
    /// One setting with several values: 1e-4,3e-4 or 0..8 or { from = .., to = .., steps = .., log = true }; may be given
    /// again. The learners of a population have one combination each
    #[arg(long, value_name = "KEY=VALUES")]
    pub(crate) sweep: Vec<String>,
    /// Environment steps to train for; offline, updates [default: 10000]
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Environments played side by side [default: 1]
    #[arg(long)]
    pub(crate) envs: Option<usize>,
    /// Directory to put the run in; must be new or empty, or hold the run to resume [default: runs/LEARNER-ENV-N]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Go on with the run in --run, with its configuration; more --steps and another --device may be given
    #[arg(long, requires = "run", conflicts_with = "config")]
    pub(crate) resume: bool,
    /// Configuration file
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, by its dotted key; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Train in a process of its own and, when that one crashes or loses its device, go on from the last
    /// checkpoint in a new one, at most N times
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) restarts: u64,
    /// CPU threads [default: all that the process may use]
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print the result as one JSON object on the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalOptions {
    /// The run's directory
    pub(crate) run: PathBuf,
    /// The member of a population [default: all of them, and which is best]
    #[arg(long, value_name = "P")]
    pub(crate) member: Option<usize>,
    /// Episodes to play, side by side
    #[arg(long, default_value_t = 10)]
    pub(crate) episodes: usize,
    /// Seed of the environments' starts
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    /// Print the result as one JSON object on the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the policy of a run plays.
#[derive(Debug, Args)]
pub(crate) struct PlaceOptions {
    /// The environment, as for train [default: the run's]
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// The Python that mujoco: and gym: environments use [default: the run's]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// Where to compute: flex, ndarray, wgpu[:n], cuda[:n] [default: the device of the run]
    #[arg(long)]
    pub(crate) device: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DemosCommand {
    /// Play episodes with the policy of a run and write them down.
    #[command(
        after_help = "Examples:\n  ingle demos record runs/sac-pendulum-0 --episodes 50 --out expert.safetensors"
    )]
    Record(RecordOptions),
    /// Print what is in a file: episodes, returns, ranges, where they come from.
    #[command(
        after_help = "Examples:\n  ingle demos inspect demonstrations/pendulum.safetensors\n  ingle demos inspect ~/.minari/datasets/D4RL/pen/human-v2 --json\n  ingle demos inspect final.npz --env pendulum --terminal truncated"
    )]
    Inspect(InspectOptions),
    /// Check a file of any format that is read and write it in ingle's flat layout (safetensors).
    #[command(
        after_help = "Examples:\n  ingle demos convert final.npz pendulum.safetensors --env pendulum --terminal truncated --licence MIT"
    )]
    Convert(ConvertOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RecordOptions {
    /// The run's directory
    pub(crate) run: PathBuf,
    /// Episodes to play, side by side
    #[arg(long, default_value_t = 20)]
    pub(crate) episodes: usize,
    /// The file to write, safetensors; it must not be there
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Seed of the environments' starts
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Which member of a population plays (the best one is alone in RUN/best)
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub(crate) member: usize,
    #[command(flatten)]
    pub(crate) place: PlaceOptions,
    /// The licence of the episodes, which is written into the file
    #[arg(long)]
    pub(crate) licence: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InspectOptions {
    #[command(flatten)]
    pub(crate) file: FileOptions,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertOptions {
    #[command(flatten)]
    pub(crate) file: FileOptions,
    /// The file to write, safetensors; it must not be there
    pub(crate) out: PathBuf,
    /// What the file is to say of its source [default: what the other one says]
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// What it is to say of its licence [default: what the other one says]
    #[arg(long)]
    pub(crate) licence: Option<String>,
}

/// A file of recorded episodes, and what it does not say of itself.
#[derive(Debug, Args)]
pub(crate) struct FileOptions {
    /// A safetensors file in ingle's flat layout, an .npz of Python's imitation, or a dataset of Minari in HDF5
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// The environment that they are of, whose sizes and bounds of actions they must keep
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// The Python that mujoco: and gym: environments use
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// What the terminal flags of an .npz mean: terminated, truncated, or the steps of the time limit
    #[arg(long, value_name = "MEANING")]
    pub(crate) terminal: Option<String>,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  ingle import sac model.zip --env gym:HalfCheetah-v5 --run runs/imported
  ingle eval runs/imported
  ingle train --resume --run runs/imported --steps 200000
  ingle import td3 td3_continuous_action.cleanrl_model --env mujoco:Hopper-v5

Read are zip files of Stable-Baselines3, state dictionaries saved by torch.save (the actor's, or a
tuple of the actor's and the critics'), and safetensors files with the same names. No code in them
is run. Networks and targets are taken over; the optimisers' moments are fresh, the replay is empty.";

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// The run's directory, that of a checkpoint, or a safetensors file that was exported before
    pub(crate) run: PathBuf,
    /// Member of a population [default: the best one of the last evaluation]
    #[arg(long, value_name = "P")]
    pub(crate) member: Option<usize>,
    /// What to write [default: as the ending of --out says]
    #[arg(long, value_enum)]
    pub(crate) format: Option<ExportFormat>,
    /// The file; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Print what was written as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The formats of exported policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    #[value(help = "Weights in PyTorch's layout")]
    Safetensors,
    #[value(help = "A model from observation to action")]
    Onnx,
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// The direct core that it is: sac or td3
    pub(crate) learner: String,
    /// What the other library saved
    pub(crate) file: PathBuf,
    /// The environment that it was trained in, as for train
    #[arg(long)]
    pub(crate) env: String,
    /// The Python that mujoco: and gym: environments use [default: that of the active virtual environment, or python3]
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<String>,
    /// Where to compute: flex, ndarray, wgpu[:n], cuda[:n] [default: flex]
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Seed of everything random in training on [default: 0]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Directory to put the run in; must be new or empty [default: runs/LEARNER-ENV-N]
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// One setting of the run, by its dotted key; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the run's directory as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Learners, as for train; a nest is measured in turns with its direct core
    #[arg(long, value_delimiter = ',', default_value = "sac")]
    pub(crate) learner: Vec<String>,
    /// Rows per member and update; several are measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "256")]
    pub(crate) batch: Vec<usize>,
    /// Width of the two hidden layers
    #[arg(long, value_delimiter = ',', default_value = "256")]
    pub(crate) width: Vec<usize>,
    /// Learners trained side by side
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) population: Vec<usize>,
    /// Updates made in one call, on samples that are drawn together
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) updates_per_call: Vec<usize>,
    /// Where to compute: flex, ndarray, wgpu[:n], cuda[:n]
    #[arg(long, value_delimiter = ',', default_value = "flex")]
    pub(crate) device: Vec<String>,
    /// Whether updates are captured once and replayed, on devices that have graphs
    #[arg(long, value_name = "MODE", value_delimiter = ',', value_parser = ["off", "auto", "on"], default_value = "off")]
    pub(crate) graph: Vec<String>,
    /// One setting of the learner, by its dotted key; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Say where the time of an update goes (on a GPU, waiting for it between the phases)
    #[arg(long)]
    pub(crate) phases: bool,
    /// A Python with peers, which take turns with ingle; see benches/peers/README.md
    #[arg(long, value_name = "PYTHON")]
    pub(crate) peers: Option<PathBuf>,
    /// The peers that take turns: sb3, sbx, torch, torch-compile, jax, jax-scan, torchrl
    #[arg(long, value_delimiter = ',', default_value = "jax-scan", requires = "peers")]
    pub(crate) peer: Vec<String>,
    /// Draw NAME.svg and NAME.png: updates a second over what was swept
    #[arg(long, value_name = "NAME")]
    pub(crate) plot: Option<PathBuf>,
    /// Seconds that one repeat takes
    #[arg(long, default_value_t = 2.0)]
    pub(crate) seconds: f64,
    /// Repeats, of which the median is reported
    #[arg(long, default_value_t = 5)]
    pub(crate) repeats: usize,
    /// CPU threads [default: all that the process may use]
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object per point
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlotOptions {
    /// The runs' directories, or directories of runs
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// What makes runs a group, which is one curve
    #[arg(long, value_enum, default_value = "learner")]
    pub(crate) group: GroupBy,
    /// What to show: evaluation (the mean return), or a metric of the learner by its name
    #[arg(long, default_value = "evaluation")]
    pub(crate) metric: String,
    /// A value to reach: a line in the figure, and when each run reached it
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
    /// Show the mean of the last N values of a run in place of each (of fewer at its beginning)
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) smooth: usize,
    /// Draw OUT.svg and OUT.png (in a program built with the feature plot)
    #[arg(long, value_name = "OUT")]
    pub(crate) out: Option<PathBuf>,
    /// The figure's title [default: the environments]
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Print one JSON object per run instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// The runs' directories, or directories of runs
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// What makes runs a group
    #[arg(long, value_enum, default_value = "learner")]
    pub(crate) group: GroupBy,
    /// Take each run's last evaluation up to this step [default: its last one]
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Scale the returns of an environment so that LOW becomes 0 and HIGH becomes 1; may be given again
    #[arg(long, value_name = "ENV=LOW,HIGH", allow_hyphen_values = true)]
    pub(crate) normalise: Vec<String>,
    /// Print one JSON object per row instead of the tables
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunsOptions {
    /// A directory of runs, or a run
    #[arg(default_value = "runs")]
    pub(crate) directory: PathBuf,
    /// Print one JSON object per run
    #[arg(long)]
    pub(crate) json: bool,
    /// Print every number of the runs as CSV, a line each, under its tag in TensorBoard
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

/// What makes runs a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupBy {
    /// The learner's name.
    Learner,
    /// The directory that the run's directory is in.
    Directory,
    /// The learner's name and what the members of a sweep differ in, their seeds apart.
    Settings,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesOptions {
    /// Print one JSON object per device
    #[arg(long)]
    pub(crate) json: bool,
}
