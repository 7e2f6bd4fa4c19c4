//! The minimum of a smooth function of many variables: L-BFGS.

use std::collections::VecDeque;

/// Steps that the curvature is told from.
const MEMORY: usize = 10;

/// The share of the decrease that the slope promises which a step must bring (Armijo 1966).
const DECREASE: f64 = 1e-4;

/// Halvings of a step, after which the function is as low as rounding lets it become.
const HALVINGS: usize = 60;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most steps.
    pub(crate) iterations: usize,
    /// Where no derivative is larger, the minimum is reached.
    pub(crate) tolerance: f64,
}

/// Where the search ended.
#[derive(Clone, Debug)]
pub(crate) struct Minimum {
    pub(crate) place: Vec<f64>,
    pub(crate) value: f64,
    /// Whether all derivatives are within the tolerance.
    pub(crate) converged: bool,
}

/// A step and what the derivatives changed by on it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    product: f64,
}

/// Minimises a convex function, which returns its value and its derivatives, from `place` on by L-BFGS (Liu and Nocedal
/// 1989) with steps that are halved until the function falls enough.
pub(crate) fn minimize(mut place: Vec<f64>, limits: Limits, function: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Minimum {
    let (mut value, mut gradient) = function(&place);
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let small = |gradient: &[f64]| gradient.iter().all(|derivative| derivative.abs() <= limits.tolerance);
    for _ in 0..limits.iterations {
        if small(&gradient) {
            break;
        }
        let mut direction = direction(&gradient, &pairs);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding has spoilt what was remembered.
            pairs.clear();
            direction = gradient.iter().map(|derivative| -derivative).collect();
            slope = dot(&direction, &gradient);
        }
        // Without a memory of the curvature, a step of length 1 at most.
        let first = if pairs.is_empty() { (-slope).sqrt().recip().min(1.0) } else { 1.0 };
        let lengths = (0..HALVINGS).map(|halvings| first * 0.5f64.powi(halvings as i32));
        let next = lengths
            .map(|length| {
                let next: Vec<f64> = place.iter().zip(&direction).map(|(x, along)| x + length * along).collect();
                let (value, gradient) = function(&next);
                (length, next, value, gradient)
            })
            .find(|(length, _, found, _)| *found <= value + DECREASE * length * slope);
        let Some((_, next, found, next_gradient)) = next else { break };
        let step: Vec<f64> = next.iter().zip(&place).map(|(next, before)| next - before).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, before)| next - before).collect();
        let product = dot(&step, &change);
        if product > f64::EPSILON * dot(&change, &change) {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back(Pair { step, change, product });
        }
        (place, value, gradient) = (next, found, next_gradient);
    }
    Minimum { converged: small(&gradient), place, value }
}

/// Minus the gradient, times the inverse curvature that the pairs tell: the recursion of Nocedal (1980).
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|derivative| -derivative).collect();
    let mut factors = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let factor = dot(&pair.step, &direction) / pair.product;
        direction.iter_mut().zip(&pair.change).for_each(|(value, change)| *value -= factor * change);
        factors.push(factor);
    }
    if let Some(newest) = pairs.back() {
        let scale = newest.product / dot(&newest.change, &newest.change);
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for (pair, factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let back = factor - dot(&pair.change, &direction) / pair.product;
        direction.iter_mut().zip(&pair.step).for_each(|(value, step)| *value += back * step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { iterations: 200, tolerance: 1e-10 };

    #[test]
    fn a_narrow_valley_is_followed_to_its_end() {
        // sum c_i (x_i - i)^2 / 2 with curvatures from 1 to 10^4.
        let curvature = |i: usize| 10f64.powi(i as i32);
        let found = minimize(vec![0.0; 5], LIMITS, |place| {
            let off: Vec<f64> = place.iter().enumerate().map(|(i, x)| x - i as f64).collect();
            let value = off.iter().enumerate().map(|(i, off)| 0.5 * curvature(i) * off * off).sum();
            (value, off.iter().enumerate().map(|(i, off)| curvature(i) * off).collect())
        });
        assert!(found.converged && found.value < 1e-20, "{found:?}");
        assert!(found.place.iter().enumerate().all(|(i, x)| (x - i as f64).abs() < 1e-9));
    }

    #[test]
    fn what_has_no_minimum_ends_with_its_steps() {
        let limits = Limits { iterations: 20, tolerance: 0.0 };
        let found = minimize(vec![0.0], limits, |x| ((-x[0]).exp(), vec![-(-x[0]).exp()]));
        assert!(!found.converged && found.place[0] > 5.0 && found.value < 0.01, "{found:?}");
    }
}
