//! The affine map of the last dimension.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::extension::{self, is_fusable};

/// `x weight + bias` on the last dimension.
///
/// Shapes: `x` `[.., in]`, `weight` `[in, out]` (Burn's order), `bias` `[out]`; result `[.., out]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if is_fusable(&x) && is_fusable(&weight) && bias.as_ref().is_none_or(is_fusable) {
        return match bias {
            Some(bias) => extension::run_3(extension::Linear, x, weight, bias),
            None => extension::run_2(extension::Linear, x, weight),
        };
    }
    linear_composed(x, weight, bias)
}

/// [`linear`] in Burn's operations.
pub fn linear_composed<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [inputs, outputs] = weight.dims();
    let mut shape = x.dims();
    assert!(D > 0 && shape[D - 1] == inputs, "linear: input {shape:?} does not end in weight's {inputs} rows");
    let rows = shape[..D - 1].iter().product();
    shape[D - 1] = outputs;
    // As one matrix: a batched product would give a gradient of the weight per batch entry, to be summed.
    let y = x.reshape([rows, inputs]).matmul(weight); // [rows, out]
    let y = match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    };
    y.reshape(shape)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::testing::{assert_defined, assert_same, flat};

    type Map = fn(Tensor<3>, Tensor<2>, Option<Tensor<1>>) -> Tensor<3>;

    /// Batch, rows, inputs and outputs.
    type Case = [usize; 4];

    fn with([b, n, i, o]: Case, f: Map) -> impl Fn(&[Tensor<1>]) -> Tensor<1> {
        move |x| flat(f(x[0].clone().reshape([b, n, i]), x[1].clone().reshape([i, o]), x.get(2).cloned()))
    }

    fn lengths([b, n, i, o]: Case) -> [usize; 3] {
        [b * n * i, i * o, o]
    }

    #[test]
    fn composed_form_is_the_definition() {
        let case @ [b, n, inputs, o] = [2, 3, 5, 4];
        assert_defined("linear", &lengths(case), with(case, linear_composed), |x| {
            let at = |at: usize| {
                let sum: f64 = (0..inputs).map(|i| x[0][at / o * inputs + i] * x[1][i * o + at % o]).sum();
                sum + x[2][at % o]
            };
            (0..b * n * o).map(at).collect()
        });
    }

    #[test]
    fn fused_form_is_the_composed_one() {
        // One block, pieces of rows, pieces of columns, and several slabs of the weight's gradient.
        for case in [[2, 3, 5, 7], [3, 400, 30, 50], [1, 20, 64, 1100], [1, 1, 1, 1], [5, 512, 3, 2]] {
            assert_same("with bias", &lengths(case), with(case, linear), with(case, linear_composed), 1e-5);
            assert_same("without", &lengths(case)[..2], with(case, linear), with(case, linear_composed), 1e-5);
        }
    }

    #[test]
    fn fused_form_reads_views_of_any_rank() {
        let with = |f: fn(Tensor<1>, Tensor<2>, Option<Tensor<1>>) -> Tensor<1>,
                    g: fn(Tensor<4>, Tensor<2>, Option<Tensor<1>>) -> Tensor<4>| {
            move |x: &[Tensor<1>]| {
                // The weight is a transposed view and is used twice.
                let weight = x[1].clone().reshape([6, 6]).swap_dims(0, 1);
                let y = g(x[0].clone().reshape([6, 2, 3, 5]).swap_dims(0, 3), weight.clone(), None);
                let z = f(x[2].clone(), weight, Some(x[2].clone()));
                Tensor::cat(vec![flat(y.swap_dims(1, 2)), z], 0)
            }
        };
        assert_same("views", &[180, 36, 6], with(linear, linear), with(linear_composed, linear_composed), 1e-5);
    }

    #[test]
    fn gradients_that_nobody_wants_are_left_out() {
        // A frozen weight: only x has a gradient.
        let with = |f: Map| {
            move |x: &[Tensor<1>]| {
                let weight = x[1].clone().reshape([5, 7]).detach();
                flat(f(x[0].clone().reshape([2, 3, 5]), weight, None))
            }
        };
        assert_same("frozen", &[30, 35], with(linear), with(linear_composed), 1e-5);
    }
}
