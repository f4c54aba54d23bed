//! Statistics over few runs: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
//! (2021), <https://arxiv.org/abs/2108.13264>, with the definitions of its library rliable.

use ingle::random::RandomStream;

/// Share of the resamples inside of an interval.
const CONFIDENCE: f64 = 0.95;

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(crate) fn median(values: &[f64]) -> f64 {
    percentile(&sorted(values), 0.5)
}

/// The mean of the middle half: `scipy.stats.trim_mean(values, 0.25)`, which leaves ⌊n / 4⌋ values away at each end.
pub(crate) fn interquartile_mean(values: &[f64]) -> f64 {
    let cut = values.len() / 4;
    mean(&sorted(values)[cut..values.len() - cut])
}

/// The probability that a run of `better` has a higher score than one of `than` in the same environment, mean over the
/// environments; equal scores count half (Mann and Whitney's U over the number of pairs). Both have the environments in
/// one order.
pub(crate) fn probability_of_improvement(better: &[Vec<f64>], than: &[Vec<f64>]) -> f64 {
    let of_an_environment = |(better, than): (&Vec<f64>, &Vec<f64>)| {
        let pairs = better.iter().flat_map(|own| than.iter().map(move |other| own.total_cmp(other)));
        let wins: f64 = pairs.map(|order| f64::from(order as i8 + 1) / 2.0).sum();
        wins / (better.len() * than.len()) as f64
    };
    mean(&better.iter().zip(than).map(of_an_environment).collect::<Vec<_>>())
}

/// The interval of a statistic by the stratified bootstrap: each stratum is resampled by itself, `resamples` times, and
/// the percentiles of what the statistic is then are the interval. It is always drawn alike.
pub(crate) fn interval(
    strata: &[Vec<f64>],
    resamples: usize,
    statistic: impl Fn(&[Vec<f64>]) -> f64,
) -> (f64, f64) {
    let mut stream = RandomStream::new(0, 0);
    let mut drawn = strata.to_vec();
    let mut statistics: Vec<f64> = (0..resamples)
        .map(|_| {
            for (drawn, stratum) in drawn.iter_mut().zip(strata) {
                drawn.fill_with(|| stratum[stream.index(stratum.len())]);
            }
            statistic(&drawn)
        })
        .collect();
    statistics.sort_by(f64::total_cmp);
    let outside = (1.0 - CONFIDENCE) / 2.0;
    (percentile(&statistics, outside), percentile(&statistics, 1.0 - outside))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// numpy's: linear between the two values beside the place.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `scipy.stats.trim_mean(range(1, n + 1) ** 2, 0.25)` for n from 1 to 9.
    #[test]
    fn the_interquartile_mean_is_scipys() {
        let expected = [1.0, 2.5, 14.0 / 3.0, 6.5, 29.0 / 3.0, 13.5, 18.0, 21.5, 27.0];
        for (n, expected) in expected.into_iter().enumerate() {
            // In another order than that of their size.
            let values: Vec<f64> = (1..=n + 1).rev().map(|value| (value * value) as f64).collect();
            assert!((interquartile_mean(&values) - expected).abs() < 1e-12, "{values:?}");
        }
    }

    #[test]
    fn the_probability_of_improvement_is_counted_by_pairs() {
        // 3 > 1, 3 > 2, 2 > 1, 2 = 2: 3.5 of 4.
        let (better, than) = (vec![3.0, 2.0], vec![1.0, 2.0]);
        assert_eq!(
            probability_of_improvement(std::slice::from_ref(&better), std::slice::from_ref(&than)),
            0.875
        );
        assert_eq!(
            probability_of_improvement(&[better.clone(), vec![0.0]], &[than.clone(), vec![1.0, 1.0, 1.0]]),
            0.4375
        );
        assert_eq!(probability_of_improvement(&[than], &[better]), 0.125);
    }

    #[test]
    fn percentiles_are_numpys() {
        let values = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 3.0), (0.975, 7.7), (1.0, 8.0)] {
            assert!((percentile(&values, share) - expected).abs() < 1e-12, "{share}");
        }
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[3.0, 1.0])), (2.0, 2.0));
    }

    /// Of many values, the bootstrap's interval is nearly the normal one: ±1.96 deviations of the mean.
    #[test]
    fn the_interval_is_the_normal_one_of_many_values() {
        let mut values = vec![0.0_f32; 400];
        RandomStream::new(3, 0).fill_normal(&mut values);
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let deviation =
            (values.iter().map(|value| value * value).sum::<f64>() / 400.0 - mean(&values).powi(2)).sqrt();
        let (low, high) = interval(std::slice::from_ref(&values), 20_000, |strata| mean(&strata[0]));
        for side in [mean(&values) - low, high - mean(&values)] {
            assert!((side - 1.96 * deviation / 20.0).abs() < 0.004, "{side}");
        }
        assert_eq!(interval(&[vec![2.5]], 100, |strata| mean(&strata[0])), (2.5, 2.5));
    }

    /// What differs only between the strata has no width: each keeps its share of a resample.
    #[test]
    fn strata_are_resampled_by_themselves() {
        let all = |strata: &[Vec<f64>]| mean(&strata.concat());
        assert_eq!(interval(&[vec![1.0; 3], vec![100.0; 2]], 200, all), (40.6, 40.6));
        let (low, high) = interval(&[vec![1.0, 1.0, 1.0, 100.0, 100.0]], 200, all);
        assert!(low < 40.6 && high > 40.6);
    }

    proptest! {
        #[test]
        fn statistics_are_between_the_values(values in prop::collection::vec(-1e6..1e6_f64, 1..40)) {
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            let air = 1e-9 * (1.0 + least.abs().max(most.abs()));
            let (low, high) = interval(std::slice::from_ref(&values), 100, |strata| interquartile_mean(&strata[0]));
            for value in [interquartile_mean(&values), median(&values), low, high] {
                prop_assert!(value >= least - air && value <= most + air, "{}", value);
            }
            prop_assert!(low <= high);
        }

        #[test]
        fn improvement_and_its_opposite_are_certain_together(
            tasks in prop::collection::vec(
                (prop::collection::vec(-3..3_i8, 1..6), prop::collection::vec(-3..3_i8, 1..6)), 1..4)
        ) {
            let numbers = |values: &Vec<i8>| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
            let left: Vec<_> = tasks.iter().map(|(left, _)| numbers(left)).collect();
            let right: Vec<_> = tasks.iter().map(|(_, right)| numbers(right)).collect();
            let sum = probability_of_improvement(&left, &right) + probability_of_improvement(&right, &left);
            prop_assert!((sum - 1.0).abs() < 1e-12, "{}", sum);
        }
    }
}
