//! Discrete noise schedules and the grids of noise levels and times that samplers walk along.

mod betas;
mod shift;
mod sigmas;
mod spacing;
mod table;

pub use betas::{Schedule, zero_terminal_snr};
pub use shift::{flow_sigmas, resolution_mu, shift_time, unshift_time};
pub use sigmas::{exponential, karras, polyexponential};
pub use spacing::Spacing;
pub use table::{Posterior, Table};

/// `count` evenly spaced numbers from `first` to `last`, both included.
pub fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
    let step = (last - first) / (count.max(2) - 1) as f64;
    let mut numbers: Vec<f64> = (0..count).map(|i| first + i as f64 * step).collect();
    if let [_, .., end] = numbers.as_mut_slice() {
        *end = last;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = ["linear", "linear_openai_scaled", "scaled_linear", "cosine", "sigmoid", "sigmoid_jabri"];

    #[test]
    fn names_are_those_of_the_configuration() {
        for name in NAMES {
            let schedule = Schedule::named(name).unwrap();
            let read: Schedule = serde_json::from_str(&format!(r#"{{"type": "{name}"}}"#)).unwrap();
            assert_eq!(read, schedule);
            assert!(schedule.validate().is_empty());
        }
        assert_eq!(Schedule::named("quadratic"), None);
    }

    /// A step of the chain and its posterior are one joint law: marginalising gives back the marginal before.
    #[test]
    fn posteriors_undo_their_step() {
        for name in NAMES {
            for zero in [false, true] {
                let betas = Schedule::named(name).unwrap().betas(200);
                let table = Table::new(if zero { zero_terminal_snr(&betas) } else { betas });
                let (posterior, abar) = (table.posterior(), table.alphas_cumprod());
                for i in 1..200 {
                    let mean = posterior.data[i] + posterior.state[i] * abar[i].sqrt();
                    let variance = posterior.state[i].powi(2) * (1.0 - abar[i]) + posterior.variance[i];
                    assert!((mean - abar[i - 1].sqrt()).abs() < 1e-12, "{name} {i}");
                    assert!((variance - (1.0 - abar[i - 1])).abs() < 1e-12, "{name} {i}");
                }
                assert_eq!((posterior.variance[0], posterior.data[0], posterior.state[0]), (0.0, 1.0, 0.0));
            }
        }
    }

    #[test]
    fn rescaled_chains_end_in_pure_noise_and_start_as_before() {
        let betas = Schedule::default().betas(100);
        let (before, after) = (Table::new(betas.clone()), Table::new(zero_terminal_snr(&betas)));
        assert_eq!((after.alphas_cumprod()[99], after.betas()[99]), (0.0, 1.0));
        assert!((after.alphas_cumprod()[0] - before.alphas_cumprod()[0]).abs() < 1e-15);
        assert!(zero_terminal_snr(&[]).is_empty());
    }

    #[test]
    fn spacings_pick_so_many_indices_within_the_chain() {
        for count in [1, 3, 7, 61, 500, 999] {
            for spacing in [Spacing::Leading { offset: 0 }, Spacing::Trailing, Spacing::Linspace] {
                for indices in [spacing.indices(1000, count), spacing.interval_indices(1000, count)] {
                    assert_eq!(indices.len(), count, "{spacing:?}");
                    assert!(indices.windows(2).all(|pair| pair[0] > pair[1]), "{spacing:?} {count}");
                    assert!(indices.iter().all(|index| (0.0..1000.0).contains(index)), "{spacing:?} {count}");
                }
            }
        }
        assert_eq!(Spacing::Leading { offset: 1 }.indices(1000, 4), [751.0, 501.0, 251.0, 1.0]);
        assert_eq!(Spacing::Trailing.indices(1000, 4), [999.0, 749.0, 499.0, 249.0]);
        assert_eq!(Spacing::Linspace.indices(1000, 4), [999.0, 666.0, 333.0, 0.0]);
    }

    #[test]
    fn noise_levels_between_indices_lie_on_lines() {
        let table = Table::new(Schedule::default().betas(1000));
        let rhos = table.rhos();
        assert_eq!((table.rho_at(0.0), table.rho_at(999.0), table.rho_at(2000.0)), (rhos[0], rhos[999], rhos[999]));
        assert!((table.rho_at(10.25) - (0.75 * rhos[10] + 0.25 * rhos[11])).abs() < 1e-15);
    }

    proptest! {
        /// On the linear path a shift by s moves lambda by ln s.
        #[test]
        fn a_shift_moves_lambda(t in 0.001f64..0.999, shift in 0.1f64..10.0) {
            let lambda = |t: f64| crate::Path::LinearFlow.at(t).lambda();
            prop_assert!((lambda(shift_time(t, shift)) - lambda(t) + shift.ln()).abs() < 1e-12);
            prop_assert!((unshift_time(shift_time(t, shift), shift) - t).abs() < 1e-13);
        }

        #[test]
        fn noise_levels_fall_between_their_ends(low in 1e-4f64..0.1, ratio in 2.0f64..1e5, rho in 0.5f64..9.0, count in 2usize..50) {
            let high = low * ratio;
            for grid in [karras(low, high, rho, count), exponential(low, high, count), polyexponential(low, high, rho, count)] {
                prop_assert_eq!(grid.len(), count);
                prop_assert!((grid[0] / high - 1.0).abs() < 1e-12 && (grid[count - 1] / low - 1.0).abs() < 1e-12);
                prop_assert!(grid.windows(2).all(|pair| pair[0] > pair[1]));
            }
        }
    }

    #[test]
    fn the_shift_of_a_resolution_runs_through_its_two_points() {
        let mu = |tokens| resolution_mu(tokens, (256.0, 0.5), (4096.0, 1.15));
        assert!((mu(256.0) - 0.5).abs() < 1e-15 && (mu(4096.0) - 1.15).abs() < 1e-15);
    }
}
