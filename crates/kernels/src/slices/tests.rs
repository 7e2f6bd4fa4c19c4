//! Every instruction set that this machine has computes what portable code computes. (The tests of the operations hold the
//! machine's best one to Burn's own operations.)

use super::testing::{assert_close, in_time, values};
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
    for n in [1, 16, 77, 1003].into_iter().filter(|n| in_time(40 * n)) {
        let (x, g): (Vec<f32>, _) = (values(1, n).iter().map(|v| v * 8.0).collect(), values(2, n));
        on_all_paths("silu", 1e-6, |isa| vec![activation::silu(isa, &x), activation::silu_backward(isa, &x, &g)]);
        on_all_paths("gelu", 1e-6, |isa| vec![activation::gelu(isa, &x), activation::gelu_backward(isa, &x, &g)]);
    }
}

#[test]
fn norms_and_gate() {
    let sizes = [(1, 1, 1), (2, 3, 7), (1, 2, 35), (2, 5, 70)];
    for (batch, rows, width) in sizes.into_iter().filter(|(batch, rows, width)| in_time(40 * batch * rows * width)) {
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
    let sizes = [(1, 1, 2, 1), (2, 3, 5, 3), (1, 2, 35, 1), (2, 6, 15, 3), (2, 4, 49, 2)];
    let in_time = |(batch, channels, pixels, _): &(usize, usize, usize, usize)| in_time(40 * batch * channels * pixels);
    for (batch, channels, pixels, groups) in sizes.into_iter().filter(in_time) {
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
    // The second for Miri, under which it has several tiles of queries and keys.
    let sizes = [(1, 1, 1, 1, 1), (2, 1, 5, 9, 2), (2, 3, 5, 9, 4), (1, 2, 70, 140, 8)];
    for (batch, heads, queries, keys, width) in sizes.into_iter().filter(|(b, h, n, m, _)| in_time(40 * b * h * n * m))
    {
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
fn packed_attention() {
    use attention::{Heads, Inputs, Layout, Outputs, Sizes};
    let sizes = [(1, 1, 1, 1), (1, 2, 5, 2), (2, 3, 5, 4), (1, 2, 70, 3)];
    for (batch, heads, rows, width) in sizes.into_iter().filter(|(b, h, n, _)| in_time(40 * b * h * n * n)) {
        let sizes = Sizes { batch, heads, queries: rows, keys: rows, width };
        let (qkv, g) = (values(1, batch * rows * 3 * heads * width), values(2, batch * rows * heads * width));
        let part = |part| Heads { data: &qkv, layout: Layout::packed(heads, rows, width, part, 3) };
        let layout = Layout::packed(heads, rows, width, 0, 1);
        on_all_paths("packed attention", 5e-6, |isa| {
            let inputs = Inputs { q: part(0), k: part(1), v: part(2), mask: None };
            let (out, log_sums) = attention::forward(isa, sizes, inputs, layout);
            let outputs = Outputs {
                out: Heads { data: &out, layout },
                log_sums: &log_sums,
                gradient: Heads { data: &g, layout },
            };
            let gradient = attention::backward_packed(isa, sizes, inputs, outputs);
            // The gradients of the parts, each by itself, are those of the whole.
            let [dq, dk, dv] = attention::backward(isa, sizes, inputs, outputs);
            let separate = Layout::separate(heads, rows, width);
            for (part, want) in [&dq, &dk, &dv].into_iter().enumerate() {
                let packed = Layout::packed(heads, rows, width, part, 3);
                for (b, h, i) in (0..batch * heads * rows).map(|i| (i / rows / heads, i / rows % heads, i % rows)) {
                    let row = |x: &[f32], layout: Layout| x[layout.start(b, h) + i * layout.row..][..width].to_vec();
                    assert_eq!(row(&gradient, packed), row(want, separate));
                }
            }
            vec![out, log_sums, gradient]
        });
    }
}

#[test]
fn gradients_of_no_queries_are_zero() {
    use attention::{Heads, Inputs, Layout, Outputs, Sizes};
    let sizes = Sizes { batch: 2, heads: 1, queries: 0, keys: 3, width: 2 };
    let (layout, keys) = (Layout::separate(1, 0, 2), values(1, 12));
    let none = Heads { data: &[], layout };
    let of_keys = Heads { data: &keys, layout: Layout::separate(1, 3, 2) };
    let inputs = Inputs { q: none, k: of_keys, v: of_keys, mask: None };
    for isa in Isa::available() {
        let (out, log_sums) = attention::forward(isa, sizes, inputs, layout);
        assert_eq!((out.len(), log_sums.len()), (0, 0));
        let outputs = Outputs { out: none, log_sums: &log_sums, gradient: none };
        assert_eq!(attention::backward(isa, sizes, inputs, outputs), [vec![], vec![0.0; 12], vec![0.0; 12]]);
    }
}

#[test]
fn resampling() {
    // The last in several pieces of work.
    for (rows, width) in [(1, 1), (7, 5), (9, 1500)].into_iter().filter(|(rows, width)| in_time(rows * width)) {
        let x = values(1, rows * width);
        let y = resample::spread(&x, width, 0.5);
        assert_eq!(y.len(), 4 * x.len());
        for (i, y) in y.iter().enumerate() {
            let (row, column) = (i / (2 * width), i % (2 * width));
            assert_eq!(*y, 0.5 * x[row / 2 * width + column / 2]);
        }
        // Four halves of each pixel.
        assert_eq!(resample::gather(&y, width, 0.5), x);
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
    for n in [1, 50, 20_000].into_iter().filter(|n| in_time(*n)) {
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
