//! `shapes`: an embedded, procedural set of images of coloured shapes, with the means to read them back.
//!
//! Every image is a function of (seed, index). A [`Scene`] is drawn from a [`SceneLaw`], rendered by [`render`],
//! and described by a caption; [`detect`] reads objects from any image and [`satisfies`] compares them with a
//! caption, skill by skill. So a generative model that was trained on shapes can be asked, exactly and for free,
//! whether it shows what it was asked for.

mod caption;
mod detector;
mod fit;
mod ground;
mod outline;
mod palette;
mod reading;
mod relation;
mod render;
mod scene;
#[cfg(test)]
mod tests;

pub use caption::{CLEAR, CaptionError, MOST_WORDS, Phrase, Requirements, vocabulary};
pub use detector::{NotAnImage, detect};
pub use ground::{Ground, GroundKind, Pattern};
pub use outline::Shape;
pub use palette::Colour;
pub use reading::{Found, Reading, Skills, satisfies};
pub use relation::Relation;
pub use render::render;
pub use scene::{MOST_OBJECTS, Object, Pose, SHADE, Scene, SceneLaw, Size, TILT};

use serde::{Deserialize, Serialize};
use sinter_config::Problems;
use sinter_process::random::{Draws, Key, Stream};

use crate::digest::sha256;
use crate::{DataError, Example, Source, Split};
use scene::Dice;

/// Smallest resolution: below it, small shapes can no longer be told apart.
const LEAST_RESOLUTION: usize = 16;
/// Largest resolution; a guard against slips of the pen.
const MOST_RESOLUTION: usize = 1024;
/// Captions read their draws from this slot on; the scene's come before.
const CAPTION_SLOT: u32 = 1 << 20;

/// The range of the number of objects in a scene, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectCount {
    /// Fewest objects.
    pub min: u32,
    /// Most objects.
    pub max: u32,
}

/// Configuration of the procedural shapes.
///
/// With exactly one object a scene has a class: the position of its shape in `shapes`, times 8, plus the position of
/// its colour in [`Colour::ALL`]. With the default six shapes these are 48 classes, from `red circle` to `pink cross`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShapesConfig {
    /// Width and height in pixels, 16 to 1024.
    pub resolution: usize,
    /// How many objects a scene has, within 1 to 4.
    pub objects: ObjectCount,
    /// The shapes to choose from, each once, in the order of the classes.
    pub shapes: Vec<Shape>,
    /// What lies behind the objects.
    pub ground: GroundKind,
    /// Whether examples have captions.
    pub captions: bool,
    /// Number of training images.
    pub size: u64,
    /// Number of held-out images; they share no scene with the training images.
    pub test_size: u64,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        Self {
            resolution: 32,
            objects: ObjectCount { min: 1, max: 1 },
            shapes: Shape::ALL[..6].to_vec(),
            ground: GroundKind::Plain,
            captions: false,
            size: 50_000,
            test_size: 10_000,
        }
    }
}

impl ShapesConfig {
    /// Every problem of the configuration.
    pub fn validate(&self) -> Problems {
        let mut problems = Problems::new();
        problems.check(
            (LEAST_RESOLUTION..=MOST_RESOLUTION).contains(&self.resolution),
            "resolution",
            format!("must be {LEAST_RESOLUTION} to {MOST_RESOLUTION}, not {}", self.resolution),
        );
        let ObjectCount { min, max } = self.objects;
        problems.check(min >= 1, "objects.min", "must be at least 1");
        problems.check(max <= MOST_OBJECTS, "objects.max", format!("must be at most {MOST_OBJECTS}, not {max}"));
        problems.check(min <= max, "objects.max", format!("must not be below objects.min, {min}, but is {max}"));
        problems.check(!self.shapes.is_empty(), "shapes", "must name at least one shape");
        for (i, shape) in self.shapes.iter().enumerate() {
            let first = !self.shapes[..i].contains(shape);
            problems.check(first, format!("shapes[{i}]"), format!("`{}` is there twice", shape.name()));
        }
        problems.check(self.size >= 1, "size", "must be at least 1");
        problems.check(self.test_size >= 1, "test_size", "must be at least 1");
        problems
    }

    /// The shapes and colours of the classes, by the classes' numbers; empty where scenes may have several objects.
    pub fn classes(&self) -> Vec<(Shape, Colour)> {
        let single = self.objects == ObjectCount { min: 1, max: 1 };
        let shapes = self.shapes.iter().filter(|_| single);
        shapes.flat_map(|&shape| Colour::ALL.map(|colour| (shape, colour))).collect()
    }
}

/// The procedural shapes as a source of examples.
pub struct Shapes {
    config: ShapesConfig,
    law: SceneLaw,
    split: Split,
    seed: u64,
    classes: Vec<(Shape, Colour)>,
    class_names: Vec<String>,
    vocabulary: Vec<String>,
}

impl Shapes {
    /// The source of one split at one seed.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: ShapesConfig, split: Split, seed: u64) -> Result<Self, Problems> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(problems);
        }
        let law = SceneLaw {
            shapes: config.shapes.clone(),
            fewest: config.objects.min,
            most: config.objects.max,
            ground: config.ground,
        };
        let classes = config.classes();
        let class_names = classes.iter().map(|(shape, colour)| format!("{} {}", colour.name(), shape.name())).collect();
        let words = if config.captions { vocabulary() } else { &[] };
        let vocabulary = words.iter().map(|&word| word.to_owned()).collect();
        Ok(Self { config, law, split, seed, classes, class_names, vocabulary })
    }

    /// The scene of an index; any index has one, also beyond the end of the split.
    pub fn scene(&self, index: u64) -> Scene {
        self.law.draw(&self.draws(index))
    }

    /// What the caption of an index says.
    pub fn requirements(&self, index: u64) -> Requirements {
        self.describe(&self.scene(index), index)
    }

    fn describe(&self, scene: &Scene, index: u64) -> Requirements {
        let draws = self.draws(index);
        Requirements::describe(scene, &mut Dice::starting_at(&draws, CAPTION_SLOT))
    }

    fn draws(&self, index: u64) -> Draws {
        let stream = match self.split {
            Split::Train => Stream::RENDER.nth(0),
            Split::Test => Stream::RENDER.nth(1),
        };
        Key::new(self.seed, stream).at(index)
    }
}

impl Source for Shapes {
    fn name(&self) -> &str {
        "shapes"
    }

    fn len(&self) -> u64 {
        match self.split {
            Split::Train => self.config.size,
            Split::Test => self.config.test_size,
        }
    }

    fn shape(&self) -> [usize; 3] {
        [3, self.config.resolution, self.config.resolution]
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    fn longest_caption(&self) -> usize {
        if self.config.captions { MOST_WORDS } else { 0 }
    }

    fn example(&self, index: u64) -> Result<Example, DataError> {
        if index >= self.len() {
            return Err(DataError::Index { name: self.name().to_owned(), index, len: self.len() });
        }
        let scene = self.scene(index);
        let first = scene.objects[0];
        let class = self.classes.iter().position(|&class| class == (first.pose.shape, first.colour));
        Ok(Example {
            pixels: render(&scene, self.config.resolution),
            class: class.map(|class| class as u32),
            caption: self.config.captions.then(|| self.describe(&scene, index).to_string()),
        })
    }

    fn fingerprint(&self) -> String {
        // The version changes with the procedure.
        sha256(format!("shapes version 1, {:?}, {}, seed {}", self.config, self.split, self.seed))
    }
}
