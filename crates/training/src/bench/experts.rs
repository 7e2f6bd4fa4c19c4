//! The experts of a block in three forms: mixed, as networks compute them, gathered and masked.
//!
//! All give `sum p_j (x W_j + b_j)` over the experts that an image takes. The last two are what the literature computes
//! where tokens choose experts of their own; here all tokens of an image share theirs, which are linear besides, and so
//! their weights can be mixed first.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Distribution, IndexingUpdateOp, Int, Tensor, TensorData};
use serde::Serialize;
use sinter_kernels::linear;
use sinter_models::routing::experts::mix;

use super::{Timing, milliseconds, operations::synchronise};
use crate::{DeviceConfig, TrainingError};

/// Widths of Switch-DiT-S, B and L with their tokens of an image; experts of a block, and how many an image takes.
const WIDTHS: [usize; 3] = [384, 768, 1024];
const TOKENS: usize = 256;
const BATCH: usize = 8;
const EXPERTS: [(usize, usize); 2] = [(3, 2), (8, 2)];

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// CPU threads.
    pub threads: usize,
    /// How often each form was measured at each size.
    pub rounds: usize,
    /// The sizes.
    pub sizes: Vec<Measured>,
}

/// All forms at one size; forward pass and gradients of tokens, shares, weights and biases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Features of a token.
    pub width: usize,
    /// Experts.
    pub experts: usize,
    /// Experts that an image takes.
    pub active: usize,
    /// Time of the mixed form.
    pub mixed: Timing,
    /// Time of the gathered form.
    pub gathered: Timing,
    /// Time of the masked form.
    pub masked: Timing,
    /// Time of the gathered form over that of the mixed one, of each round.
    pub gathered_over_mixed: Ratio,
    /// Time of the masked form over that of the mixed one, of each round.
    pub masked_over_mixed: Ratio,
}

/// Of the rounds' ratios.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Median.
    pub median: f64,
    /// A quarter of the rounds are below.
    pub lower_quartile: f64,
    /// A quarter of the rounds are above.
    pub upper_quartile: f64,
}

impl Ratio {
    fn of(rounds: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = rounds.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |quarters: usize| sorted.get(sorted.len() * quarters / 4).copied();
        Some(Self { median: at(2)?, lower_quartile: at(1)?, upper_quartile: at(3)? })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.2} ({:.2} to {:.2})", self.median, self.lower_quartile, self.upper_quartile)
    }
}

/// A line of the page's table.
impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, experts, active, mixed, gathered, masked, gathered_over_mixed, masked_over_mixed } = self;
        let [mixed, gathered, masked] = [mixed, gathered, masked].map(|timing| timing.median_ms);
        write!(
            formatter,
            "| {width} | {experts} | {active} | {mixed:.1} | {gathered:.1} | {masked:.1} | {gathered_over_mixed} | \
             {masked_over_mixed} |"
        )
    }
}

/// What stands above the table.
fn heading(threads: usize, rounds: usize) -> String {
    format!(
        "# The experts of a block in three forms

```sh
sinter bench experts --rounds {rounds} --threads {threads}
```

`sum p_j (x W_j + b_j)` over the experts that an image takes, forward and backward, for {BATCH} images of {TOKENS} \
tokens, f32, {threads} threads of the CPU.

- **mixed**: the weights of an image's experts first, then one product for each image. What networks compute.
- **gathered**: images sorted by expert, one product for each expert, and the results scattered back. Sorting and \
scattering are Burn's; were they free, this form would take `taken / experts` of the masked one's time.
- **masked**: every expert on every image, and a sum in which those that are not taken count nothing.

The forms take turns within a round. Times are medians over {rounds} rounds; ratios are medians of the rounds' ratios, \
with quartiles, and above 1 where the mixed form is faster. The rule: networks compute the mixed form as long as \
none of these medians is below 1.

| width | experts | taken | mixed ms | gathered ms | masked ms | gathered / mixed | masked / mixed |
|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
}

/// Measures all forms at all sizes, `rounds` times each. `say` is told the page's lines as they come.
///
/// # Errors
/// When the device fails.
pub fn measure(threads: usize, rounds: usize, mut say: impl FnMut(&dyn fmt::Display)) -> Result<Report, TrainingError> {
    let device = DeviceConfig::default().open()?;
    say(&heading(threads, rounds));
    let mut sizes = Vec::new();
    for width in WIDTHS {
        for (experts, active) in EXPERTS {
            let block = Block::new([BATCH, TOKENS, width], experts, active, &device.clone().autodiff());
            if let Some(measured) = block.measure(active, rounds, &device)? {
                say(&measured);
                sizes.push(measured);
            }
        }
    }
    Ok(Report { threads, rounds, sizes })
}

/// Inputs of the forms; their gradients are asked for.
struct Block {
    /// `[b, n, d]`.
    x: Tensor<3>,
    /// `[b, experts]`, 0 for those not taken.
    given: Tensor<2>,
    /// `[experts, d, d]` and `[experts, d]`, as networks hold them.
    weight: Tensor<3>,
    bias: Tensor<2>,
    /// `[d, d]` and `[d]` of each expert.
    separate: Vec<(Tensor<2>, Tensor<1>)>,
}

impl Block {
    /// Image `i` takes experts `i, i + 1, ..`.
    fn new(shape @ [b, _, d]: [usize; 3], experts: usize, active: usize, device: &Device) -> Self {
        let taken = |image: usize, expert: usize| (expert + experts - image % experts) % experts < active;
        let share = |i: usize| if taken(i / experts, i % experts) { 1.0 / experts as f32 } else { 0.0 };
        let given = TensorData::new((0..b * experts).map(share).collect::<Vec<f32>>(), [b, experts]);
        let normal = Distribution::Normal(0.0, 1.0);
        let weight = Tensor::<3>::random([experts, d, d], normal, device) / (d as f64).sqrt();
        let bias = Tensor::<2>::random([experts, d], normal, device);
        let of_expert = |j: usize| {
            let weight = weight.clone().narrow(0, j, 1).reshape([d, d]).detach().require_grad();
            (weight, bias.clone().narrow(0, j, 1).reshape([d]).detach().require_grad())
        };
        Self {
            x: Tensor::random(shape, normal, device).require_grad(),
            given: Tensor::from_data(given, device).require_grad(),
            separate: (0..experts).map(of_expert).collect(),
            weight: weight.detach().require_grad(),
            bias: bias.require_grad(),
        }
    }

    fn mixed(&self) -> Tensor<3> {
        mix(self.x.clone().into(), self.given.clone().into(), self.weight.clone(), self.bias.clone()).value
    }

    fn gathered(&self) -> Tensor<3> {
        let (x, experts) = (&self.x, self.separate.len());
        let shares: Vec<f32> = self.given.clone().detach().into_data().iter::<f32>().collect();
        let mut sum = Tensor::zeros(x.dims(), &x.device());
        for (j, (weight, bias)) in self.separate.iter().enumerate() {
            let images = (0..x.dims()[0]).filter(|image| shares[image * experts + j] != 0.0);
            let images: Vec<i64> = images.map(|image| image as i64).collect();
            if images.is_empty() {
                continue;
            }
            let count = images.len();
            let images = Tensor::<1, Int>::from_data(TensorData::new(images, [count]), &x.device());
            let share = self.given.clone().narrow(1, j, 1).select(0, images.clone()).reshape([count, 1, 1]);
            let own = linear(x.clone().select(0, images.clone()), weight.clone(), Some(bias.clone())) * share;
            sum = sum.select_assign(0, images, own, IndexingUpdateOp::Add);
        }
        sum
    }

    fn masked(&self) -> Tensor<3> {
        let b = self.x.dims()[0];
        let of_expert = |(j, (weight, bias)): (usize, &(Tensor<2>, Tensor<1>))| {
            let share = self.given.clone().narrow(1, j, 1).reshape([b, 1, 1]);
            linear(self.x.clone(), weight.clone(), Some(bias.clone())) * share
        };
        let zeros = Tensor::zeros(self.x.dims(), &self.x.device());
        self.separate.iter().enumerate().map(of_expert).fold(zeros, |sum, own| sum + own)
    }

    /// `None` of no rounds.
    fn measure(&self, active: usize, rounds: usize, device: &Device) -> Result<Option<Measured>, TrainingError> {
        let forms = [Self::mixed, Self::gathered, Self::masked];
        let time = |form: fn(&Self) -> Tensor<3>| {
            let began = Instant::now();
            drop(black_box(form(self).backward()));
            synchronise(device)?;
            Ok::<f64, TrainingError>(milliseconds(began))
        };
        let mut times = [const { Vec::new() }; 3];
        // The first round is not counted: it allocates.
        for round in 0..=rounds {
            for (form, times) in forms.iter().zip(&mut times) {
                let milliseconds = time(*form)?;
                if round > 0 {
                    times.push(milliseconds);
                }
            }
        }
        let [mixed, gathered, masked] = &times;
        let over_mixed = |times: &[f64]| Ratio::of(times.iter().zip(mixed).map(|(time, mixed)| time / mixed));
        let measured = || {
            Some(Measured {
                width: self.x.dims()[2],
                experts: self.separate.len(),
                active,
                mixed: Timing::of(mixed)?,
                gathered: Timing::of(gathered)?,
                masked: Timing::of(masked)?,
                gathered_over_mixed: over_mixed(gathered)?,
                masked_over_mixed: over_mixed(masked)?,
            })
        };
        Ok(measured())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn all_forms_are_one_function_with_one_gradient() {
        for (experts, active) in [(1, 1), (3, 2), (8, 2), (3, 3)] {
            let block = Block::new([5, 4, 6], experts, active, &Device::flex().autodiff());
            let run = |form: fn(&Block) -> Tensor<3>, is_mixed: bool| {
                let y = form(&block);
                let gradients = y.clone().square().sum().backward();
                let weight = match is_mixed {
                    true => values(block.weight.grad(&gradients).unwrap()),
                    false => {
                        // An expert that no image takes has no gradient.
                        let of_expert = |(weight, _): &(Tensor<2>, Tensor<1>)| match weight.grad(&gradients) {
                            Some(gradient) => values(gradient),
                            None => vec![0.0; 36],
                        };
                        block.separate.iter().flat_map(of_expert).collect()
                    }
                };
                [values(y), values(block.x.grad(&gradients).unwrap()), weight]
            };
            let mixed = run(Block::mixed, true);
            for form in [Block::gathered, Block::masked] {
                for (found, expected) in run(form, false).iter().flatten().zip(mixed.iter().flatten()) {
                    assert!((found - expected).abs() < 1e-4, "{experts} experts: {found} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn ratios_are_of_rounds() {
        let ratio = Ratio::of([4.0, 1.0, 3.0, 2.0].into_iter()).unwrap();
        assert_eq!((ratio.median, ratio.lower_quartile, ratio.upper_quartile), (3.0, 2.0, 4.0));
        assert_eq!(Ratio::of(std::iter::empty()), None);
    }
}
