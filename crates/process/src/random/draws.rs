//! Keys and the draws they open.

use super::Stream;
use super::gaussian::{gaussian_pair, unit_half_open};
use super::philox::{philox, words};

/// Opens the draws of one purpose under one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    seed: [u32; 2],
    stream: u32,
}

impl Key {
    /// The key of a stream. All seeds are distinct.
    pub fn new(seed: u64, stream: Stream) -> Self {
        Self { seed: words(seed), stream: stream.number() }
    }

    /// The draws of one image (or epoch, or parameter: whatever the stream is indexed by).
    pub fn at(&self, image: u64) -> Draws {
        Draws { key: *self, image: words(image) }
    }
}

/// The random numbers of one image in one stream.
///
/// Single draws are numbered by *slots*; slices are filled from draws of their own, which no slot shares. Asking twice
/// gives the same numbers twice: an image that needs two slices of noise needs two streams ([`Stream::nth`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    key: Key,
    image: [u32; 2],
}

/// Slots take the upper half of the blocks, slices the lower.
const SLOTS: u32 = 1 << 31;

impl Draws {
    /// Four words of one block of this image.
    #[inline]
    fn block(&self, block: u32) -> [u32; 4] {
        philox([block, self.key.stream, self.image[1], self.image[0]], self.key.seed)
    }

    /// 64 random bits.
    pub fn bits(&self, slot: u32) -> u64 {
        let [a, b, c, d] = self.block(SLOTS | (slot >> 1));
        let [high, low] = if slot.is_multiple_of(2) { [a, b] } else { [c, d] };
        (u64::from(high) << 32) | u64::from(low)
    }

    /// A uniform number in [0, 1), a multiple of 2^-53.
    pub fn uniform(&self, slot: u32) -> f64 {
        (self.bits(slot) >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// A standard normal number.
    pub fn normal(&self, slot: u32) -> f64 {
        let [radius, angle] = words(self.bits(slot));
        gaussian_pair(radius, angle)[0]
    }

    /// A uniform number of 0, ..., n - 1; no number is favoured by more than n 2^-64. Zero where n is 0.
    pub fn below(&self, slot: u32, n: u64) -> u64 {
        ((u128::from(self.bits(slot)) * u128::from(n)) >> 64) as u64
    }

    /// Fills a slice of at most 2^33 numbers with standard normal ones: the f64 ones of
    /// [`Draws::fill_normal_f64`], rounded.
    pub fn fill_normal(&self, values: &mut [f32]) {
        self.fill(values, |[a, b, c, d]| {
            let ([z0, z1], [z2, z3]) = (gaussian_pair(a, b), gaussian_pair(c, d));
            [z0 as f32, z1 as f32, z2 as f32, z3 as f32]
        });
    }

    /// Fills a slice of at most 2^33 numbers with standard normal ones.
    pub fn fill_normal_f64(&self, values: &mut [f64]) {
        self.fill(values, |[a, b, c, d]| {
            let ([z0, z1], [z2, z3]) = (gaussian_pair(a, b), gaussian_pair(c, d));
            [z0, z1, z2, z3]
        });
    }

    /// Fills a slice of at most 2^33 numbers with uniform ones in [0, 1), multiples of 2^-24.
    pub fn fill_uniform(&self, values: &mut [f32]) {
        self.fill(values, |words| words.map(unit_half_open));
    }

    fn fill<T: Copy>(&self, values: &mut [T], numbers: impl Fn([u32; 4]) -> [T; 4]) {
        let (whole, rest) = values.as_chunks_mut::<4>();
        let last = whole.len() as u32;
        for (block, chunk) in (0..SLOTS).zip(whole) {
            *chunk = numbers(self.block(block));
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&numbers(self.block(last))[..rest.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draws(image: u64) -> Draws {
        Key::new(3, Stream::TEST).at(image)
    }

    /// Mean, variance, skewness and kurtosis of `n` numbers.
    fn moments(values: &[f64]) -> [f64; 4] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let power = |k| values.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
        [mean, power(2), power(3) / power(2).powf(1.5), power(4) / power(2).powi(2)]
    }

    #[test]
    fn normals_have_the_moments_of_the_normal_law() {
        let n = 400_000;
        let mut values = vec![0.0; n];
        draws(0).fill_normal_f64(&mut values);
        let [mean, variance, skewness, kurtosis] = moments(&values);
        let deviations =
            [mean, (variance - 1.0) / 2f64.sqrt(), skewness / 6f64.sqrt(), (kurtosis - 3.0) / 24f64.sqrt()];
        for deviation in deviations {
            assert!(deviation.abs() * (n as f64).sqrt() < 4.0, "{deviations:?}");
        }
        let beyond = values.iter().filter(|v| v.abs() > 3.0).count() as f64 / n as f64;
        assert!((beyond - 0.0026998).abs() < 4.0 * (0.0027 / n as f64).sqrt(), "{beyond}");
        // The two of a pair, and neighbours of different pairs, are uncorrelated.
        for lag in 1..4 {
            let product: f64 = values.windows(lag + 1).map(|w| w[0] * w[lag]).sum();
            assert!(product.abs() < 4.0 * (n as f64).sqrt(), "lag {lag}: {product}");
        }
    }

    #[test]
    fn uniforms_fill_the_interval_evenly() {
        let n = 100_000;
        let mut values = vec![0.0_f32; n];
        draws(1).fill_uniform(&mut values);
        let mut counts = [0.0_f64; 50];
        for value in values {
            assert!((0.0..1.0).contains(&value));
            counts[(value * 50.0) as usize] += 1.0;
        }
        let expected = n as f64 / 50.0;
        let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        assert!((20.0..90.0).contains(&chi_square), "{chi_square}");
    }

    #[test]
    fn slots_streams_images_and_seeds_do_not_meet() {
        let mut seen = std::collections::HashSet::new();
        for seed in [0, 1, 1 << 32] {
            for stream in [Stream::NOISE, Stream::TIME, Stream::NOISE.nth(0), Stream::NOISE.nth(1)] {
                for image in [0, 1, 1 << 32, u64::MAX] {
                    let draws = Key::new(seed, stream).at(image);
                    assert!((0..64).all(|slot| seen.insert(draws.bits(slot))));
                    let mut slice = [0.0; 64];
                    draws.fill_normal_f64(&mut slice);
                    assert!(slice.iter().all(|value| seen.insert(value.to_bits())));
                }
            }
        }
    }

    /// Computed apart from this code. These numbers are part of what a recorded run means and must never change.
    #[test]
    fn draws_are_what_they_were() {
        let draws = Key::new(42, Stream::NOISE).at(7);
        assert_eq!(draws.bits(0), 0x5b18_2e95_a4ac_f39b);
        assert!((draws.normal(1) + 0.261_379_901_217_779_15).abs() < 1e-15);
        let mut normal = [0.0_f32; 5];
        draws.fill_normal(&mut normal);
        assert_eq!(normal.map(f32::to_bits), [0xc00a_f1c9, 0x3dab_cd1e, 0xbeb4_f582, 0x3f7d_a91e, 0x3f5e_c2ab]);
        let mut uniform = [0.0_f32; 3];
        draws.fill_uniform(&mut uniform);
        assert_eq!(uniform, [0.094_405_53, 0.493_853_33, 0.575_013_4]);
    }

    proptest! {
        #[test]
        fn a_shorter_slice_is_the_start_of_a_longer_one(image: u64, length in 0usize..40) {
            let (mut long, mut short) = (vec![0.0_f32; 40], vec![0.0_f32; length]);
            draws(image).fill_normal(&mut long);
            draws(image).fill_normal(&mut short);
            prop_assert_eq!(&long[..length], &short[..]);
        }

        #[test]
        fn the_f32_normals_are_the_f64_ones_rounded(image: u64) {
            let (mut single, mut double) = ([0.0_f32; 7], [0.0_f64; 7]);
            draws(image).fill_normal(&mut single);
            draws(image).fill_normal_f64(&mut double);
            prop_assert_eq!(single, double.map(|value| value as f32));
        }

        #[test]
        fn below_is_below(image: u64, slot: u32, n in 1u64..) {
            prop_assert!(draws(image).below(slot, n) < n);
            prop_assert!((0.0..1.0).contains(&draws(image).uniform(slot)));
        }
    }
}
