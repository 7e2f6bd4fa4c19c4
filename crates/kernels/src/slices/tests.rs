//! Every instruction set that this machine has computes what portable code computes. (The tests of the operations hold the
//! machine's best one to Burn's own operations.)

use super::testing::{assert_close, values};
use super::*;

/// Fails unless `run` gives on every path what it gives on the portable one, to `tolerance`, with the same bits twice.
#[track_caller]
fn on_all_paths(name: &str, tolerance: f64, run: impl Fn(Isa) -> Vec<Vec<f32>>) {
    let all = Isa::available();
    let want: Vec<Vec<f64>> = run(all[0]).iter().map(|x| x.iter().map(|v| *v as f64).collect()).collect();
    for isa in all {
        let got = run(isa);
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert_close(&format!("{name}, output {i}, {isa:?}"), got, want, tolerance);
        }
        assert_eq!(got, run(isa), "{name}, {isa:?}: the same bits again");
    }
}

#[test]
fn activations() {
    for n in [1, 16, 1003] {
        let (x, g): (Vec<f32>, _) = (values(1, n).iter().map(|v| v * 8.0).collect(), values(2, n));
        on_all_paths("silu", 1e-6, |isa| vec![activation::silu(isa, &x), activation::silu_backward(isa, &x, &g)]);
        on_all_paths("gelu", 1e-6, |isa| vec![activation::gelu(isa, &x), activation::gelu_backward(isa, &x, &g)]);
    }
}

#[test]
fn norms_and_gate() {
    for (batch, rows, width) in [(1, 1, 1), (2, 3, 7), (2, 5, 70)] {
        let (x, h, g) =
            (values(1, batch * rows * width), values(2, batch * rows * width), values(3, batch * rows * width));
        let (shift, scale) = (values(4, batch * width), values(5, batch * width));
        let shape = layer_norm::Rows { rows, width };
        on_all_paths("layer norm", 2e-5, |isa| {
            let (y, statistics) = layer_norm::forward(isa, &x, &shift, &scale, shape, 1e-3);
            let gradients = layer_norm::backward(isa, &x, &g, &scale, &statistics, shape);
            vec![y, statistics, gradients.x, gradients.shift, gradients.scale]
        });
        on_all_paths("gate", 1e-6, |isa| {
            let (dh, dgate) = gate::backward(isa, &h, &scale, &g, shape);
            vec![gate::forward(isa, &x, &h, &scale, shape), dh, dgate]
        });
    }
    for (batch, channels, pixels, groups) in [(1, 1, 2, 1), (2, 6, 15, 3), (2, 4, 49, 2)] {
        for activation in [false, true] {
            let (x, g) = (values(1, batch * channels * pixels), values(2, batch * channels * pixels));
            let (weight, bias) = (values(3, batch * channels), values(4, batch * channels));
            let shape = group_norm::Groups { channels, pixels, groups, epsilon: 1e-3, activation };
            on_all_paths("group norm", 2e-5, |isa| {
                let (y, statistics) = group_norm::forward(isa, &x, &weight, &bias, shape);
                let gradients = group_norm::backward(isa, &x, &g, &weight, &bias, &statistics, shape);
                vec![y, statistics, gradients.x, gradients.weight, gradients.bias]
            });
        }
    }
}

#[test]
fn attention() {
    use attention::{Heads, Inputs, Layout, Outputs, Sizes};
    for (batch, heads, queries, keys, width) in [(1, 1, 1, 1, 1), (2, 3, 5, 9, 4), (1, 2, 70, 140, 8)] {
        let sizes = Sizes { batch, heads, queries, keys, width };
        let of_queries = Layout::separate(heads, queries, width);
        let of_keys = Layout::separate(heads, keys, width);
        let (q, g) = (values(1, batch * heads * queries * width), values(2, batch * heads * queries * width));
        let (k, v) = (values(3, batch * heads * keys * width), values(4, batch * heads * keys * width));
        let mask = values(5, batch * keys);
        on_all_paths("attention", 5e-6, |isa| {
            let inputs = Inputs {
                q: Heads { data: &q, layout: of_queries },
                k: Heads { data: &k, layout: of_keys },
                v: Heads { data: &v, layout: of_keys },
                mask: Some(&mask),
            };
            let (out, log_sums) = attention::forward(isa, sizes, inputs, of_queries);
            let outputs = Outputs {
                out: Heads { data: &out, layout: of_queries },
                log_sums: &log_sums,
                gradient: Heads { data: &g, layout: of_queries },
            };
            let [dq, dk, dv] = attention::backward(isa, sizes, inputs, outputs);
            vec![out, log_sums, dq, dk, dv]
        });
    }
}

#[test]
fn optimizer_steps() {
    let coefficients = optimizer::Coefficients {
        gradient_scale: 0.5,
        beta_1: 0.9,
        rest_1: 0.1,
        beta_2: 0.99,
        rest_2: 0.01,
        root_scale: 2.0,
        epsilon: 1e-8,
        shrink: 0.999,
        step_size: 0.01,
    };
    for n in [1, 50, 20_000] {
        on_all_paths("adamw and ema", 1e-6, |isa| {
            let (mut parameter, gradient, mut first) = (values(1, n), values(2, n), values(3, n));
            let mut second: Vec<f32> = values(4, n).iter().map(|v| v * v).collect();
            optimizer::adamw(isa, &mut parameter, &gradient, &mut first, &mut second, coefficients);
            let mut average = values(5, n);
            optimizer::ema(isa, &mut average, &parameter, 0.25);
            vec![parameter, first, second, average]
        });
    }
}
