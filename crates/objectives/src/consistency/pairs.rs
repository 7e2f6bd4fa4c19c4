//! The two levels of noise at which a consistency model is to agree with itself.
//!
//! Levels are noise-to-signal ratios `sigma / alpha`, EDM's clock, whatever the path of the network. Schedules run on the
//! images seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::Key;
use sinter_process::schedule::karras;
use sinter_process::{Path, TimeDistribution, TimeLaw, fractions, normal};

/// Which two levels an image is shown at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Pairs {
    /// Neighbours of a grid, whose levels may grow in number (Song et al. 2023; Song and Dhariwal 2023).
    Grid(Grid),
    /// Any level, and one below that comes nearer as training goes on (Geng et al. 2024).
    Shrinking(Shrinking),
}

/// Two levels of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The noisier one, finite: here the student is trained.
    pub above: f64,
    /// The other, at least 0: here its target is.
    pub below: f64,
}

impl Pairs {
    /// The pairs of a whole batch, images `first_image` to `first_image + count - 1`, when so many `images` have been
    /// seen.
    pub fn pairs(&self, path: &Path, images: u64, key: &Key, first_image: u64, count: usize) -> Vec<Pair> {
        match self {
            Self::Grid(grid) => grid.pairs(images, &fractions(grid.stratified, key, first_image, count)),
            Self::Shrinking(shrinking) => {
                let times = shrinking.time.times(path, key, first_image, count);
                times.into_iter().map(|t| shrinking.pair(images, path.at(t).rho())).collect()
            }
        }
    }

    /// How many times as many intervals as in the beginning lie between the levels; 1 where they have no number.
    pub fn growth(&self, images: u64) -> f64 {
        match self {
            Self::Grid(grid) => grid.levels.intervals(images) as f64 / grid.levels.intervals(0) as f64,
            Self::Shrinking(_) => 1.0,
        }
    }

    /// Every problem of the settings.
    pub fn validate(&self) -> Problems {
        match self {
            Self::Grid(grid) => grid.validate(),
            Self::Shrinking(shrinking) => shrinking.validate(),
        }
    }
}

/// Levels even in `sigma^(1/rho)` (Karras et al. 2022, eq. 5), of which an image is shown two neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// How many levels there are.
    pub levels: Levels,
    /// How often each two neighbours are shown.
    #[serde(default)]
    pub law: IntervalLaw,
    /// Whether a batch is spread evenly over the law, from one common random offset.
    #[serde(default)]
    pub stratified: bool,
    /// The lowest level.
    #[serde(default = "sigma_min")]
    pub sigma_min: f64,
    /// The highest level.
    #[serde(default = "sigma_max")]
    pub sigma_max: f64,
    /// How strongly the grid favours low noise, >= 1.
    #[serde(default = "rho")]
    pub rho: f64,
}

fn sigma_min() -> f64 {
    0.002
}
fn sigma_max() -> f64 {
    80.0
}
fn rho() -> f64 {
    7.0
}

/// How many levels a grid has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Levels {
    /// Always as many.
    Constant {
        /// The number of levels.
        levels: u64,
    },
    /// The square of the number of intervals grows evenly: from `start` levels to `end + 1`,
    /// `ceil(sqrt(k / K ((end + 1)^2 - start^2) + start^2) - 1) + 1` after k of K images (Song et al. 2023, appendix C).
    SquareRoot {
        /// Levels in the beginning.
        start: u64,
        /// Intervals in the end.
        end: u64,
        /// Training images until then.
        images: u64,
    },
    /// The number of intervals doubles at even distances, from `start` to `end`: `min(start 2^floor(k / K'), end) + 1`
    /// levels after k of K images, with `K' = floor(K / (log2(end / start) + 1))` (Song and Dhariwal 2023, section 3.4).
    Doubling {
        /// Intervals in the beginning.
        start: u64,
        /// Intervals in the end.
        end: u64,
        /// Training images until the end of the last number.
        images: u64,
    },
}

impl Levels {
    /// Intervals between the levels when so many `images` have been seen: one fewer than levels.
    pub fn intervals(&self, images: u64) -> u64 {
        match *self {
            Self::Constant { levels } => levels.saturating_sub(1),
            Self::SquareRoot { start, end, images: all } => {
                let (first, last) = ((start as f64).powi(2), (end as f64 + 1.0).powi(2));
                let part = (images as f64 / all as f64).min(1.0);
                ((part * (last - first) + first).sqrt() - 1.0).ceil().max(1.0) as u64
            }
            Self::Doubling { start, end, .. } => {
                let doublings = (images / self.doubling_images()).min(63) as u32;
                start.saturating_mul(1 << doublings).min(end)
            }
        }
    }

    /// Training images between two doublings, K'; 1 where nothing doubles.
    pub fn doubling_images(&self) -> u64 {
        match *self {
            Self::Doubling { start, end, images } => {
                let numbers = (end as f64 / start as f64).log2() + 1.0;
                ((images as f64 / numbers).floor() as u64).max(1)
            }
            _ => 1,
        }
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        match *self {
            Self::Constant { levels } => problems.check(levels >= 2, "levels", "must be at least 2"),
            Self::SquareRoot { start, end, images } => {
                problems.check(start >= 2, "start", "must be at least 2 levels");
                problems.check(end + 1 >= start, "end", "must not be below the start");
                problems.check(images > 0, "images", "must be at least 1");
            }
            Self::Doubling { start, end, images } => {
                problems.check(start >= 1, "start", "must be at least 1 interval");
                problems.check(end >= start, "end", "must not be below the start");
                problems.check(images > 0, "images", "must be at least 1");
            }
        }
        problems
    }
}

/// How often each interval of a grid is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum IntervalLaw {
    /// All alike.
    #[default]
    Uniform,
    /// As a normal law of `ln sigma` fills them (Song and Dhariwal 2023, section 3.5).
    Lognormal {
        /// Mean of `ln sigma`.
        #[serde(default = "lognormal_mean")]
        mean: f64,
        /// Its standard deviation.
        #[serde(default = "lognormal_deviation")]
        deviation: f64,
    },
}

fn lognormal_mean() -> f64 {
    -1.1
}
fn lognormal_deviation() -> f64 {
    2.0
}

impl IntervalLaw {
    /// The probability that the level is below each of ascending `sigmas`: from 0 at the first to 1 at the last.
    fn shares(&self, sigmas: &[f64]) -> Vec<f64> {
        let below = |i: usize| match *self {
            Self::Uniform => i as f64,
            Self::Lognormal { mean, deviation } => normal::cumulative((sigmas[i].ln() - mean) / deviation),
        };
        let last = sigmas.len().saturating_sub(1);
        let (first, last) = (below(0), below(last));
        (0..sigmas.len()).map(|i| (below(i) - first) / (last - first)).collect()
    }

    /// The probability of each interval between ascending `sigmas`.
    pub fn probabilities(&self, sigmas: &[f64]) -> Vec<f64> {
        self.shares(sigmas).windows(2).map(|ends| ends[1] - ends[0]).collect()
    }
}

impl Grid {
    /// The levels, from the lowest up, when so many `images` have been seen.
    pub fn sigmas(&self, images: u64) -> Vec<f64> {
        let mut sigmas = karras(self.sigma_min, self.sigma_max, self.rho, self.levels.intervals(images) as usize + 1);
        sigmas.reverse();
        sigmas
    }

    /// The neighbours below which each of `fractions` of the law lies.
    fn pairs(&self, images: u64, fractions: &[f64]) -> Vec<Pair> {
        let sigmas = self.sigmas(images);
        let shares = self.law.shares(&sigmas);
        let pair = |u: &f64| {
            let interval = shares.partition_point(|share| share <= u).clamp(1, sigmas.len() - 1);
            Pair { above: sigmas[interval], below: sigmas[interval - 1] }
        };
        fractions.iter().map(pair).collect()
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("levels", self.levels.validate());
        let ordered = self.sigma_min > 0.0 && self.sigma_min < self.sigma_max && self.sigma_max.is_finite();
        problems.check(ordered, "sigma_min", "must be above 0 and below `sigma_max`, which must be finite");
        problems.check(self.rho >= 1.0 && self.rho.is_finite(), "rho", "must be finite and at least 1");
        if let IntervalLaw::Lognormal { mean, deviation } = self.law {
            problems.check(mean.is_finite(), "law.mean", "must be finite");
            problems.check(deviation > 0.0 && deviation.is_finite(), "law.deviation", "must be finite and above 0");
        }
        problems
    }
}

/// A level t of any law, and `r = t (1 - n(t) / q^(stage + 1))`, at least 0, with `n(t) = 1 + k / (1 + e^(b t))` and a stage
/// that grows by 1 every so many images, from 0 to the last (Geng et al. 2024, section 3.3). Where r is 0 the target is the
/// data, as in denoising.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shrinking {
    /// The law of t.
    #[serde(default = "shrinking_time")]
    pub time: TimeLaw,
    /// By what the distance is divided from stage to stage, above 1.
    #[serde(default = "shrinking_q")]
    pub q: f64,
    /// How much larger the distance is at low noise, >= 0.
    #[serde(default = "shrinking_k")]
    pub k: f64,
    /// How soon that ends as noise grows, >= 0.
    #[serde(default = "shrinking_b")]
    pub b: f64,
    /// Training images of a stage.
    pub stage_images: u64,
    /// How many stages there are; the last one lasts until training ends.
    #[serde(default = "shrinking_stages")]
    pub stages: u64,
}

fn shrinking_time() -> TimeLaw {
    let distribution = TimeDistribution::Lognormal { mean: lognormal_mean(), deviation: lognormal_deviation() };
    TimeLaw { distribution, stratified: false }
}
fn shrinking_q() -> f64 {
    2.0
}
fn shrinking_k() -> f64 {
    8.0
}
fn shrinking_b() -> f64 {
    1.0
}
fn shrinking_stages() -> u64 {
    8
}

/// The least relative distance of two levels that the rounding of 32-bit states leaves something of.
const LEAST_DISTANCE: f64 = 1e-5;

impl Shrinking {
    /// The stage when so many `images` have been seen, from 0.
    pub fn stage(&self, images: u64) -> u64 {
        (images / self.stage_images.max(1)).min(self.stages.saturating_sub(1))
    }

    /// The pair whose upper level is `above`.
    pub fn pair(&self, images: u64, above: f64) -> Pair {
        let n = 1.0 + self.k / (1.0 + (self.b * above).exp());
        let distance = n * self.q.powf(-(self.stage(images) as f64 + 1.0));
        Pair { above, below: (above * (1.0 - distance)).max(0.0) }
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.nest("time", self.time.validate());
        problems.check(self.q > 1.0 && self.q.is_finite(), "q", "must be finite and above 1");
        problems.check(self.k >= 0.0 && self.k.is_finite(), "k", "must be finite and at least 0");
        problems.check(self.b >= 0.0 && self.b.is_finite(), "b", "must be finite and at least 0");
        problems.check(self.stage_images > 0, "stage_images", "must be at least 1");
        problems.check(self.stages > 0, "stages", "must be at least 1");
        let nearest = self.q.powf(-(self.stages as f64));
        let message =
            format!("bring the levels {nearest:.1e} of their noise apart: 32-bit states need {LEAST_DISTANCE:e}");
        problems.check(nearest >= LEAST_DISTANCE || self.q <= 1.0, "stages", message);
        problems
    }
}

#[cfg(test)]
mod tests {
    use sinter_process::path::Edm;
    use sinter_process::random::Stream;

    use super::*;

    fn grid(levels: Levels, law: IntervalLaw) -> Grid {
        let Pairs::Grid(grid) = serde_json_grid() else { panic!() };
        Grid { levels, law, ..grid }
    }

    fn serde_json_grid() -> Pairs {
        toml::from_str(
            r#"type = "grid"
            levels = { type = "constant", levels = 18 }"#,
        )
        .unwrap()
    }

    #[test]
    fn grids_run_between_their_ends() {
        let sigmas = grid(Levels::Constant { levels: 18 }, IntervalLaw::Uniform).sigmas(0);
        assert_eq!(sigmas.len(), 18);
        assert!((sigmas[0] / 0.002 - 1.0).abs() < 1e-14 && (sigmas[17] / 80.0 - 1.0).abs() < 1e-14);
        assert!(sigmas.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// The published numbers: 2 levels to 151, and 11 to 1281.
    #[test]
    fn numbers_of_levels_grow_as_published() {
        let root = Levels::SquareRoot { start: 2, end: 150, images: 80_000 };
        let levels = [0, 1, 100, 5_000, 20_000, 50_000, 79_999, 80_000, 1 << 40].map(|k| root.intervals(k) + 1);
        assert_eq!(levels, [2, 3, 6, 38, 76, 120, 151, 151, 151]);
        let doubling = Levels::Doubling { start: 10, end: 1280, images: 400_000 };
        assert_eq!(doubling.doubling_images(), 50_000);
        let levels = [0, 49_999, 50_000, 399_999, 400_000, u64::MAX].map(|k| doubling.intervals(k) + 1);
        assert_eq!(levels, [11, 11, 21, 1281, 1281, 1281]);
        let pairs = Pairs::Grid(grid(doubling, IntervalLaw::Uniform));
        assert_eq!([pairs.growth(0), pairs.growth(100_000)], [1.0, 4.0]);
    }

    /// N levels make N - 1 pairs, each of its law's probability.
    #[test]
    fn every_interval_is_shown_as_often_as_its_law_says() {
        for law in [IntervalLaw::Uniform, IntervalLaw::Lognormal { mean: -1.1, deviation: 2.0 }] {
            let grid = grid(Levels::Constant { levels: 11 }, law);
            let sigmas = grid.sigmas(0);
            let probabilities = law.probabilities(&sigmas);
            assert_eq!(probabilities.len(), 10);
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            let n = 100_000;
            let fractions: Vec<f64> = (0..n).map(|i| (i as f64 + 0.5) / n as f64).collect();
            let pairs = grid.pairs(0, &fractions);
            for (i, probability) in probabilities.iter().enumerate() {
                let pair = Pair { above: sigmas[i + 1], below: sigmas[i] };
                let share = pairs.iter().filter(|found| **found == pair).count() as f64 / n as f64;
                assert!((share - probability).abs() < 2e-5, "{law:?} {i}: {share} {probability}");
            }
            // The ends of the unit interval are in the ends of the grid.
            let ends = grid.pairs(0, &[0.0, 1.0 - 1e-16]);
            assert_eq!((ends[0].below, ends[1].above), (sigmas[0], sigmas[10]));
        }
        let two = grid(Levels::Constant { levels: 2 }, IntervalLaw::Uniform).pairs(0, &[0.3]);
        assert!((two[0].below / 0.002 - 1.0).abs() < 1e-14 && (two[0].above / 80.0 - 1.0).abs() < 1e-14);
    }

    #[test]
    fn the_second_level_comes_nearer() {
        let shrinking: Shrinking = toml::from_str("stage_images = 1000").unwrap();
        // n is 5 at no noise and 1 at much: in the first stage the target is the data, but at much noise.
        assert_eq!(shrinking.pair(0, 0.1).below, 0.0);
        assert!((shrinking.pair(0, 40.0).below - 20.0).abs() < 1e-12);
        let distance = |images: u64| {
            let pair = shrinking.pair(images, 1.0);
            (pair.above - pair.below) / pair.above
        };
        let n = 1.0 + 8.0 / (1.0 + 1f64.exp());
        for stage in 2..12 {
            let counts = stage.min(7);
            assert!((distance(stage * 1000) - n / 2f64.powi(counts as i32 + 1)).abs() < 1e-15);
            assert_eq!(distance(stage * 1000), distance(stage * 1000 + 999));
        }
    }

    #[test]
    fn pairs_are_functions_of_the_image() {
        let path = Path::Edm(Edm::default());
        let key = Key::new(3, Stream::TIME);
        let shrinking: Shrinking = toml::from_str("stage_images = 1000").unwrap();
        for pairs in [serde_json_grid(), Pairs::Shrinking(shrinking)] {
            let whole = pairs.pairs(&path, 5000, &key, 5000, 64);
            assert_eq!(whole[40..], pairs.pairs(&path, 5000, &key, 5040, 24));
            assert!(whole.iter().all(|pair| pair.below < pair.above && pair.above <= 80.0 * (1.0 + 1e-12)));
            assert!(pairs.validate().is_empty());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = |text: &str| toml::from_str::<Pairs>(text).unwrap().validate().to_string();
        let found = wrong(
            r#"type = "grid"
            levels = { type = "doubling", start = 0, end = 0, images = 0 }
            sigma_min = 90.0"#,
        );
        for key in ["levels.start", "levels.images", "sigma_min"] {
            assert!(found.contains(key), "{found}");
        }
        assert!(wrong("type = \"shrinking\"\nstage_images = 0\nq = 1.0").contains("q"));
        assert!(wrong("type = \"shrinking\"\nstage_images = 10\nstages = 40").contains("stages"));
        assert!(toml::from_str::<Pairs>("type = \"grid\"\nlevls = 3").is_err());
    }
}
