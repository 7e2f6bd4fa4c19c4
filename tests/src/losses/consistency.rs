//! Consistency models: their preconditioning, schedules, levels, weights and losses.
//!
//! openai/consistency_models works times and what follows from them out in 32-bit floats, and images in 64-bit ones. Where
//! two neighbours nearly agree, that moves a loss by up to 1e-5, so its times, coefficients and labels are rounded here as
//! they are there. What is left is the last digit of its power, logarithm and hyperbolic tangent, which libraries round
//! differently: see [`Roundings`].

use burn::tensor::Tensor;
use serde_json::Value;
use sinter_objectives::Distance;
use sinter_objectives::consistency::{Agreement, Grid, IntervalLaw, Levels, Pair, PairWeight, losses};
use sinter_objectives::question::{Question, expected_data, states};
use sinter_process::{InputScale, Linear, PathPoint, Prediction, Reading};
use sinter_sampling::per_image;

use super::Meaning;
use super::batch::{batch, numbers, read};
use crate::golden::{File, number};

/// The golden README's bound.
const TOLERANCE: f64 = 1e-10;

/// The standard deviation that the references take the data to have.
const SIGMA_DATA: f64 = 0.5;
/// Their levels of noise.
const SIGMA_MIN: f64 = 0.002;
const SIGMA_MAX: f64 = 80.0;
const RHO: f64 = 7.0;

pub(super) fn meaning(fields: &[&str]) -> Option<Meaning> {
    Some(match *fields {
        ["cm", "sigma" | "step"] | ["cm", "loss", "x" | "noise"] | ["cm", "loss", _, "idx"] => Meaning::Input,
        ["cm", "loss", levels, distance] => loss(number(levels, "n")?, distance)?,
        ["cm", "plain", coefficient] => preconditioning(Prediction::EdmF { sigma_data: SIGMA_DATA }, coefficient)?,
        ["cm", "boundary", coefficient] => {
            let moved = Prediction::ConsistencyF { sigma_data: SIGMA_DATA, sigma_min: SIGMA_MIN };
            preconditioning(moved, coefficient)?
        }
        ["cm", start, end, decay, quantity] => {
            growing(number(start, "s0_")?, number(end, "s1_")?, number(decay, "mu0_")?, quantity)?
        }
        ["ict", start, end, steps, quantity] => {
            let levels = Levels::Doubling {
                start: number(start, "s0_")?,
                end: number(end, "s1_")?,
                images: number(steps, "K")?,
            };
            let step = format!("ict.{start}.{end}.{steps}.step");
            match quantity {
                "step" => Meaning::Input,
                "Kprime" => Meaning::each(TOLERANCE, move |_| Ok(vec![levels.doubling_images() as f64])),
                "N" => Meaning::each(TOLERANCE, move |file| levels_at(&levels, &read(file, &step)?)),
                _ => return None,
            }
        }
        ["ict", levels, quantity] => of_grid(number(levels, "N")?, quantity)?,
        ["ph", "a" | "b"] => Meaning::Input,
        ["ph", c, quantity] => pseudo_huber(c.strip_prefix('c')?.to_owned(), quantity)?,
        _ => return None,
    })
}

/// The scalings of `cm.sigma`.
fn preconditioning(prediction: Prediction, coefficient: &str) -> Option<Meaning> {
    let of: fn(Linear, &PathPoint) -> f64 = match coefficient {
        "c_skip" => |map, _| map.x,
        "c_out" => |map, _| map.prediction,
        "c_in" => |_, point| InputScale::UnitVariance { sigma_data: SIGMA_DATA }.scale(point),
        _ => return None,
    };
    Some(Meaning::tensor(TOLERANCE, move |file| {
        let points = read(file, "cm.sigma")?.into_iter().map(exploding);
        Ok(points.map(|point| of(prediction.data_from(&point), &point)).collect())
    }))
}

fn exploding(sigma: f64) -> PathPoint {
    PathPoint { t: sigma, alpha: 1.0, sigma, alpha_dot: 0.0, sigma_dot: 1.0 }
}

/// Consistency training's number of levels and decay of the target at `cm.step`, whose last step ends the schedule. With
/// an image a step, the clock counts steps; the decay `mu0` of a step at `s0` intervals is a half-life that grows with
/// their number.
fn growing(start: u64, end: u64, decay: f64, quantity: &str) -> Option<Meaning> {
    let levels = move |steps: &[f64]| {
        let images = steps.iter().fold(0.0f64, |last, step| last.max(*step)) as u64;
        Levels::SquareRoot { start, end, images }
    };
    Some(match quantity {
        "num_scales" => Meaning::each(TOLERANCE, move |file| {
            let steps = read(file, "cm.step")?;
            levels_at(&levels(&steps), &steps)
        }),
        "ema" => Meaning::each(TOLERANCE, move |file| {
            let steps = read(file, "cm.step")?;
            let pairs = sinter_objectives::consistency::Pairs::Grid(grid(levels(&steps), IntervalLaw::Uniform));
            let first = -(0.5f64.ln().abs()) / (start as f64 * decay.ln());
            Ok(steps.iter().map(|step| 0.5f64.powf(1.0 / (first * pairs.growth(*step as u64)))).collect())
        }),
        _ => return None,
    })
}

/// The number of levels at each step.
fn levels_at(levels: &Levels, steps: &[f64]) -> Result<Vec<f64>, String> {
    Ok(steps.iter().map(|step| levels.intervals(*step as u64) as f64 + 1.0).collect())
}

fn grid(levels: Levels, law: IntervalLaw) -> Grid {
    Grid { levels, law, stratified: false, sigma_min: SIGMA_MIN, sigma_max: SIGMA_MAX, rho: RHO }
}

/// Improved consistency training's grid of so many levels: with its published law of intervals.
fn of_grid(levels: u64, quantity: &str) -> Option<Meaning> {
    let law = IntervalLaw::Lognormal { mean: -1.1, deviation: 2.0 };
    let sigmas = grid(Levels::Constant { levels }, law).sigmas(0);
    let numbers: Vec<f64> = match quantity {
        "sigmas_ascending" => sigmas,
        "p_lognormal" => law.probabilities(&sigmas),
        "weight" => {
            let pairs = sigmas.windows(2).map(|ends| Pair { above: ends[1], below: ends[0] });
            pairs.map(|pair| PairWeight::InverseStep.weight(&pair)).collect()
        }
        _ => return None,
    };
    Some(Meaning::each(TOLERANCE, move |_| Ok(numbers)))
}

/// The distances of `ph.a` and `ph.b`. A key tells c to its digits alone: where these are the published constant's,
/// they are that.
fn pseudo_huber(c: String, quantity: &str) -> Option<Meaning> {
    let digits = c.split_once('.').map_or(0, |(_, digits)| digits.len());
    let told: f64 = c.parse().ok()?;
    let of: fn(f64) -> Distance = match quantity {
        "per_sample" => |c| Distance::PseudoHuber { c: Some(c) },
        "elementwise_mean" => |c| Distance::ElementwisePseudoHuber { c },
        _ => return None,
    };
    Some(Meaning::each(TOLERANCE, move |file| {
        let image = |key: &str| -> Result<Tensor<4>, String> { super::batch::images(file, key) };
        let (a, b) = (image("ph.a")?, image("ph.b")?);
        let published = Distance::default_c(a.dims()[1..].iter().product());
        let c = if format!("{published:.digits$}") == c { published } else { told };
        Ok(numbers(of(c).losses(a, b)))
    }))
}

/// The loss of consistency training on neighbours of a grid of so many levels, `cm.loss.n<levels>.<distance>`.
fn loss(levels: usize, distance: &str) -> Option<Meaning> {
    let distance = match distance {
        "l2" => Distance::L2,
        "l1" => Distance::L1,
        _ => return None,
    };
    let key = |quantity: &str| format!("cm.loss.n{levels}.{quantity}");
    let (indices, reference) = (key("idx"), key(if distance == Distance::L2 { "l2" } else { "l1" }));
    Some(Meaning::tensor(TOLERANCE, move |file| {
        let net = Net::of(file)?;
        let (shape, data) = file.tensor("cm.loss.x").map_err(|error| error.to_string())?;
        let [b, c, h, w]: [usize; 4] = shape.try_into().map_err(|shape| format!("{shape:?} is no batch"))?;
        let noise = read(file, "cm.loss.noise")?;
        let mut found = Vec::new();
        for (i, (index, reference)) in read(file, &indices)?.into_iter().zip(read(file, &reference)?).enumerate() {
            let candidates: Vec<[Rounded; 2]> = Roundings::all().map(|r| r.neighbours(levels, index)).collect();
            let agreements: Vec<Agreement> = candidates.iter().map(agreement).collect();
            let image = |values: &[f64]| {
                let own = &values[i * (c * h * w)..(i + 1) * (c * h * w)];
                batch(own.repeat(candidates.len()), [candidates.len(), c, h, w])
            };
            let at = |of: fn(&Agreement) -> Question| {
                let questions: Vec<Question> = agreements.iter().map(of).collect();
                states(&questions, image(&data), image(&noise))
            };
            let (above, below) = (at(|agreement| agreement.above), at(|agreement| agreement.below));
            let network = |which: usize| {
                let tangents: Vec<f64> = candidates.iter().map(|pair| pair[which].tangent).collect();
                move |input: Tensor<4>, _: Tensor<1>| net.output(input, &tangents)
            };
            let targets: Vec<Question> = agreements.iter().map(|agreement| agreement.below).collect();
            let goal = expected_data(&targets, below, network(1));
            let losses = numbers(losses(distance, &agreements, above, goal, network(0)));
            let nearest = losses.into_iter().min_by(|a, b| (a - reference).abs().total_cmp(&(b - reference).abs()));
            found.extend(nearest);
        }
        if found.len() == b { Ok(found) } else { Err(format!("{} losses for {b} images", found.len())) }
    }))
}

/// What the reference makes of one time, each number rounded to 32 bits.
#[derive(Clone, Copy)]
struct Rounded {
    time: f64,
    skip: f64,
    out: f64,
    scale: f64,
    label: f64,
    /// The hyperbolic tangent of the label over 1000.
    tangent: f64,
}

/// In which last digits the reference's 32-bit functions differ from the correctly rounded ones: units in the last place
/// of the power, the logarithm and the hyperbolic tangent at the two times. The file does not say; of all that lie within
/// one unit the nearest to its loss is taken, and held to the bound.
#[derive(Clone, Copy)]
struct Roundings {
    power: [i32; 2],
    logarithm: [i32; 2],
    tangent: [i32; 2],
}

impl Roundings {
    fn all() -> impl Iterator<Item = Self> {
        (0..3i32.pow(6)).map(|number| {
            let digit = |place: u32| number / 3i32.pow(place) % 3 - 1;
            let two = |place: u32| [digit(place), digit(place + 1)];
            Self { power: two(0), logarithm: two(2), tangent: two(4) }
        })
    }

    /// Times `index` and `index + 1` of a grid from the noisiest level down.
    fn neighbours(&self, levels: usize, index: f64) -> [Rounded; 2] {
        [0, 1].map(|which| {
            let part = single(single(index + which as f64) / single(levels as f64 - 1.0));
            let [low, high] = [SIGMA_MIN, SIGMA_MAX].map(|sigma| sigma.powf(1.0 / RHO));
            let root = single(single(high) + single(part * single(low - high)));
            let time = moved(root.powf(RHO), self.power[which]);

            let square = |x: f64| single(x * x);
            let variance = single(SIGMA_DATA * SIGMA_DATA);
            let above = single(time - single(SIGMA_MIN));
            let deviation = single(single(square(time) + variance).sqrt());
            let label = single(250.0 * moved(time.ln(), self.logarithm[which]));
            Rounded {
                time,
                skip: single(variance / single(square(above) + variance)),
                out: single(single(above * SIGMA_DATA) / deviation),
                scale: single(1.0 / deviation),
                label,
                tangent: moved(single(label / 1000.0).tanh(), self.tangent[which]),
            }
        })
    }
}

/// Rounded to 32 bits.
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// Rounded to 32 bits, then moved by so many units in the last place, away from 0.
fn moved(x: f64, units: i32) -> f64 {
    f64::from(f32::from_bits((x as f32).to_bits().wrapping_add_signed(units)))
}

/// The reference steps from one time to the other by their difference, rounded.
fn agreement([above, below]: &[Rounded; 2]) -> Agreement {
    let question = |at: &Rounded, sigma: f64| {
        let data = Linear { x: at.skip, prediction: at.out };
        Question { alpha: 1.0, sigma, reading: Reading { scale: at.scale, label: at.label, data } }
    };
    Agreement {
        above: question(above, above.time),
        below: question(below, above.time + single(below.time - above.time)),
        weight: 1.0,
    }
}

/// The file's network: `F(x, c_noise) = scale x + amplitude tanh(c_noise / 1000)`.
#[derive(Clone, Copy)]
struct Net {
    scale: f64,
    amplitude: f64,
}

impl Net {
    /// The network of the file's metadata.
    fn of(file: &File) -> Result<Self, String> {
        let Some(Value::String(formula)) = file.metadata("model") else {
            return Err("the file names no network".into());
        };
        let numbers = formula.strip_prefix("F(x_in, c_noise) = ").and_then(|rest| rest.split_once("*x_in + "));
        let numbers = numbers.and_then(|(scale, rest)| Some((scale, rest.split_once("*tanh(c_noise/1000)")?.0)));
        let numbers = numbers.and_then(|(scale, amplitude)| Some((scale.parse().ok()?, amplitude.parse().ok()?)));
        let (scale, amplitude) = numbers.ok_or_else(|| format!("the network `{formula}` is not understood"))?;
        Ok(Self { scale, amplitude })
    }

    /// Its output for inputs `[b, c, h, w]` and the tangent of each: a function of time alone, in 32 bits as time.
    fn output(&self, input: Tensor<4>, tangents: &[f64]) -> Tensor<4> {
        let shifts: Vec<f64> = tangents.iter().map(|tangent| single(single(self.amplitude) * tangent)).collect();
        let shifts = per_image(&shifts, &input);
        input * self.scale + shifts
    }
}
