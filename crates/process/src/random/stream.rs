//! What a random draw is for.

/// The purpose of a draw. Different streams of one seed are independent, so that more draws for one purpose never
/// change another's.
///
/// The numbers are part of every recorded run: none is ever given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream(u32);

impl Stream {
    /// The order in which an epoch visits the data; indexed by epoch.
    pub const DATA_ORDER: Self = Self(0);
    /// Flips, crops and other augmentation of a training image.
    pub const AUGMENTATION: Self = Self(1);
    /// The noise that a training image is mixed with.
    pub const NOISE: Self = Self(2);
    /// The time at which a training image is shown.
    pub const TIME: Self = Self(3);
    /// Whether a training image is shown without its condition.
    pub const CONDITION_DROPOUT: Self = Self(4);
    /// Dropout masks inside a network; [`Stream::nth`] numbers the layers.
    pub const DROPOUT: Self = Self(5);
    /// Weights of a new network; indexed by parameter.
    pub const INITIALIZATION: Self = Self(6);
    /// The noise of a sample; [`Stream::nth`] numbers the draws of one sampler.
    pub const SAMPLE_NOISE: Self = Self(7);
    /// What a sample is asked to show.
    pub const SAMPLE_CONDITION: Self = Self(8);
    /// Pictures of procedural data.
    pub const RENDER: Self = Self(9);
    /// The times at which the held-out loss is measured.
    pub const VALIDATION: Self = Self(10);
    /// The noise with which the held-out loss is measured.
    pub const VALIDATION_NOISE: Self = Self(11);
    /// Subsets and resamples of an evaluation.
    pub const EVALUATION: Self = Self(12);
    /// The channels of a network's tasks.
    pub const ROUTING: Self = Self(13);
    /// The noise of a teacher's pairs; indexed by pair.
    pub const PAIR_NOISE: Self = Self(14);
    /// The noise of a generator in training; [`Stream::nth`] numbers its steps.
    pub const GENERATOR_NOISE: Self = Self(15);
    /// The step at which a generator is trained.
    pub const GENERATOR_STEP: Self = Self(16);
    /// The times at which a discriminator looks; [`Stream::nth`] numbers the looks.
    pub const DISCRIMINATOR_TIME: Self = Self(17);
    /// The noise through which a discriminator looks.
    pub const DISCRIMINATOR_NOISE: Self = Self(18);
    /// The noise of a policy's rollouts: [`Stream::nth`] 0 is the start, `k + 1` that of step `k`.
    pub const ROLLOUT_NOISE: Self = Self(20);
    /// Which of its steps a rollout is trained on.
    pub const ROLLOUT_STEPS: Self = Self(21);
    /// Where the window of stochastic steps stands; indexed by an update's first image.
    pub const ROLLOUT_WINDOW: Self = Self(22);
    /// The settings that a search tries; [`Stream::nth`] numbers its parameters, the index its trials.
    pub const SEARCH: Self = Self(23);
    /// Draws of tests and examples.
    pub const TEST: Self = Self(255);

    /// The `index`-th of this purpose's own sub-streams (layers of a network, steps of a sampler), all independent of
    /// each other and of the stream itself. `index` < 2^24 - 1.
    pub const fn nth(self, index: u32) -> Self {
        Self((self.0 & 0xFF) | ((index + 1) << 8))
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }
}
