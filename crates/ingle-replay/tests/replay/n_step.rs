//! n-step returns against a table of worked cases, a plain model, and one-step replay.

use burn::tensor::Device;
use ingle_core::{Checkpoint, Error, RecordItem, Result, Sampler};
use ingle_replay::{Insert, NStepReplay, ReplayConfig, Rows, UniformReplay};
use proptest::prelude::*;

use crate::values;

/// A transition of one observation and one action element: observation, action, reward, discount, next observation.
type Row = [f32; 5];

/// Remembers what is inserted.
#[derive(Debug, Clone, Default, PartialEq)]
struct Stored(Vec<Row>);

impl Insert for Stored {
    fn insert(&mut self, _: usize, rows: Rows<'_>) -> Result<()> {
        for row in 0..rows.reward.len() {
            self.0.push([
                rows.observation[row],
                rows.action[row],
                rows.reward[row],
                rows.discount[row],
                rows.next_observation[row],
            ]);
        }
        Ok(())
    }
}

/// How a step ended its episode.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    None,
    Terminated,
    Truncated,
    Both,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    row: Row,
    truncated: bool,
}

const GAMMA: f32 = 0.5;

/// A step from observation `number` to `number + 1`.
fn step(number: u32, reward: f32, end: End) -> Step {
    let discount = if matches!(end, End::Terminated | End::Both) { 0.0 } else { GAMMA };
    let row = [number as f32, -(number as f32), reward, discount, number as f32 + 1.0];
    Step { row, truncated: matches!(end, End::Truncated | End::Both) }
}

fn insert(replay: &mut impl Insert, steps: &[Step]) -> Result<()> {
    let field = |index: usize| steps.iter().map(|step| step.row[index]).collect::<Vec<_>>();
    let rows = Rows {
        observation: &field(0),
        action: &field(1),
        reward: &field(2),
        discount: &field(3),
        truncated: &steps.iter().map(|step| step.truncated).collect::<Vec<_>>(),
        next_observation: &field(4),
    };
    replay.insert(0, rows)
}

fn folding(n: usize, environments: usize) -> NStepReplay<Stored> {
    NStepReplay::new(Stored::default(), &ReplayConfig::new(1, 1), n, environments).unwrap()
}

/// γ = ½, rewards 1, 2, 4, 8, 16: the discounted reward of a step after i steps is the first one's times 2^i · ½^i.
#[test]
fn the_worked_cases() {
    let none: &[Row] = &[];
    // n, steps, how the last one ends: the rows stored (observation, action, reward, discount, next), the steps that wait.
    let cases: [(usize, u32, End, &[Row], usize); 17] = [
        // Too few for a window.
        (3, 0, End::None, none, 0),
        (3, 1, End::None, none, 1),
        (3, 2, End::None, none, 2),
        // 1 + 2/2 + 4/4 = 3, then one window a step.
        (3, 3, End::None, &[[0.0, 0.0, 3.0, 0.125, 3.0]], 2),
        (3, 4, End::None, &[[0.0, 0.0, 3.0, 0.125, 3.0], [1.0, -1.0, 6.0, 0.125, 4.0]], 2),
        // The end of an episode empties the window: 4 + 8/2 + 16/4 = 12, 8 + 16/2 = 16, 16. Terminated: nothing follows.
        (
            3,
            5,
            End::Terminated,
            &[
                [0.0, 0.0, 3.0, 0.125, 3.0],
                [1.0, -1.0, 6.0, 0.125, 4.0],
                [2.0, -2.0, 12.0, 0.0, 5.0],
                [3.0, -3.0, 16.0, 0.0, 5.0],
                [4.0, -4.0, 16.0, 0.0, 5.0],
            ],
            0,
        ),
        // Truncated: each bootstraps from the last real observation, after the steps that it has.
        (
            3,
            5,
            End::Truncated,
            &[
                [0.0, 0.0, 3.0, 0.125, 3.0],
                [1.0, -1.0, 6.0, 0.125, 4.0],
                [2.0, -2.0, 12.0, 0.125, 5.0],
                [3.0, -3.0, 16.0, 0.25, 5.0],
                [4.0, -4.0, 16.0, 0.5, 5.0],
            ],
            0,
        ),
        // Both: terminated decides.
        (
            3,
            5,
            End::Both,
            &[
                [0.0, 0.0, 3.0, 0.125, 3.0],
                [1.0, -1.0, 6.0, 0.125, 4.0],
                [2.0, -2.0, 12.0, 0.0, 5.0],
                [3.0, -3.0, 16.0, 0.0, 5.0],
                [4.0, -4.0, 16.0, 0.0, 5.0],
            ],
            0,
        ),
        // Episodes as long as a window, and shorter.
        (
            3,
            3,
            End::Truncated,
            &[[0.0, 0.0, 3.0, 0.125, 3.0], [1.0, -1.0, 4.0, 0.25, 3.0], [2.0, -2.0, 4.0, 0.5, 3.0]],
            0,
        ),
        (
            3,
            3,
            End::Terminated,
            &[[0.0, 0.0, 3.0, 0.0, 3.0], [1.0, -1.0, 4.0, 0.0, 3.0], [2.0, -2.0, 4.0, 0.0, 3.0]],
            0,
        ),
        (3, 2, End::Terminated, &[[0.0, 0.0, 2.0, 0.0, 2.0], [1.0, -1.0, 2.0, 0.0, 2.0]], 0),
        (3, 2, End::Truncated, &[[0.0, 0.0, 2.0, 0.25, 2.0], [1.0, -1.0, 2.0, 0.5, 2.0]], 0),
        (3, 1, End::Truncated, &[[0.0, 0.0, 1.0, 0.5, 1.0]], 0),
        (3, 1, End::Both, &[[0.0, 0.0, 1.0, 0.0, 1.0]], 0),
        // n = 1: every row as it came.
        (1, 1, End::Terminated, &[[0.0, 0.0, 1.0, 0.0, 1.0]], 0),
        (1, 2, End::None, &[[0.0, 0.0, 1.0, 0.5, 1.0], [1.0, -1.0, 2.0, 0.5, 2.0]], 0),
        (1, 2, End::Truncated, &[[0.0, 0.0, 1.0, 0.5, 1.0], [1.0, -1.0, 2.0, 0.5, 2.0]], 0),
    ];
    for (n, steps, end, stored, waiting) in cases {
        let mut replay = folding(n, 1);
        for number in 0..steps {
            let end = if number + 1 == steps { end } else { End::None };
            insert(&mut replay, &[step(number, (1 << number) as f32, end)]).unwrap();
        }
        assert_eq!(replay.replay.0, stored, "n = {n}, {steps} steps, {end:?}");
        assert_eq!(replay.pending(), waiting, "n = {n}, {steps} steps, {end:?}");
    }
}

/// Rows of one environment's steps, straight from the definition; each with the time at which it is complete.
fn model(n: usize, steps: &[Step]) -> Vec<(usize, Row)> {
    let ends = |step: &Step| step.truncated || step.row[3] == 0.0;
    let mut rows = Vec::new();
    for first in 0..steps.len() {
        let last = (first..steps.len()).find(|&t| ends(&steps[t]) || t + 1 == first + n);
        let Some(last) = last else { continue };
        let (mut reward, mut discount) = (0.0, 1.0);
        for step in &steps[first..=last] {
            reward += discount * step.row[2];
            discount *= step.row[3];
        }
        rows.push((last, [steps[first].row[0], steps[first].row[1], reward, discount, steps[last].row[4]]));
    }
    rows
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![6 => Just(End::None), 1 => Just(End::Terminated), 1 => Just(End::Truncated), 1 => Just(End::Both)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Small whole rewards and γ = ½: every sum is exact, and so is the comparison.
    #[test]
    fn interleaved_environments_fold_as_each_would_alone(
        n in 1_usize..6,
        rounds in (1_usize..4).prop_flat_map(|environments| {
            prop::collection::vec(prop::collection::vec((ends(), 0_u8..20), environments), 1..25)
        }),
    ) {
        let environments = rounds[0].len();
        let mut replay = folding(n, environments);
        let mut steps = vec![Vec::new(); environments];
        for (time, round) in rounds.iter().enumerate() {
            let round: Vec<Step> = round
                .iter()
                .enumerate()
                .map(|(environment, &(end, reward))| step((100 * environment + time) as u32, reward.into(), end))
                .collect();
            insert(&mut replay, &round).unwrap();
            for (own, step) in steps.iter_mut().zip(round) {
                own.push(step);
            }
        }
        let mut expected: Vec<(usize, usize, Row)> = steps
            .iter()
            .enumerate()
            .flat_map(|(environment, steps)| {
                model(n, steps).into_iter().map(move |(time, row)| (time, environment, row))
            })
            .collect();
        // In the order of time, then of environments; a window's rows oldest first, as the model has them.
        expected.sort_by_key(|&(time, environment, _)| (time, environment));
        let expected: Vec<Row> = expected.into_iter().map(|(_, _, row)| row).collect();
        let waiting: usize = environments * rounds.len() - expected.len();
        prop_assert_eq!(&replay.replay.0, &expected);
        prop_assert_eq!(replay.pending(), waiting, "no step is lost");
    }

    #[test]
    fn one_step_is_bit_for_bit_what_a_plain_replay_stores(rows in prop::collection::vec(prop::array::uniform5(-1e3_f32..1e3), 1..20)) {
        let (mut folded, mut plain) = (folding(1, 1), Stored::default());
        for row in rows {
            let step = Step { row, truncated: row[0] > 0.0 };
            insert(&mut folded, &[step]).unwrap();
            insert(&mut plain, &[step]).unwrap();
        }
        prop_assert_eq!(folded.replay, plain);
    }

    /// Saved and brought back at any place, windows half full or not: the rows are those of an uninterrupted run.
    #[test]
    fn windows_survive_a_checkpoint(ends in prop::collection::vec((ends(), ends()), 1..20), cut in 0_usize..20) {
        let config = ReplayConfig { batch: 8, capacity: 64, ..ReplayConfig::new(1, 1) };
        let new = |seed| {
            let replay = UniformReplay::new(&config, seed, &Device::flex()).unwrap();
            NStepReplay::new(replay, &config, 3, 2).unwrap()
        };
        let (mut straight, mut resumed) = (new(1), new(2));
        for (time, &(first, second)) in ends.iter().enumerate() {
            if time == cut {
                resumed.load_checkpoint(&straight.save_checkpoint().unwrap()).unwrap();
            }
            let time = time as u32;
            let round = [step(time, time as f32, first), step(100 + time, 1.0, second)];
            insert(&mut straight, &round).unwrap();
            if time as usize >= cut {
                insert(&mut resumed, &round).unwrap();
            }
        }
        if cut < ends.len() {
            prop_assert_eq!(straight.save_checkpoint().unwrap(), resumed.save_checkpoint().unwrap());
        }
    }
}

#[test]
fn the_power_of_gamma_is_taken_in_float64() {
    let gamma = 0.99_f32;
    // So many that rounding each product to float32 would show.
    let mut replay = folding(100, 1);
    for number in 0..100 {
        let mut step = step(number, 1.0, End::None);
        step.row[3] = gamma;
        insert(&mut replay, &[step]).unwrap();
    }
    let [.., reward, discount, _] = replay.replay.0[0];
    let gamma = f64::from(gamma);
    assert_eq!(discount, gamma.powi(100) as f32);
    assert_eq!(reward, ((1.0 - gamma.powi(100)) / (1.0 - gamma)) as f32);
}

#[test]
fn what_is_refused_moves_no_window() {
    let mut replay = folding(3, 2);
    let round = |number| [step(number, 1.0, End::None), step(100 + number, 1.0, End::None)];
    insert(&mut replay, &round(0)).unwrap();
    insert(&mut replay, &round(1)).unwrap();
    let before = replay.pending();
    let mut nan = round(2);
    nan[1].row[2] = f32::NAN;
    let error = insert(&mut replay, &nan).unwrap_err().to_string();
    assert_eq!(error, "reward, row 1, element 0: NaN is not finite");
    let error = insert(&mut replay, &round(2)[..1]).unwrap_err().to_string();
    assert_eq!(error, "rows: expected shape 2, a step of each environment, got [1]");
    // The sum of two finite rewards that is none: the replay below refuses it.
    let mut small = {
        let config = ReplayConfig::new(1, 1);
        let replay = UniformReplay::new(&config, 0, &Device::flex()).unwrap();
        NStepReplay::new(replay, &config, 2, 1).unwrap()
    };
    insert(&mut small, &[step(0, f32::MAX, End::None)]).unwrap();
    let error = insert(&mut small, &[step(1, f32::MAX, End::None)]).unwrap_err().to_string();
    assert_eq!(error, "reward, row 0, element 0: inf is not finite");
    assert_eq!((small.pending(), small.replay.len()), (1, 0));
    insert(&mut small, &[step(1, 0.0, End::None)]).unwrap();
    assert_eq!(small.replay.len(), 1);

    assert_eq!((replay.pending(), replay.replay.0.len()), (before, 0));
    insert(&mut replay, &round(2)).unwrap();
    assert_eq!(replay.replay.0.len(), 2);

    let nothing = ReplayConfig { population: 0, ..ReplayConfig::new(0, 0) };
    match NStepReplay::new(Stored::default(), &nothing, 0, 0) {
        Err(Error::Config(problems)) => assert_eq!(problems.len(), 5, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    let rows = Rows {
        observation: &[0.0; 2],
        action: &[0.0; 2],
        reward: &[0.0; 2],
        discount: &[0.0; 2],
        truncated: &[false; 2],
        next_observation: &[0.0; 2],
    };
    assert!(matches!(replay.insert(1, rows), Err(Error::Config(_))), "there is no second member");
    let short = Rows { truncated: &[], ..rows };
    assert!(matches!(replay.insert(0, short), Err(Error::Shape { field: "truncated", .. })));
}

#[test]
fn new_episodes_drop_what_waits() {
    let mut replay = folding(3, 1);
    insert(&mut replay, &[step(0, 1.0, End::None)]).unwrap();
    insert(&mut replay, &[step(1, 1.0, End::None)]).unwrap();
    replay.begin();
    assert_eq!((replay.pending(), replay.lag()), (0, 2));
    for number in 10..13 {
        insert(&mut replay, &[step(number, 1.0, End::None)]).unwrap();
    }
    assert_eq!(replay.replay.0, [[10.0, -10.0, 1.75, 0.125, 13.0]]);
}

#[test]
fn damaged_windows_are_refused() {
    let config = ReplayConfig { batch: 2, ..ReplayConfig::new(1, 1) };
    let new =
        || NStepReplay::new(UniformReplay::new(&config, 1, &Device::flex()).unwrap(), &config, 3, 1).unwrap();
    let mut replay = new();
    for number in 0..4 {
        insert(&mut replay, &[step(number, 1.0, End::None)]).unwrap();
    }
    let record = replay.save_checkpoint().unwrap();
    for wrong in [vec![0.0_f32; 5], vec![0.0; 12], vec![f32::NAN; 4]] {
        let mut other = record.clone();
        let count = wrong.len();
        let item = RecordItem::Tensor(burn::tensor::TensorData::new(wrong, [count]));
        other.0.insert("window-0".into(), item);
        match new().load_checkpoint(&other) {
            Err(Error::Record(problem)) => assert!(problem.contains("window-0"), "{problem}"),
            other => panic!("{other:?}"),
        }
    }
    let mut resumed = new();
    resumed.load_checkpoint(&record).unwrap();
    let folded = resumed.sample().unwrap().into_inner();
    assert_eq!(values(folded.discount), [0.125; 2]);
}
