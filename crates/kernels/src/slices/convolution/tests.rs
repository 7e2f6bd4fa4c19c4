use super::super::testing::{assert_close, in_time, values};
use super::*;

/// Calls `visit(output index, input index, weight index)` for every product in a convolution.
fn products(s: &Shape, mut visit: impl FnMut(usize, usize, usize)) {
    let (oh, ow) = (s.out_height(), s.out_width());
    for b in 0..s.batch {
        for o in 0..s.outputs {
            for y in 0..oh {
                for x in 0..ow {
                    let out = ((b * s.outputs + o) * oh + y) * ow + x;
                    for c in 0..s.inputs {
                        for ky in 0..s.kernel_height {
                            for kx in 0..s.kernel_width {
                                let (iy, ix) = (y * s.stride + ky, x * s.stride + kx);
                                let inside = (s.padding..s.height + s.padding).contains(&iy)
                                    && (s.padding..s.width + s.padding).contains(&ix);
                                if inside {
                                    let row = (b * s.inputs + c) * s.height + iy - s.padding;
                                    let tap = ((o * s.inputs + c) * s.kernel_height + ky) * s.kernel_width + kx;
                                    visit(out, row * s.width + ix - s.padding, tap);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn shape(
    batch: usize,
    inputs: usize,
    height: usize,
    width: usize,
    outputs: usize,
    k: (usize, usize),
    stride: usize,
    padding: usize,
) -> Shape {
    Shape { batch, inputs, height, width, outputs, kernel_height: k.0, kernel_width: k.1, stride, padding }
}

fn shapes() -> Vec<Shape> {
    vec![
        shape(2, 3, 7, 9, 5, (3, 3), 1, 1),    // odd sizes, direct
        shape(3, 8, 28, 28, 13, (3, 3), 1, 1), // more than one tile of pixels
        shape(70, 2, 5, 5, 3, (3, 3), 1, 1),   // several groups of small images
        shape(2, 4, 6, 5, 7, (3, 3), 1, 0),    // no padding
        shape(2, 3, 8, 8, 6, (3, 3), 1, 2),    // the result is larger
        shape(1, 2, 9, 11, 4, (5, 5), 1, 2),   // a wide kernel
        shape(2, 3, 6, 7, 4, (3, 1), 1, 0),    // a kernel that is not square
        shape(2, 3, 9, 8, 4, (3, 3), 2, 1),    // stride, odd height
        shape(2, 5, 8, 8, 4, (2, 2), 2, 0),    // patches
        shape(2, 3, 4, 4, 5, (3, 3), 1, 3),    // padding beyond the kernel
        shape(3, 5, 4, 6, 7, (1, 1), 1, 0),    // pointwise
        shape(2, 5, 4, 6, 7, (1, 1), 2, 0),    // strided pointwise
        shape(1, 1, 1, 1, 1, (3, 3), 1, 1),    // one pixel
        shape(9, 40, 4, 4, 70, (3, 3), 1, 1),  // strips of several images, more than one piece of outputs
        shape(3, 2, 1, 3, 2, (2, 3), 1, 4),    // padding far beyond the kernel: more results than pixels
        shape(1, 1, 1, 3, 1, (2, 3), 2, 1),    // a row that reads beyond the end of its plane
        shape(11, 3, 5, 3, 6, (3, 3), 2, 1),   // strips with a stride, the last one shorter
        shape(2, 2, 3, 3, 3, (3, 3), 1, 1),    // small enough for Miri, as are those that follow
        shape(5, 3, 2, 2, 2, (3, 3), 1, 1),    // strips of several images
        shape(3, 3, 3, 2, 2, (3, 3), 2, 1),    // a stride
    ]
}

#[test]
fn agrees_with_the_definition_on_every_path() {
    let shapes = shapes().into_iter().filter(|s| in_time(5 * s.batch * s.out_image() * s.patch()));
    for (i, s) in shapes.enumerate() {
        let seed = i as u64 * 10;
        let x = values(seed, s.batch * s.image());
        let weight = values(seed + 1, s.outputs * s.patch());
        let bias = values(seed + 2, s.outputs);
        let g = values(seed + 3, s.batch * s.out_image());
        let mut y: Vec<f64> = (0..g.len()).map(|i| bias[i / s.out_pixels() % s.outputs] as f64).collect();
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        products(&s, |out, image, tap| {
            y[out] += x[image] as f64 * weight[tap] as f64;
            dx[image] += g[out] as f64 * weight[tap] as f64;
            dw[tap] += g[out] as f64 * x[image] as f64;
        });
        let mut db = vec![0.0; s.outputs];
        g.iter().enumerate().for_each(|(i, g)| db[i / s.out_pixels() % s.outputs] += *g as f64);
        let unbiased: Vec<f64> =
            y.iter().enumerate().map(|(i, y)| y - bias[i / s.out_pixels() % s.outputs] as f64).collect();
        for isa in Isa::available() {
            let name = |what: &str| format!("{what} of {s:?} on {isa:?}");
            assert_close(&name("result"), &forward(isa, &s, &x, &weight, Some(&bias)), &y, 1e-6);
            assert_close(&name("result without bias"), &forward(isa, &s, &x, &weight, None), &unbiased, 1e-6);
            assert_close(&name("image gradient"), &backward_image(isa, &s, &g, &weight), &dx, 1e-6);
            assert_close(&name("weight gradient"), &backward_weight(isa, &s, &x, &g), &dw, 2e-6);
            assert_close(&name("bias gradient"), &backward_bias(isa, &s, &g), &db, 2e-6);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow; the sizes above are shared among threads as well")]
fn results_do_not_depend_on_threads() {
    let isa = Isa::detect();
    for s in
        [shape(40, 5, 9, 9, 6, (3, 3), 1, 1), shape(40, 5, 9, 9, 6, (3, 3), 2, 1), shape(9, 40, 4, 4, 70, (3, 3), 1, 1)]
    {
        let x = values(1, s.batch * s.image());
        let g = values(2, s.batch * s.out_image());
        let weight = values(3, s.outputs * s.patch());
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let y = forward(isa, &s, &x, &weight, None);
                (y, backward_weight(isa, &s, &x, &g), backward_bias(isa, &s, &g))
            })
        };
        assert_eq!(run(1), run(3));
    }
}
