//! The whole: scenes and images hold what they promise, and the detector reads them back.

use sinter_process::random::{Draws, Key, Stream};

use super::*;

fn shapes(ground: GroundKind, min: u32, max: u32, shapes: &[Shape]) -> Shapes {
    let objects = ObjectCount { min, max };
    let config = ShapesConfig { ground, objects, shapes: shapes.to_vec(), captions: true, ..ShapesConfig::default() };
    Shapes::new(config, Split::Train, 11).unwrap()
}

fn draws(index: u64) -> Draws {
    Key::new(5, Stream::TEST).at(index)
}

/// A Gaussian blur with standard deviation `deviation` in pixels.
fn blurred(pixels: &[f32], side: usize, deviation: f32) -> Vec<f32> {
    let reach = (3.0 * deviation).ceil() as isize;
    let kernel: Vec<f32> = (-reach..=reach).map(|i| (-0.5 * (i as f32 / deviation).powi(2)).exp()).collect();
    let total: f32 = kernel.iter().sum();
    let mut pixels = pixels.to_vec();
    for (stride, across) in [(1, side), (side, 1)] {
        let before = pixels.clone();
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let line = i / (side * side) * side * side + (i / across) % side * across;
            let place = (i / stride % side) as isize;
            let at = |offset: isize| before[line + (place + offset).clamp(0, side as isize - 1) as usize * stride];
            *pixel = kernel.iter().zip(-reach..).map(|(weight, offset)| weight * at(offset)).sum::<f32>() / total;
        }
    }
    pixels
}

/// Whether a reading has the scene's objects: number, shapes, colours, sizes, and centres to within a pixel.
fn is_right(reading: &Reading, scene: &Scene) -> bool {
    let truth = Reading::of(scene);
    let same = |found: &Found, object: &Found| {
        let apart = [0, 1].map(|axis| found.pose.centre[axis] - object.pose.centre[axis]);
        (found.pose.shape, found.colour, found.size()) == (object.pose.shape, object.colour, object.size())
            && apart[0].hypot(apart[1]) < 1.0 / 32.0
    };
    reading.unclear == 0
        && reading.objects.len() == truth.objects.len()
        && truth.objects.iter().all(|object| reading.objects.iter().any(|found| same(found, object)))
}

/// The share of images that are read right, after `change`.
fn rate(shapes: &Shapes, count: u64, change: impl Fn(u64, Vec<f32>) -> Vec<f32>) -> f64 {
    let right = (0..count).filter(|&index| {
        let example = shapes.example(index).unwrap();
        let reading = detect(&change(index, example.pixels), shapes.shape()).unwrap();
        let right = is_right(&reading, &shapes.scene(index));
        assert!(!right || satisfies(&reading, &example.caption.unwrap().parse().unwrap()).all());
        right
    });
    right.count() as f64 / count as f64
}

#[test]
fn single_objects_are_read_right() {
    for ground in [GroundKind::Plain, GroundKind::Textured] {
        let rate = rate(&shapes(ground, 1, 1, &Shape::ALL[..6]), 250, |_, pixels| pixels);
        assert!(rate >= 0.995, "{ground:?}: {rate}");
    }
}

#[test]
fn scenes_of_all_shapes_are_read_right() {
    for ground in [GroundKind::Plain, GroundKind::Textured] {
        let rate = rate(&shapes(ground, 1, 4, &Shape::ALL), 200, |_, pixels| pixels);
        assert!(rate >= 0.995, "{ground:?}: {rate}");
    }
}

#[test]
fn noise_and_blur_hardly_harm() {
    let harmed = |index: u64, pixels: Vec<f32>| {
        let mut noise = vec![0.0f32; pixels.len()];
        draws(index).fill_normal(&mut noise);
        blurred(&pixels, 32, 0.6).iter().zip(noise).map(|(pixel, noise)| pixel + 0.1 * noise).collect()
    };
    let single = rate(&shapes(GroundKind::Textured, 1, 1, &Shape::ALL[..6]), 120, harmed);
    assert!(single >= 0.98, "{single}");
    let several = rate(&shapes(GroundKind::Textured, 1, 4, &Shape::ALL), 120, harmed);
    assert!(several >= 0.96, "{several}");
}

#[test]
fn other_resolutions_are_read_too() {
    for (resolution, max) in [(16, 1), (64, 4), (100, 4)] {
        let objects = ObjectCount { min: 1, max };
        let config = ShapesConfig { resolution, objects, captions: true, ..ShapesConfig::default() };
        let rate = rate(&Shapes::new(config, Split::Train, 11).unwrap(), 60, |_, pixels| pixels);
        assert!(rate >= 0.98, "{resolution}: {rate}");
    }
}

#[test]
fn centres_and_extents_are_measured() {
    let shapes = shapes(GroundKind::Plain, 1, 1, &Shape::ALL);
    for index in 0..100 {
        let pose = shapes.scene(index).objects[0].pose;
        let pixels = shapes.example(index).unwrap().pixels;
        let found = detect(&pixels, shapes.shape()).unwrap().single().unwrap().pose;
        assert!((0..2).all(|axis| (found.centre[axis] - pose.centre[axis]).abs() < 0.002), "{found:?}, not {pose:?}");
        assert!((found.extent - pose.extent).abs() < 0.004, "{found:?}, not {pose:?}");
    }
}

#[test]
fn images_of_noise_have_no_objects() {
    for index in 0..60 {
        let mut uniform = vec![0.0f32; 3 * 32 * 32];
        draws(index).fill_uniform(&mut uniform);
        uniform.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
        let mut normal = vec![0.0f32; 3 * 32 * 32];
        draws(index).fill_normal(&mut normal);
        let smooth: Vec<f32> = blurred(&normal, 32, 2.0).iter().map(|value| 4.0 * value).collect();
        for (name, pixels) in [("uniform", uniform), ("normal", normal), ("smooth", smooth)] {
            let reading = detect(&pixels, [3, 32, 32]).unwrap();
            assert!(reading.objects.is_empty(), "{name} noise {index}: {:?}", reading.objects);
        }
    }
}

#[test]
fn blank_and_broken_images_have_no_objects() {
    for value in [-1.0, 0.0, 0.3, 1.0, 7.0, f32::NAN, f32::INFINITY] {
        assert_eq!(detect(&[value; 3 * 32 * 32], [3, 32, 32]), Ok(Reading::default()), "{value}");
    }
    // A ground of one saturated colour is still a ground.
    let red: Vec<f32> = (0..3 * 32 * 32).map(|i| if i < 32 * 32 { 0.9 } else { -0.9 }).collect();
    assert_eq!(detect(&red, [3, 32, 32]), Ok(Reading::default()));
}

#[test]
fn what_is_no_image_is_refused() {
    for shape in [[1, 32, 32], [3, 32, 16], [3, 8, 128], [3, 0, 0]] {
        assert!(detect(&[0.0; 3 * 32 * 32], shape).is_err(), "{shape:?}");
    }
}

#[test]
fn an_object_that_is_no_shape_is_unclear() {
    // A thin yellow frame around the middle of a grey image.
    let frame = |x: usize, y: usize| {
        let ring = (x as isize - 16).abs().max((y as isize - 16).abs());
        (9..=10).contains(&ring)
    };
    let pixels: Vec<f32> =
        (0..3 * 32 * 32).map(|i| if frame(i % 32, i / 32 % 32) { [0.9, 0.8, -0.8][i / 1024] } else { -0.2 }).collect();
    let reading = detect(&pixels, [3, 32, 32]).unwrap();
    assert_eq!((reading.objects.len(), reading.unclear), (0, 1));
}

#[test]
fn captions_are_true_of_their_scenes_and_false_of_others() {
    let shapes = shapes(GroundKind::Plain, 1, 4, &Shape::ALL);
    let mut related = 0;
    let mut by_chance = 0;
    for index in 0..2000 {
        let requirements = shapes.requirements(index);
        let skills = satisfies(&Reading::of(&shapes.scene(index)), &requirements);
        assert!(skills.all(), "{index}: {requirements}: {skills:?}");
        related += u32::from(requirements.relation.is_some());
        by_chance += u32::from(satisfies(&Reading::of(&shapes.scene(index + 1)), &requirements).all());
    }
    assert!((250..1000).contains(&related), "{related} relations");
    assert!(by_chance < 20, "{by_chance} captions fit another scene");
}

#[test]
fn objects_lie_in_the_image_and_apart() {
    let shapes = shapes(GroundKind::Plain, 1, 4, &Shape::ALL);
    let mut counts = [0; 5];
    for index in 0..2000 {
        let scene = shapes.scene(index);
        counts[scene.objects.len()] += 1;
        for (i, object) in scene.objects.iter().enumerate() {
            let radius = object.pose.radius();
            assert!(object.pose.centre.iter().all(|&c| c > radius && c < 1.0 - radius), "{index}: {object:?}");
            for other in &scene.objects[..i] {
                let apart = [0, 1].map(|axis| object.pose.centre[axis] - other.pose.centre[axis]);
                assert!(
                    apart[0].hypot(apart[1]) > radius + other.pose.radius() + 0.05,
                    "{index}: {object:?}, {other:?}"
                );
            }
        }
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|count| (400..600).contains(count)), "{counts:?}");
}

#[test]
fn classes_are_even_and_vary_in_place_and_size() {
    let shapes = Shapes::new(ShapesConfig::default(), Split::Train, 0).unwrap();
    assert_eq!(shapes.class_names().len(), 48);
    let named: Vec<&str> = [0, 7, 8, 47].map(|class| shapes.class_names()[class].as_str()).to_vec();
    assert_eq!(named, ["red circle", "pink circle", "red square", "pink cross"]);
    let mut counts = [0; 48];
    let mut sizes = [0; 3];
    for index in 0..4800 {
        let object = shapes.scene(index).objects[0];
        let class = shapes.classes.iter().position(|&class| class == (object.pose.shape, object.colour)).unwrap();
        counts[class] += 1;
        sizes[Size::ALL.iter().position(|&size| size == Size::of(object.pose.extent)).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    assert!(sizes.iter().all(|size| (1480..1720).contains(size)), "{sizes:?}");
    let example = shapes.example(3).unwrap();
    let object = shapes.scene(3).objects[0];
    let name = format!("{} {}", object.colour.name(), object.pose.shape.name());
    assert_eq!(shapes.class_names()[example.class.unwrap() as usize], name);
    assert_eq!(example.caption, None);
}

#[test]
fn images_are_functions_of_seed_split_and_index() {
    let open = |split, seed| Shapes::new(ShapesConfig::default(), split, seed).unwrap();
    let first = open(Split::Train, 1);
    assert_eq!(first.example(9).unwrap(), open(Split::Train, 1).example(9).unwrap());
    assert_eq!(first.fingerprint(), open(Split::Train, 1).fingerprint());
    for other in [open(Split::Test, 1), open(Split::Train, 2)] {
        assert_ne!(first.example(9).unwrap(), other.example(9).unwrap());
        assert_ne!(first.fingerprint(), other.fingerprint());
    }
    assert_eq!(first.len(), 50_000);
    assert!(matches!(first.example(50_000), Err(DataError::Index { .. })));
    assert!(first.example(0).unwrap().pixels.iter().all(|pixel| (-1.0..=1.0).contains(pixel)));
}

#[test]
fn every_problem_is_told() {
    let config = ShapesConfig {
        resolution: 8,
        objects: ObjectCount { min: 0, max: 5 },
        shapes: vec![Shape::Star, Shape::Ring, Shape::Star],
        size: 0,
        ..ShapesConfig::default()
    };
    let keys: Vec<String> = config.validate().iter().map(|problem| problem.key.clone()).collect();
    assert_eq!(keys, ["resolution", "objects.min", "objects.max", "shapes[2]", "size"]);
    assert!(Shapes::new(config, Split::Train, 0).is_err());
}

#[test]
fn the_configuration_reads_as_documented() {
    let text = "resolution = 64\nobjects = { min = 1, max = 4 }\nshapes = ['ring']\nground = 'textured'";
    let config: ShapesConfig = toml::from_str(text).unwrap();
    assert_eq!((config.resolution, config.ground, config.captions), (64, GroundKind::Textured, false));
    assert!(config.validate().is_empty() && config.classes().is_empty());
    assert!(toml::from_str::<ShapesConfig>("colours = 3").is_err());
}
