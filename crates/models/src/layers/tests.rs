use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, module};

use super::*;
use crate::caption::EncodedCaption;
use crate::initialization::{Initialization, Rule, Start};
use crate::testing::{assert_close, device, noise, normal, randomized, rounding, values};

#[test]
fn time_is_told_in_cosines_then_sines() {
    let device = device();
    let labels = [0.0f32, 0.5, 999.0];
    for (endpoint, intervals) in [(false, 4.0), (true, 3.0)] {
        let label = Tensor::from_data(TensorData::new(labels.to_vec(), [3]), &device);
        let table = values(&sinusoidal(label, 8, endpoint));
        let expected: Vec<f32> = labels
            .iter()
            .flat_map(|label| {
                let angle = move |i: i32| f64::from(*label) * 10_000f64.powf(-f64::from(i) / intervals);
                let cosines = (0..4).map(move |i| angle(i).cos() as f32);
                cosines.chain((0..4).map(move |i| angle(i).sin() as f32))
            })
            .collect();
        // The angle itself is rounded to 32 bits: 999 to within 3e-5.
        assert_close(&table, &expected, rounding().max(1e-4));
        assert_close(&table[..8], &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], rounding());
    }
}

#[test]
fn positions_tell_columns_first() {
    let table = sine_cosine_positions(2, 3, 8);
    assert_eq!(table.len(), 2 * 3 * 8);
    assert_eq!(table[..8], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
    let (slow, row_1_column_2) = (0.01f64, &table[(3 + 2) * 8..]);
    let half = |position: f64| [position.sin(), (slow * position).sin(), position.cos(), (slow * position).cos()];
    let expected: Vec<f32> = half(2.0).into_iter().chain(half(1.0)).map(|value| value as f32).collect();
    assert_close(row_1_column_2, &expected, 1e-7);
}

#[test]
fn patches_are_a_strided_convolution() {
    let device = device();
    let layer = randomized(PatchEmbedding::new(3, 2, 8, &mut Initialization::new(0, &device)));
    let x = normal::<4>(0, [2, 3, 4, 6], &device);
    let options = ConvOptions::new([2, 2], [0, 0], [1, 1], 1);
    let expected = module::conv2d(x.clone(), layer.weight.val(), Some(layer.bias.val()), options);
    let expected = expected.reshape([2, 8, 6]).swap_dims(1, 2);
    assert_close(&values(&layer.forward(x.into()).value), &values(&expected), rounding());
}

#[test]
fn patches_go_back_to_their_places() {
    let (rows, columns, patch, channels) = (2, 3, 2, 2);
    let length = rows * columns * patch * patch * channels;
    let tokens = Tensor::<1>::from_data(TensorData::new((0..length).map(|i| i as f32).collect(), [length]), &device());
    let tokens = tokens.reshape([1, rows * columns, patch * patch * channels]);
    let image = values(&unpatchify(tokens, rows, columns, patch));
    for channel in 0..channels {
        for y in 0..rows * patch {
            for x in 0..columns * patch {
                let token = y / patch * columns + x / patch;
                let within = (y % patch * patch + x % patch) * channels + channel;
                let found = image[(channel * rows * patch + y) * columns * patch + x];
                assert_eq!(found, (token * patch * patch * channels + within) as f32);
            }
        }
    }
}

#[test]
fn squares_of_pixels_become_pixels_and_go_back() {
    let (b, channels, side, rows, columns) = (2, 3, 2, 2, 3);
    let x = normal(0, [b, channels, rows * side, columns * side], &device());
    let squares = pixel_unshuffle(x.clone(), side);
    assert_eq!(squares.dims(), [b, channels * side * side, rows, columns]);
    let (pixels, found) = (values(&x), values(&squares));
    for (index, value) in found.iter().enumerate() {
        let (column, row, feature) = (index % columns, index / columns % rows, index / (columns * rows));
        let (within, plane) = (feature % (side * side), feature / (side * side));
        let (y, x) = (row * side + within / side, column * side + within % side);
        assert_eq!(*value, pixels[(plane * rows * side + y) * columns * side + x]);
    }
    assert_eq!(values(&pixel_shuffle(squares, side)), pixels);
}

#[test]
fn without_a_label_the_null_class_is_meant() {
    let device = device();
    let init = &mut Initialization::new(0, &device);
    let table = ClassEmbedding::new(3, true, 4, Rule::normal(1.0), init);
    let null = Tensor::from_data([3i64, 3], &device);
    let (none, null) = (table.forward(None, 2).unwrap(), table.forward(Some(null), 2).unwrap());
    assert_eq!(values(&none), values(&null));
    assert_eq!(values(&none)[..4], values(&table.weight.val())[12..]);
    assert!(ClassEmbedding::new(3, false, 4, Rule::ZEROS, init).forward(None, 2).is_none());
}

#[test]
fn dropout_belongs_to_the_image() {
    let device = device();
    let init = &mut Initialization::new(0, &device);
    let (one, other) = (init.dropout(0.25), init.dropout(0.25));
    let x = Tensor::<3>::ones([6, 5, 400], &device);
    let key = |first_image| Some(DropoutKey { seed: 3, first_image });
    let whole = values(&one.forward(x.clone().into(), key(10)).value);
    let halves = [10, 13].map(|first| values(&one.forward(x.clone().narrow(0, 0, 3).into(), key(first)).value));
    assert_eq!(whole, halves.concat());
    assert_ne!(whole, values(&other.forward(x.clone().into(), key(10)).value));
    assert_eq!(values(&one.forward(x.into(), None).value), vec![1.0; 12_000]);

    assert!(whole.iter().all(|value| *value == 0.0 || *value == 4.0 / 3.0));
    let dropped = whole.iter().filter(|value| **value == 0.0).count() as f64;
    // Binomial: standard deviation 47.
    assert!((dropped - 3_000.0).abs() < 4.0 * 47.5, "{dropped}");
}

#[test]
fn hidden_tokens_are_not_looked_at() {
    let device = device();
    let init = &mut Initialization::new(0, &device);
    let cross = randomized(CrossAttention::new(8, 4, 2, Start::Zero, init));
    let own = randomized(SelfAttention::new(4, 2, Start::Xavier, init));
    let x = normal::<3>(0, [2, 5, 8], &device);
    let mask = Tensor::<2>::from_data([[0.0, 0.0, -1e4], [0.0, -1e4, -1e4]], &device);
    let caption = |padding: f32| {
        let visible = mask.clone().equal_elem(0.0).float().unsqueeze_dim::<3>(2);
        let tokens = normal::<3>(1, [2, 3, 4], &device) * visible.clone() + (visible * -1.0 + 1.0) * padding;
        EncodedCaption { tokens, mask: mask.clone(), pooled: Tensor::zeros([2, 4], &device) }
    };
    let to = |padding| cross.forward(x.clone().into(), caption(padding).tokens.into(), Some(mask.clone())).value;
    let (a, b) = (to(0.0), to(2.0));
    assert_close(&values(&a), &values(&b), rounding());
    let rows = |padding| own.forward_masked(caption(padding).tokens.into(), mask.clone()).value.narrow(1, 0, 1);
    assert_close(&values(&rows(0.0)), &values(&rows(2.0)), rounding());
    // Without anything hidden, the packed form and the masked one are the same function.
    let tokens = normal::<3>(2, [2, 3, 4], &device);
    let masked = own.forward_masked(tokens.clone().into(), Tensor::zeros([2, 3], &device)).value;
    assert_close(&values(&masked), &values(&own.forward(tokens.into()).value), rounding());
}

#[test]
fn convolutions_keep_or_halve_the_size() {
    let device = device();
    let init = &mut Initialization::new(0, &device);
    let (keeping, halving) =
        (Conv2d::new(1, 1, 3, Start::FanIn, init), Conv2d::new(1, 1, 3, Start::FanIn, init).halving());
    let x = normal::<4>(0, [1, 1, 7, 6], &device);
    assert_eq!(keeping.forward(x.clone().into()).dims(), [1, 1, 7, 6]);
    assert_eq!(halving.forward(x.clone().into()).dims(), [1, 1, 4, 3]);
    // One output by hand: the corner, where a row and a column of the kernel lie on padding.
    let (x, weight) = (noise(0, 42), values(&keeping.weight.val()));
    let expected = x[0] * weight[4] + x[1] * weight[5] + x[6] * weight[7] + x[7] * weight[8];
    let expected = expected + values(&keeping.bias.val())[0];
    let found = values(&keeping.forward(normal(0, [1, 1, 7, 6], &device).into()).value)[0];
    assert_close(&[found], &[expected], rounding());
}

#[test]
fn norms_normalize() {
    let device = device();
    let init = &mut Initialization::new(0, &device);
    let x = normal::<4>(0, [2, 8, 3, 3], &device) * 3.0 + 1.0;
    let normalized = values(&GroupNorm::new(8, 2, init).forward(x.into()).value);
    for group in normalized.chunks(36) {
        let mean = group.iter().sum::<f32>() / 36.0;
        let square = group.iter().map(|value| value * value).sum::<f32>() / 36.0;
        assert!(mean.abs() < 1e-3 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
    }
    let x = normal::<2>(1, [4, 50], &device) * 3.0 + 1.0;
    for row in values(&LayerNorm::new(50, init).forward(x.into()).value).chunks(50) {
        let mean = row.iter().sum::<f32>() / 50.0;
        let square = row.iter().map(|value| value * value).sum::<f32>() / 50.0;
        assert!(mean.abs() < 1e-3 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
    }
}

#[test]
fn a_seed_means_the_same_weights_in_the_same_places() {
    let draw = |seed| {
        let init = &mut Initialization::new(seed, &Device::flex());
        let parameters = [Rule::xavier(100, 50), Rule::fan_in(100), Rule::normal(0.02), Rule::ONES]
            .map(|rule| init.parameter([100, 50], rule));
        // Used in another order than they were made in.
        let mut drawn: Vec<_> = parameters.iter().rev().map(|parameter| values(&parameter.val())).collect();
        drawn.reverse();
        drawn
    };
    let drawn = draw(5);
    assert_eq!(drawn, draw(5));
    assert_ne!(drawn[0], draw(6)[0]);
    let deviation = |values: &[f32]| {
        (values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    };
    let expected = [(2.0 / 150.0f64).sqrt(), (1.0 / 300.0f64).sqrt(), 0.02, 1.0];
    for (values, expected) in drawn.iter().zip(expected) {
        assert!((deviation(values) / expected - 1.0).abs() < 0.04);
    }
}

/// What every layer rests on, forward and backward: a driver that runs some kernels wrongly shows here first.
#[test]
fn products_are_right_in_every_layout() {
    let device = device();
    for [b, m, k, n] in [[1, 12, 12, 8], [1, 32, 16, 48], [2, 12, 12, 8], [8, 16, 4, 16], [8, 4, 16, 4]] {
        let of = |which: u64, rows: usize, columns: usize, transposed: bool| match transposed {
            true => normal::<3>(which, [b, columns, rows], &device).swap_dims(1, 2),
            false => normal::<3>(which, [b, rows, columns], &device),
        };
        for [left, right] in [[false, false], [false, true], [true, false], [true, true]] {
            let (x, y) = (of(0, m, k, left), of(1, k, n, right));
            let (x_values, y_values) = (values(&x), values(&y));
            let product = |index: usize| {
                let (matrix, i, j) = (index / (m * n), index / n % m, index % n);
                let term = |l: usize| {
                    f64::from(x_values[(matrix * m + i) * k + l]) * f64::from(y_values[(matrix * k + l) * n + j])
                };
                (0..k).map(term).sum::<f64>() as f32
            };
            let expected: Vec<f32> = (0..b * m * n).map(product).collect();
            println!("{b} products of {m} x {k} x {n}, transposed: {left}, {right}");
            assert_close(&values(&x.matmul(y)), &expected, rounding());
        }
    }
}
