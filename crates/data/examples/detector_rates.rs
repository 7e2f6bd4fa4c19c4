//! How often the detector reads procedural shapes right, and how fast: clean, and under blur and noise.
//!
//! `cargo run --release -p sinter-data --example detector_rates [IMAGES]`
//!
//! An image counts as right where number, shapes, colours and sizes of all objects are, and nothing else is found.

use std::error::Error;
use std::time::{Duration, Instant};

use sinter_data::shapes::{Colour, GroundKind, ObjectCount, Reading, Shape, Shapes, ShapesConfig, Size, detect};
use sinter_data::{Source, Split};
use sinter_process::random::{Key, Stream};

/// Resolution, fewest and most objects, and standard deviations of the blur in pixels and of the noise.
const CASES: [(usize, u32, u32, f32, f32); 10] = [
    (32, 1, 1, 0.0, 0.0),
    (32, 1, 4, 0.0, 0.0),
    (32, 4, 4, 0.0, 0.0),
    (32, 1, 1, 0.6, 0.1),
    (32, 1, 4, 0.6, 0.1),
    (32, 1, 4, 1.0, 0.1),
    (32, 1, 4, 0.6, 0.2),
    (16, 1, 1, 0.0, 0.0),
    (24, 1, 4, 0.0, 0.0),
    (64, 1, 4, 0.0, 0.0),
];

fn main() -> Result<(), Box<dyn Error>> {
    let images: u64 = std::env::args().nth(1).map_or(Ok(500), |text| text.parse())?;
    println!("pixels objects  blur noise   right   render/s   detect/s");
    for (resolution, min, max, blur, noise) in CASES {
        let config = ShapesConfig {
            resolution,
            objects: ObjectCount { min, max },
            shapes: Shape::ALL.to_vec(),
            ground: GroundKind::Textured,
            captions: true,
            ..ShapesConfig::default()
        };
        let shapes = Shapes::new(config, Split::Test, 0)?;
        let (mut right, mut rendering, mut detecting) = (0, Duration::ZERO, Duration::ZERO);
        for index in 0..images {
            let start = Instant::now();
            let mut pixels = shapes.example(index)?.pixels;
            rendering += start.elapsed();
            blurred(&mut pixels, resolution, blur);
            let mut normal = vec![0.0f32; pixels.len()];
            Key::new(0, Stream::TEST).at(index).fill_normal(&mut normal);
            for (pixel, normal) in pixels.iter_mut().zip(normal) {
                *pixel += noise * normal;
            }
            let start = Instant::now();
            let reading = detect(&pixels, shapes.shape())?;
            detecting += start.elapsed();
            right += u64::from(objects(&reading) == objects(&Reading::of(&shapes.scene(index))));
        }
        let rate = |time: Duration| images as f64 / time.as_secs_f64();
        println!(
            "{resolution:6} {min:5}-{max} {blur:5.1} {noise:5.1} {:6.2}% {:10.0} {:10.0}",
            100.0 * right as f64 / images as f64,
            rate(rendering),
            rate(detecting)
        );
    }
    Ok(())
}

/// What was found, without places, in a fixed order; unclear patches count as objects.
fn objects(reading: &Reading) -> (Vec<(Shape, Colour, Size)>, u32) {
    let mut objects: Vec<_> =
        reading.objects.iter().map(|found| (found.pose.shape, found.colour, found.size())).collect();
    objects.sort_unstable();
    (objects, reading.unclear)
}

/// A Gaussian blur of each channel.
fn blurred(pixels: &mut [f32], side: usize, deviation: f32) {
    if deviation == 0.0 {
        return;
    }
    let kernel: Vec<f32> = (-4..=4i32).map(|i| (-0.5 * (i as f32 / deviation).powi(2)).exp()).collect();
    let total: f32 = kernel.iter().sum();
    for (along, stride) in [(1, side), (side, 1)] {
        for line in 0..3 * side {
            let start = line / side * side * side + line % side * stride;
            let before: Vec<f32> = (0..side).map(|i| pixels[start + i * along]).collect();
            for i in 0..side {
                let near = |k: usize| before[(i + k).saturating_sub(4).min(side - 1)];
                let sum: f32 = kernel.iter().enumerate().map(|(k, weight)| weight * near(k)).sum();
                pixels[start + i * along] = sum / total;
            }
        }
    }
}
