//! Elementary functions of float32 without branches, so that a loop over them takes whole registers.
//!
//! The polynomials are those of Cephes (Moshier, single precision). Errors are below 3e-7 of the value; not-a-number
//! stays.

// A loop over them takes whole registers only if they are inlined.
#![allow(clippy::inline_always)]

use std::f32::consts::LOG2_E;

/// Added to a small float, it leaves the nearest integer in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// eˣ; 0 below e⁻⁸⁶·⁶ (the smallest normal float32 is e⁻⁸⁷·³), infinity above the largest.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // 88.72 is the last one below the largest float; beyond, the doubled scale overflows as it should.
    let bounded = x.clamp(-86.6, 88.73);
    let rounded = bounded * LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, the first with few digits: the differences are exact.
    let r = bounded - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let value = p * r * r + r + 1.0;
    // Half of the scale, doubled after: 2¹²⁸ has no float.
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(126);
    let value = value * f32::from_bits(exponent << 23) * 2.0;
    if x < -86.6 { 0.0 } else { value }
}

/// The hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * square + 2.063_908_8e-2;
    p = p * square - 5.373_971_6e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let small = p * square * x + x;
    let size = x.abs();
    let large = (1.0 - 2.0 / (exp(size + size) + 1.0)).copysign(x);
    if size < 0.625 { small } else { large }
}

/// log(1 + eˣ).
#[inline(always)]
pub(super) fn softplus(x: f32) -> f32 {
    // log(1 + t) = 2 artanh(t / (2 + t)), as a series in s ≤ 1/3: without cancellation for small t.
    let t = exp(-x.abs());
    let s = t / (2.0 + t);
    let square = s * s;
    let mut p = 1.0 / 15.0;
    p = p * square + 1.0 / 13.0;
    p = p * square + 1.0 / 11.0;
    p = p * square + 1.0 / 9.0;
    p = p * square + 1.0 / 7.0;
    p = p * square + 1.0 / 5.0;
    p = p * square + 1.0 / 3.0;
    let logarithm = 2.0 * (s + s * square * p);
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + logarithm
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, the approximation, and what it approximates.
    type Function = (&'static str, fn(f32) -> f32, fn(f64) -> f64);

    #[test]
    fn errors_are_below_three_tenths_of_a_millionth() {
        let functions: [Function; 3] = [
            ("exp", exp, f64::exp),
            ("tanh", tanh, f64::tanh),
            ("softplus", softplus, |x| if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }),
        ];
        for (name, approximation, exact) in functions {
            let mut worst: (f64, f32) = (0.0, 0.0);
            for index in -865_000..=870_000 {
                let x = index as f32 * 1e-4;
                let exact = exact(f64::from(x));
                let error = (f64::from(approximation(x)) - exact).abs() / exact.abs().max(1e-37);
                if error > worst.0 {
                    worst = (error, x);
                }
            }
            assert!(worst.0 < 3e-7, "{name}({}): off by {:e} of the value", worst.1, worst.0);
            assert!(approximation(f32::NAN).is_nan(), "{name} of not-a-number");
        }
        assert_eq!(exp(89.0), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!([tanh(f32::INFINITY), tanh(f32::NEG_INFINITY), tanh(0.0)], [1.0, -1.0, 0.0]);
        assert_eq!([softplus(f32::INFINITY), softplus(f32::NEG_INFINITY)], [f32::INFINITY, 0.0]);
    }
}
