//! The operations that are measured, at the sizes of small transformers and UNets.
//!
//! Floating-point operations are those of the formula, whatever the form: an exponential, a root and a division count
//! as one. Memory traffic is that of inputs and result, each once.

use burn::tensor::Tensor;
use sinter_kernels::{
    AdamW, Moments, adamw_step, attention, average_pool_2x, conv2d, ema_step, gate_residual, gelu_tanh, group_norm,
    group_norm_modulate, layer_norm_modulate, linear, packed_attention, silu, square_norm, upsample_nearest_2x,
};

/// An operation at one size.
pub(super) struct Case {
    /// Name of the function.
    pub(super) operation: &'static str,
    /// Its sizes by name.
    pub(super) sizes: Vec<(&'static str, usize)>,
    /// Name and sizes in words.
    pub(super) label: String,
    /// Floating-point operations of the forward pass.
    pub(super) flop: f64,
    /// Elements of each input.
    pub(super) inputs: Vec<usize>,
    /// Elements of the result.
    pub(super) outputs: usize,
    pub(super) body: Body,
}

impl Case {
    /// Bytes of the forward pass' inputs and result.
    pub(super) fn bytes(&self) -> f64 {
        4.0 * (self.inputs.iter().sum::<usize>() + self.outputs) as f64
    }
}

type Function = dyn Fn(&[Tensor<1>]) -> Tensor<1>;
type Update = dyn Fn(Vec<Tensor<1>>) -> Vec<Tensor<1>>;

/// What runs, on flat tensors of the case's lengths.
pub(super) enum Body {
    /// A function with gradients of all inputs.
    Function(Box<Function>),
    /// An update in place, from state to state.
    Update(Box<Update>),
}

fn function(f: impl Fn(&[Tensor<1>]) -> Tensor<1> + 'static) -> Body {
    Body::Function(Box::new(f))
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let elements = x.shape().num_elements();
    x.reshape([elements])
}

/// All cases, those of one operation side by side.
pub(super) fn all() -> Vec<Case> {
    let mut all = vec![activation("silu", silu, 4.0), activation("gelu_tanh", gelu_tanh, 9.0)];
    all.extend(
        [[4096, 192, 768], [4096, 768, 192], [4096, 192, 576], [4096, 192, 192], [2048, 384, 1536]].map(linear_of),
    );
    all.extend([[64, 64, 6, 192], [8, 256, 6, 384]].map(packed_attention_of));
    all.push(attention_of([64, 64, 16, 6, 192]));
    all.push(layer_norm_of([64, 64, 192]));
    all.push(gate_of([64, 64, 192]));
    for form in [group_norm_of, group_norm_modulate_of] {
        all.extend([[64, 64, 28, 28], [8, 256, 16, 16]].map(form));
    }
    // Batch, channels in and out, edge of the image, kernel, stride.
    let convolutions = [
        [64, 64, 64, 28, 3, 1],
        [64, 32, 32, 28, 3, 1],
        [64, 64, 64, 14, 3, 1],
        [64, 128, 64, 14, 3, 1],
        [64, 64, 64, 7, 3, 1],
        [8, 128, 128, 32, 3, 1],
        [8, 256, 256, 16, 3, 1],
        [8, 512, 256, 16, 3, 1],
        [8, 256, 256, 8, 3, 1],
        [8, 256, 256, 4, 3, 1],
        [16, 16, 16, 32, 3, 1],
        [64, 32, 32, 28, 3, 2],
        [8, 128, 128, 32, 3, 2],
        [64, 64, 64, 28, 1, 1],
        [8, 512, 256, 16, 1, 1],
    ];
    all.extend(convolutions.map(convolution_of));
    all.push(resample("upsample_nearest_2x", upsample_nearest_2x, [64, 64, 14, 14], 64 * 64 * 28 * 28, 0.0));
    all.push(resample("average_pool_2x", average_pool_2x, [64, 64, 28, 28], 64 * 64 * 14 * 14, 4.0));
    all.extend(updates(4 << 20));
    all
}

fn activation(operation: &'static str, f: fn(Tensor<1>) -> Tensor<1>, flop: f64) -> Case {
    let elements = 64 * 64 * 768;
    Case {
        operation,
        sizes: vec![("elements", elements)],
        label: format!("{operation} 64 x 64 x 768"),
        flop: flop * elements as f64,
        inputs: vec![elements],
        outputs: elements,
        body: function(move |x| f(x[0].clone())),
    }
}

fn linear_of([rows, inputs, outputs]: [usize; 3]) -> Case {
    Case {
        operation: "linear",
        sizes: vec![("rows", rows), ("inputs", inputs), ("outputs", outputs)],
        label: format!("linear {inputs} to {outputs}, {rows} rows"),
        flop: (rows * outputs * (2 * inputs + 1)) as f64,
        inputs: vec![rows * inputs, inputs * outputs, outputs],
        outputs: rows * outputs,
        body: function(move |x| {
            let (rows, weight) = (x[0].clone().reshape([rows, inputs]), x[1].clone().reshape([inputs, outputs]));
            flat(linear(rows, weight, Some(x[2].clone())))
        }),
    }
}

/// Two products of a multiplication and an addition, and the softmax's maximum, difference, exponential and sum.
fn attention_flop([batch, queries, keys, heads, width]: [usize; 5]) -> f64 {
    (4 * batch * queries * keys * (width + heads)) as f64
}

fn packed_attention_of([batch, tokens, heads, width]: [usize; 4]) -> Case {
    Case {
        operation: "packed_attention",
        sizes: vec![("batch", batch), ("tokens", tokens), ("heads", heads), ("width", width)],
        label: format!("packed_attention {tokens} tokens, {heads} heads, width {width}, batch {batch}"),
        flop: attention_flop([batch, tokens, tokens, heads, width]),
        inputs: vec![batch * tokens * 3 * width],
        outputs: batch * tokens * width,
        body: function(move |x| flat(packed_attention(x[0].clone().reshape([batch, tokens, 3 * width]), heads))),
    }
}

fn attention_of([batch, queries, keys, heads, width]: [usize; 5]) -> Case {
    Case {
        operation: "attention",
        sizes: vec![("batch", batch), ("queries", queries), ("keys", keys), ("heads", heads), ("width", width)],
        label: format!("attention {queries} queries, {keys} keys, {heads} heads, width {width}, batch {batch}"),
        flop: attention_flop([batch, queries, keys, heads, width]),
        inputs: vec![batch * queries * width, batch * keys * width, batch * keys * width],
        outputs: batch * queries * width,
        body: function(move |x| {
            // As projections give them: heads side by side in each token.
            let of = |i: usize, n: usize| x[i].clone().reshape([batch, n, heads, width / heads]).swap_dims(1, 2);
            flat(attention(of(0, queries), of(1, keys), of(2, keys), None).swap_dims(1, 2))
        }),
    }
}

fn layer_norm_of([batch, tokens, width]: [usize; 3]) -> Case {
    let elements = batch * tokens * width;
    Case {
        operation: "layer_norm_modulate",
        sizes: vec![("batch", batch), ("tokens", tokens), ("width", width)],
        label: format!("layer_norm_modulate {tokens} tokens, width {width}, batch {batch}"),
        // Mean 1, variance 3, normalization 2, shift and scale 2.
        flop: 8.0 * elements as f64,
        inputs: vec![elements, batch * width, batch * width],
        outputs: elements,
        body: function(move |x| {
            let of_image = |i: usize| x[i].clone().reshape([batch, width]);
            flat(layer_norm_modulate(x[0].clone().reshape([batch, tokens, width]), of_image(1), of_image(2), 1e-6))
        }),
    }
}

fn gate_of([batch, tokens, width]: [usize; 3]) -> Case {
    let elements = batch * tokens * width;
    Case {
        operation: "gate_residual",
        sizes: vec![("batch", batch), ("tokens", tokens), ("width", width)],
        label: format!("gate_residual {tokens} tokens, width {width}, batch {batch}"),
        flop: 2.0 * elements as f64,
        inputs: vec![elements, elements, batch * width],
        outputs: elements,
        body: function(move |x| {
            let tokens = |i: usize| x[i].clone().reshape([batch, tokens, width]);
            flat(gate_residual(tokens(0), tokens(1), x[2].clone().reshape([batch, width])))
        }),
    }
}

const GROUPS: usize = 32;

fn group_norm_of([batch, channels, height, width]: [usize; 4]) -> Case {
    let elements = batch * channels * height * width;
    Case {
        operation: "group_norm",
        sizes: vec![("batch", batch), ("channels", channels), ("height", height), ("width", width), ("groups", GROUPS)],
        label: format!("group_norm {channels} channels, {height} x {width}, batch {batch}"),
        // Mean 1, variance 3, normalization and weights 2, SiLU 4.
        flop: 10.0 * elements as f64,
        inputs: vec![elements, channels, channels],
        outputs: elements,
        body: function(move |x| {
            let images = x[0].clone().reshape([batch, channels, height, width]);
            flat(group_norm(images, x[1].clone(), x[2].clone(), GROUPS, 1e-5, true))
        }),
    }
}

fn group_norm_modulate_of(shape @ [batch, channels, height, width]: [usize; 4]) -> Case {
    let plain = group_norm_of(shape);
    Case {
        operation: "group_norm_modulate",
        label: plain.label.replace("group_norm", "group_norm_modulate"),
        inputs: [plain.inputs.as_slice(), &[batch * channels; 2]].concat(),
        body: function(move |x| {
            let images = x[0].clone().reshape([batch, channels, height, width]);
            let of_image = |i: usize| x[i].clone().reshape([batch, channels]);
            let (gamma, beta) = (x[1].clone(), x[2].clone());
            flat(group_norm_modulate(images, gamma, beta, of_image(3), of_image(4), GROUPS, 1e-5, true))
        }),
        ..plain
    }
}

/// A convolution that keeps the image's size but for its stride.
fn convolution_of([batch, inputs, outputs, edge, kernel, stride]: [usize; 6]) -> Case {
    let padding = kernel / 2;
    let pixels = ((edge + 2 * padding - kernel) / stride + 1).pow(2);
    let strided = if stride == 1 { String::new() } else { format!(", stride {stride}") };
    Case {
        operation: "conv2d",
        sizes: vec![
            ("batch", batch),
            ("inputs", inputs),
            ("outputs", outputs),
            ("height", edge),
            ("width", edge),
            ("kernel", kernel),
            ("stride", stride),
            ("padding", padding),
        ],
        label: format!(
            "conv2d {kernel}x{kernel} {inputs} to {outputs} channels, {edge} x {edge}, batch {batch}{strided}"
        ),
        flop: (batch * outputs * pixels * (2 * inputs * kernel * kernel + 1)) as f64,
        inputs: vec![batch * inputs * edge * edge, outputs * inputs * kernel * kernel, outputs],
        outputs: batch * outputs * pixels,
        body: function(move |x| {
            let images = x[0].clone().reshape([batch, inputs, edge, edge]);
            let weight = x[1].clone().reshape([outputs, inputs, kernel, kernel]);
            flat(conv2d(images, weight, Some(x[2].clone()), stride, padding))
        }),
    }
}

/// A change of resolution; `flop` is of each element of the result.
fn resample(
    operation: &'static str,
    f: fn(Tensor<4>) -> Tensor<4>,
    shape @ [batch, channels, height, width]: [usize; 4],
    outputs: usize,
    flop: f64,
) -> Case {
    Case {
        operation,
        sizes: vec![("batch", batch), ("channels", channels), ("height", height), ("width", width)],
        label: format!("{operation} {channels} channels, {height} x {width}, batch {batch}"),
        flop: flop * outputs as f64,
        inputs: vec![shape.iter().product()],
        outputs,
        body: function(move |x| flat(f(x[0].clone().reshape(shape)))),
    }
}

/// What an optimizer does to `n` parameters. The state comes back, so that it is not shared and is written in place.
fn updates(n: usize) -> [Case; 3] {
    const UPDATE: AdamW = AdamW {
        learning_rate: 1e-3,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        gradient_scale: 1.0,
        step: 10,
    };
    let adamw = |x: Vec<Tensor<1>>| match <[Tensor<1>; 4]>::try_from(x) {
        Ok([parameter, gradient, first, second]) => {
            let (parameter, moments) = adamw_step(parameter, gradient.clone(), Moments { first, second }, &UPDATE);
            vec![parameter, gradient, moments.first, moments.second]
        }
        Err(x) => x,
    };
    let ema = |x: Vec<Tensor<1>>| match <[Tensor<1>; 2]>::try_from(x) {
        Ok([average, parameter]) => vec![ema_step(average, parameter.clone(), 0.999), parameter],
        Err(x) => x,
    };
    let norm = |x: Vec<Tensor<1>>| {
        for x in &x {
            std::hint::black_box(square_norm(x.clone()));
        }
        x
    };
    let case = |operation, flop: usize, inputs: usize, outputs, body| Case {
        operation,
        sizes: vec![("elements", n)],
        label: format!("{operation} {n} elements"),
        flop: (flop * n) as f64,
        inputs: vec![n; inputs],
        outputs,
        body: Body::Update(body),
    };
    [
        // Moments 3 and 4, denominator 3, decay 1, step 3.
        case("adamw", 14, 4, 3 * n, Box::new(adamw)),
        case("ema", 3, 2, n, Box::new(ema)),
        case("square_norm", 2, 1, 1, Box::new(norm)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_different_and_begin_with_the_operation() {
        let cases = all();
        let labels: BTreeSet<_> = cases.iter().map(|case| case.label.as_str()).collect();
        assert_eq!(labels.len(), cases.len());
        assert!(cases.iter().all(|case| case.label.starts_with(case.operation)));
    }

    #[test]
    fn work_is_that_of_the_formula() {
        let case = convolution_of([2, 3, 5, 8, 3, 2]);
        // 2 x 5 results of 4 x 4 pixels, each of 27 products and a bias.
        assert_eq!(case.flop, (2 * 5 * 16 * 55) as f64);
        assert_eq!(case.bytes(), (4 * (2 * 3 * 64 + 5 * 27 + 5 + 2 * 5 * 16)) as f64);
        assert_eq!(linear_of([2, 3, 5]).flop, (2 * 5 * 7) as f64);
    }
}
