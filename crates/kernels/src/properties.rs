//! Every fused operation is its composed form, and every composed form has the gradients of what it computes, for
//! shapes, memory layouts and uses drawn at random.
//!
//! The draws are the same in every run; `PROPTEST_CASES` asks for more of them, `PROPTEST_RNG_SEED` for others.

use std::ops::RangeInclusive;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Device, Tensor};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, contextualize_config};

use crate::extension::{Operation, run_1};
use crate::testing::{Form, assert_same_on, assert_same_values, assert_slopes, flat, inputs};
use crate::*;

const TOLERANCE: f64 = 1e-5;
/// What is relative to the largest value is relative to this where that is less: in a result that cancels, the rounding of
/// its terms, of about 1, stays.
const FLOOR: f64 = 1.0;

fn config() -> ProptestConfig {
    contextualize_config(ProptestConfig {
        cases: 128,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    })
}

/// A view of memory without gaps: how an operation sees an input. An axis counts modulo the number of axes.
#[derive(Clone, Copy, Debug)]
struct View {
    swapped: (usize, usize),
    flipped: Option<usize>,
    /// The axis along which the view leaves out what comes first and last.
    cut: Option<usize>,
    /// The axis along which everything is the same.
    repeated: Option<usize>,
}

fn view() -> impl Strategy<Value = View> {
    let swapped = prop_oneof![4 => Just((0, 0)), 1 => Just((1, 2)), 2 => (0usize..4, 0usize..4)];
    let axis = || weighted(0.15, 0usize..4);
    (swapped, axis(), axis(), axis()).prop_map(|(swapped, flipped, cut, repeated)| View {
        swapped,
        flipped,
        cut,
        repeated,
    })
}

/// An input of an operation.
#[derive(Clone, Copy, Debug)]
struct Input<const D: usize>([usize; D], View);

impl<const D: usize> Input<D> {
    /// The shape of what is in memory, after the axes are swapped.
    fn stored(&self) -> [usize; D] {
        let Self(mut shape, view) = *self;
        view.repeated.inspect(|axis| shape[axis % D] = 1);
        view.cut.inspect(|axis| shape[axis % D] += 3);
        shape
    }

    /// Elements in memory.
    fn len(&self) -> usize {
        self.stored().iter().product()
    }

    /// The view of those elements.
    fn of(&self, x: &Tensor<1>) -> Tensor<D> {
        let (Self(shape, view), mut stored) = (*self, self.stored());
        let (i, j) = (view.swapped.0 % D, view.swapped.1 % D);
        stored.swap(i, j);
        let mut x = x.clone().reshape(stored).swap_dims(i, j);
        if let Some(axis) = view.flipped {
            x = x.flip([(axis % D) as isize]);
        }
        if let Some(axis) = view.cut {
            let axis = axis % D;
            x = x.narrow(axis, 1, self.stored()[axis] - 3);
        }
        x.expand(shape)
    }
}

/// How a result is used, on which depends how its gradient lies in memory.
#[derive(Clone, Copy, Debug)]
enum Use {
    Whole,
    Swapped(usize, usize),
    Flipped(usize),
    /// Behind another tensor along an axis: the gradient is a part of a larger one.
    Joined(usize),
    /// Summed along an axis: the gradient is the same along it, and one number in memory.
    Summed(usize),
}

fn any_use() -> impl Strategy<Value = Use> {
    prop_oneof![
        2 => Just(Use::Whole),
        1 => (0usize..4, 0usize..4).prop_map(|(i, j)| Use::Swapped(i, j)),
        1 => (0usize..4).prop_map(Use::Flipped),
        1 => (0usize..4).prop_map(Use::Joined),
        1 => (0usize..4).prop_map(Use::Summed),
    ]
}

impl Use {
    fn of<const D: usize>(self, y: Tensor<D>) -> Tensor<1> {
        // Beside a sum its terms, which say how large its error may be.
        let behind_itself = |y: Tensor<D>, used, axis| flat(Tensor::cat(vec![y.detach(), used], axis));
        match self {
            Self::Whole => flat(y),
            Self::Swapped(i, j) => flat(y.swap_dims(i % D, j % D)),
            Self::Flipped(axis) => flat(y.flip([(axis % D) as isize])),
            Self::Joined(axis) => behind_itself(y.clone(), y, axis % D),
            Self::Summed(axis) => behind_itself(y.clone(), run_1(Sum(axis % D), y), axis % D),
        }
    }
}

/// The sum along an axis. Burn's own writes its gradient out; this one's is a view that repeats it.
#[derive(Clone, Copy, Debug)]
struct Sum(usize);

impl Operation<1> for Sum {
    /// `x`, for its shape.
    type Saved = [FlexTensor; 1];

    fn name(&self) -> &'static str {
        "sum"
    }

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        (Flex::float_sum_dim(x.clone(), self.0), [x])
    }

    fn backward(&self, [x]: Self::Saved, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(Flex::float_expand(gradient, x.layout().shape().clone()))]
    }
}

/// What every property draws.
#[derive(Clone, Copy, Debug)]
struct Draw {
    seed: u64,
    used: Use,
    /// An input, of several, that wants no gradient.
    frozen: Option<usize>,
}

fn draw() -> impl Strategy<Value = Draw> {
    (0u64..1000, any_use(), weighted(0.3, 0usize..5)).prop_map(|(seed, used, frozen)| Draw { seed, used, frozen })
}

/// Holds the fused form to the composed one, and that to its slopes. `form` makes a form of either, for flat inputs of
/// these lengths.
#[track_caller]
fn check<F: Copy, G: Form>(lengths: &[usize], draw: Draw, [fused, composed]: [F; 2], form: impl Fn(F, Use) -> G) {
    let inputs = inputs(draw.seed, lengths);
    let frozen = draw.frozen.map(|frozen| frozen % lengths.len()).filter(|_| lengths.len() > 1);
    let freeze = |form: G| {
        move |x: &[Tensor<1>]| {
            let mut x = x.to_vec();
            frozen.inspect(|i| x[*i] = x[*i].clone().detach());
            form(&x)
        }
    };
    let forms = (freeze(form(fused, draw.used)), freeze(form(composed, draw.used)));
    assert_same_on("fused", &inputs, forms.0, forms.1, TOLERANCE, FLOOR);
    assert_slopes("composed", &inputs, form(composed, Use::Whole));
}

/// A size: mostly a small one, now and then one past the vectors and tiles of the kernels.
fn size(small: RangeInclusive<usize>, large: RangeInclusive<usize>) -> impl Strategy<Value = usize> {
    prop_oneof![4 => small, 1 => large]
}

/// Batch, rows and width.
fn rows() -> impl Strategy<Value = [usize; 3]> {
    (1usize..=4, size(1..=9, 60..=70), size(1..=20, 60..=200)).prop_map(<[usize; 3]>::from)
}

/// Batch, channels, height and width.
fn image() -> impl Strategy<Value = [usize; 4]> {
    (1usize..=4, size(1..=5, 30..=40), 1usize..=9, size(1..=9, 30..=35)).prop_map(<[usize; 4]>::from)
}

/// Sizes of the convolutions: the image, output channels, kernel, stride, padding.
#[derive(Clone, Copy, Debug)]
struct Convolution {
    x: [usize; 4],
    weight: [usize; 4],
    stride: usize,
    padding: usize,
}

fn convolution() -> impl Strategy<Value = Convolution> {
    // Of every kind; and the kinds of networks: 3 x 3 that keeps the size or halves it, and 1 x 1.
    let kind = prop_oneof![
        2 => ((1usize..=5, 1usize..=5), 1usize..=3, 0usize..=2),
        2 => Just(((3, 3), 1, 1)),
        1 => Just(((3, 3), 2, 1)),
        1 => Just(((1, 1), 1, 0)),
    ];
    // Few images with few or many channels, or many images.
    let sizes = prop_oneof![
        3 => (1usize..=4, 1usize..=9, 1usize..=9),
        2 => (1usize..=4, 10usize..=70, 10usize..=70),
        1 => (17usize..=40, 1usize..=3, 1usize..=3),
    ];
    (kind, sizes, (0usize..=9, 0usize..=9)).prop_map(|((kernel, stride, padding), (batch, inputs, outputs), more)| {
        let extent = |kernel: usize, more: usize| kernel.saturating_sub(2 * padding).max(1) + more;
        Convolution {
            x: [batch, inputs, extent(kernel.0, more.0), extent(kernel.1, more.1)],
            weight: [outputs, inputs, kernel.0, kernel.1],
            stride,
            padding,
        }
    })
}

/// An epsilon that leaves 32-bit floats digits where all elements of a group are nearly the same.
fn epsilon() -> impl Strategy<Value = f64> {
    0.01f64..0.5
}

type Map<const D: usize> = fn(Tensor<D>) -> Tensor<D>;
type Linear<const D: usize> = fn(Tensor<D>, Tensor<2>, Option<Tensor<1>>) -> Tensor<D>;

/// The properties of [`linear`] for `shape`, its last size being that of the input.
fn check_linear<const D: usize>(shape: [usize; D], outputs: usize, views: [View; 3], biased: bool, draw: Draw) {
    let x = Input(shape, views[0]);
    let weight = Input([shape[D - 1], outputs], views[1]);
    let bias = Input([outputs], views[2]);
    let lengths = [x.len(), weight.len(), bias.len()];
    let forms: [Linear<D>; 2] = [linear, composed::linear];
    check(&lengths[..2 + biased as usize], draw, forms, |linear, used| {
        move |t: &[Tensor<1>]| used.of(linear(x.of(&t[0]), weight.of(&t[1]), t.get(2).map(|t| bias.of(t))))
    });
}

/// Burn's own operations do not take empty tensors everywhere; the fused ones do.
#[test]
fn no_images_give_no_results() {
    let device = Device::flex().autodiff();
    let (rows, row) = (Tensor::<3>::zeros([0, 5, 6], &device), Tensor::<2>::zeros([0, 6], &device));
    let (image, channel) = (Tensor::<4>::zeros([0, 6, 4, 2], &device), Tensor::<1>::zeros([6], &device));
    let heads = || Tensor::<4>::zeros([0, 2, 5, 3], &device);
    assert_eq!(silu(rows.clone()).dims(), [0, 5, 6]);
    assert_eq!(gelu_tanh(rows.clone()).dims(), [0, 5, 6]);
    assert_eq!(gate_residual(rows.clone(), rows.clone(), row.clone()).dims(), [0, 5, 6]);
    assert_eq!(layer_norm_modulate(rows.clone(), row.clone(), row.clone(), 1e-5).dims(), [0, 5, 6]);
    assert_eq!(packed_attention(rows.clone(), 2).dims(), [0, 5, 2]);
    assert_eq!(attention(heads(), heads(), heads(), None).dims(), [0, 2, 5, 3]);
    assert_eq!(group_norm(image.clone(), channel.clone(), channel.clone(), 3, 1e-5, true).dims(), [0, 6, 4, 2]);
    assert_eq!(upsample_nearest_2x(image.clone()).dims(), [0, 6, 8, 4]);
    assert_eq!(average_pool_2x(image.clone()).dims(), [0, 6, 2, 1]);
    // What the images share gets gradients of zero.
    for kernel in [1, 3] {
        let weight = Tensor::<4>::ones([4, 6, kernel, kernel], &device).require_grad();
        let y = conv2d(image.clone(), weight.clone(), None, 1, kernel / 2);
        assert_eq!(y.dims(), [0, 4, 4, 2]);
        assert_eq!(weight.grad(&y.sum().backward()).unwrap().abs().sum().into_scalar::<f32>(), 0.0);
    }
    let weight = Tensor::<2>::ones([6, 4], &device).require_grad();
    let y = linear(rows, weight.clone(), None);
    assert_eq!(y.dims(), [0, 5, 4]);
    assert_eq!(weight.grad(&y.sum().backward()).unwrap().abs().sum().into_scalar::<f32>(), 0.0);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn activations(
        (shape, view, draw) in (image(), view(), draw()),
        gelu in any::<bool>(),
        spread in 0.1f64..20.0,
    ) {
        let x = Input(shape, view);
        let forms: [Map<4>; 2] = if gelu { [gelu_tanh, composed::gelu_tanh] } else { [silu, composed::silu] };
        check(&[x.len()], draw, forms, |f, used| move |t: &[Tensor<1>]| used.of(f(x.of(&(t[0].clone() * spread)))));
    }

    #[test]
    fn resamplings([b, c, h, w] in image(), view in view(), draw in draw(), up in any::<bool>()) {
        let x = Input(if up { [b, c, h, w] } else { [b, c, 2 * h, 2 * w] }, view);
        let forms: [Map<4>; 2] = if up {
            [upsample_nearest_2x, composed::upsample_nearest_2x]
        } else {
            [average_pool_2x, composed::average_pool_2x]
        };
        check(&[x.len()], draw, forms, |f, used| move |t: &[Tensor<1>]| used.of(f(x.of(&t[0]))));
    }

    #[test]
    fn gates([b, n, d] in rows(), views in [view(), view(), view()], draw in draw()) {
        let (x, h, gate) = (Input([b, n, d], views[0]), Input([b, n, d], views[1]), Input([b, d], views[2]));
        check(&[x.len(), h.len(), gate.len()], draw, [gate_residual, composed::gate_residual], |f, used| {
            move |t: &[Tensor<1>]| used.of(f(x.of(&t[0]), h.of(&t[1]), gate.of(&t[2])))
        });
    }

    #[test]
    fn layer_norms([b, n, d] in rows(), views in [view(), view(), view()], draw in draw(), epsilon in epsilon()) {
        // Of one number as a whole row the gradient is zero, and only rounding would be compared.
        let repeated = views[0].repeated.filter(|axis| axis % 3 != 2);
        let x = Input([b, n, d], View { repeated, ..views[0] });
        let (shift, scale) = (Input([b, d], views[1]), Input([b, d], views[2]));
        let forms = [layer_norm_modulate, composed::layer_norm_modulate];
        check(&[x.len(), shift.len(), scale.len()], draw, forms, |f, used| {
            move |t: &[Tensor<1>]| used.of(f(x.of(&t[0]), shift.of(&t[1]), scale.of(&t[2]), epsilon))
        });
    }

    #[test]
    fn group_norms(
        ([b, c, h, w], groups) in (image(), 1usize..=8),
        views in [view(), view(), view(), view(), view()],
        (draw, epsilon, activation, modulated) in (draw(), epsilon(), any::<bool>(), any::<bool>()),
    ) {
        let c = c * groups;
        let x = Input([b, c, h, w], views[0]);
        let (gamma, beta) = (Input([c], views[1]), Input([c], views[2]));
        let (shift, scale) = (Input([b, c], views[3]), Input([b, c], views[4]));
        let lengths = [x.len(), gamma.len(), beta.len(), shift.len(), scale.len()];
        if modulated {
            let forms = [group_norm_modulate, composed::group_norm_modulate];
            check(&lengths, draw, forms, |f, used| move |t: &[Tensor<1>]| {
                let (shift, scale) = (shift.of(&t[3]), scale.of(&t[4]));
                used.of(f(x.of(&t[0]), gamma.of(&t[1]), beta.of(&t[2]), shift, scale, groups, epsilon, activation))
            });
        } else {
            check(&lengths[..3], draw, [group_norm, composed::group_norm], |f, used| move |t: &[Tensor<1>]| {
                used.of(f(x.of(&t[0]), gamma.of(&t[1]), beta.of(&t[2]), groups, epsilon, activation))
            });
        }
    }

    #[test]
    fn attentions(
        (b, h, n, m, d) in (1usize..=4, 1usize..=3, size(1..=9, 60..=70), size(1..=9, 120..=140), size(1..=9, 30..=40)),
        views in [view(), view(), view(), view()],
        (draw, masked) in (draw(), any::<bool>()),
    ) {
        let (q, k, v) = (Input([b, h, n, d], views[0]), Input([b, h, m, d], views[1]), Input([b, h, m, d], views[2]));
        let mask = Input([b, m], views[3]);
        let lengths = [q.len(), k.len(), v.len(), mask.len()];
        check(&lengths[..3 + masked as usize], draw, [attention, composed::attention], |f, used| {
            move |t: &[Tensor<1>]| used.of(f(q.of(&t[0]), k.of(&t[1]), v.of(&t[2]), t.get(3).map(|t| mask.of(t))))
        });
    }

    #[test]
    fn packed_attentions(
        (b, heads, n, d) in (1usize..=4, 1usize..=4, size(1..=9, 120..=140), size(1..=9, 20..=30)),
        (view, draw) in (view(), draw()),
    ) {
        let qkv = Input([b, n, 3 * heads * d], view);
        check(&[qkv.len()], draw, [packed_attention, composed::packed_attention], |f, used| {
            move |t: &[Tensor<1>]| used.of(f(qkv.of(&t[0]), heads))
        });
    }

    #[test]
    fn convolutions(
        sizes in convolution(),
        views in [view(), view(), view()],
        (draw, biased) in (draw(), any::<bool>()),
    ) {
        let Convolution { x, weight, stride, padding } = sizes;
        let bias = Input([weight[0]], views[2]);
        let (x, weight) = (Input(x, views[0]), Input(weight, views[1]));
        let lengths = [x.len(), weight.len(), bias.len()];
        check(&lengths[..2 + biased as usize], draw, [conv2d, composed::conv2d], |f, used| {
            move |t: &[Tensor<1>]| {
                let bias = t.get(2).map(|t| bias.of(t));
                used.of(f(x.of(&t[0]), weight.of(&t[1]), bias, stride, padding))
            }
        });
    }

    #[test]
    fn linears(
        // Mostly small; with so many rows or columns that they are cut into pieces; of any rank.
        ((b, n), inputs, outputs) in prop_oneof![
            4 => ((1usize..=4, 1usize..=9), size(1..=9, 60..=70), size(1..=9, 60..=70)),
            1 => ((1usize..=2, 1000usize..=1100), 10usize..=20, 15usize..=20),
            1 => ((1usize..=2, 10usize..=20), 10usize..=20, 1000usize..=1100),
        ],
        views in [view(), view(), view()],
        (draw, biased, rank) in (draw(), any::<bool>(), 1usize..=4),
    ) {
        match rank {
            1 => check_linear([inputs], outputs, views, biased, draw),
            2 => check_linear([n, inputs], outputs, views, biased, draw),
            3 => check_linear([b, n, inputs], outputs, views, biased, draw),
            _ => check_linear([2, b, n, inputs], outputs, views, biased, draw),
        }
    }

    #[test]
    fn optimizer_steps(
        (n, m) in (size(1..=9, 200..=300), size(1..=20, 200..=300)),
        views in [view(), view(), view(), view()],
        (seed, shared) in (0u64..1000, any::<bool>()),
        (learning_rate, beta_1, beta_2) in (1e-4f64..0.1, 0.0f64..0.99, 0.5f64..0.9999),
        (epsilon, weight_decay, gradient_scale, step) in (1e-8f64..1e-3, 0.0f64..0.5, 0.1f64..2.0, 1u64..10_000),
    ) {
        let inputs_of = views.map(|view| Input([n, m], view));
        let inputs = inputs(seed, &inputs_of.map(|input| input.len()));
        let update = AdamW { learning_rate, beta_1, beta_2, epsilon, weight_decay, gradient_scale, step };
        // A tensor that nobody else holds is written in place; one that is shared must stay as it is.
        let kept = |f: &dyn Fn([Tensor<2>; 4]) -> Vec<Tensor<2>>, t: &[Tensor<1>]| {
            let x: [Tensor<2>; 4] = std::array::from_fn(|i| inputs_of[i].of(&t[i]));
            let x = if shared { x } else { x.map(|x| x + 0.0) };
            let held = shared.then(|| x.clone());
            let results = f(x).into_iter().chain(held.into_iter().flatten());
            Tensor::cat(results.map(flat).collect(), 0)
        };
        let with_adamw = |f: fn(Tensor<2>, Tensor<2>, Moments<2>, &AdamW) -> (Tensor<2>, Moments<2>)| {
            move |t: &[Tensor<1>]| kept(&|[parameter, gradient, first, root]| {
                let moments = Moments { first, second: root.clone() * root };
                let (parameter, Moments { first, second }) = f(parameter, gradient, moments, &update);
                vec![parameter, first, second]
            }, t)
        };
        let forms = (with_adamw(adamw_step), with_adamw(composed::adamw_step));
        assert_same_values("adamw", &inputs, forms.0, forms.1, TOLERANCE, FLOOR);
        let with_ema = |f: fn(Tensor<2>, Tensor<2>, f64) -> Tensor<2>| {
            move |t: &[Tensor<1>]| kept(&|[average, parameter, ..]| vec![f(average, parameter, beta_2)], t)
        };
        assert_same_values("ema", &inputs, with_ema(ema_step), with_ema(composed::ema_step), TOLERANCE, FLOOR);
    }

    #[test]
    fn square_norms(shape in image(), view in view(), seed in 0u64..1000) {
        let x = Input(shape, view);
        let inputs = inputs(seed, &[x.len()]);
        let with = |f: fn(Tensor<4>) -> Tensor<1>| move |t: &[Tensor<1>]| f(x.of(&t[0]));
        assert_same_values("square norm", &inputs, with(square_norm), with(composed::square_norm), TOLERANCE, FLOOR);
        assert_slopes("square norm", &inputs, with(composed::square_norm));
    }
}
