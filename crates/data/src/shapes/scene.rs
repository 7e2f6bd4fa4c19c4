//! Scenes: what an image shows, before any pixel, and the law that scenes are drawn from.

use serde::{Deserialize, Serialize};
use sinter_process::random::Draws;

use super::ground::{Ground, GroundKind};
use super::{Colour, Shape};

/// How large an object looks, as the captions say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Extent 0.22 to 0.27.
    Small,
    /// Extent 0.31 to 0.37.
    Medium,
    /// Extent 0.43 to 0.52.
    Large,
}

impl Size {
    /// Every size, from the smallest.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Smallest and largest extent, as fractions of the image's side. The ranges leave gaps between them.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Small => (0.22, 0.27),
            Self::Medium => (0.31, 0.37),
            Self::Large => (0.43, 0.52),
        }
    }

    /// The size that an extent belongs to; the borders lie in the middle of the gaps.
    pub fn of(extent: f64) -> Self {
        if extent < 0.29 {
            Self::Small
        } else if extent < 0.40 {
            Self::Medium
        } else {
            Self::Large
        }
    }

    fn smaller(self) -> Self {
        match self {
            Self::Small | Self::Medium => Self::Small,
            Self::Large => Self::Medium,
        }
    }
}

/// Where an outline lies: all that is needed to draw it but its colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// The shape.
    pub shape: Shape,
    /// Centre of mass, x to the right and y down, in fractions of the image's sides.
    pub centre: [f64; 2],
    /// How large the shape looks: the diameter of a disc of that size, as a fraction of the image's side.
    pub extent: f64,
    /// Rotation in radians, clockwise as seen.
    pub angle: f64,
}

impl Pose {
    /// Distance from the centre to the farthest point of the outline, as a fraction of the image's side.
    pub fn radius(&self) -> f64 {
        self.extent * self.shape.reach()
    }
}

/// One object of a scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Shape, place, extent and rotation.
    pub pose: Pose,
    /// Colour by name.
    pub colour: Colour,
    /// The shade that is painted: the colour's red, green and blue in 0..1, each up to [`SHADE`] away.
    pub shade: [f32; 3],
}

/// What an image shows. The same scene can be rendered at any resolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// What lies behind the objects.
    pub ground: Ground,
    /// One to four objects; those of one group (equal shape, colour and size) follow each other.
    pub objects: Vec<Object>,
}

/// The largest deviation of a painted channel from its colour.
pub const SHADE: f64 = 0.03;
/// The largest rotation, in radians: small enough to keep a square from looking like a diamond.
pub const TILT: f64 = 0.2;
/// Most objects of a scene.
pub const MOST_OBJECTS: u32 = 4;
/// Free space around an object's circumcircle, as a fraction of the image's side.
const MARGIN: f64 = 0.02;
/// Free space between the circumcircles of two objects.
const GAP: f64 = 0.06;
/// Tries for the place of one object.
const PLACE_TRIES: u32 = 24;
/// Tries for all places at given sizes, before the sizes are lowered.
const SCENE_TRIES: u32 = 12;

/// The law that scenes are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneLaw {
    /// The shapes to choose from; not empty.
    pub shapes: Vec<Shape>,
    /// Fewest objects, at least 1.
    pub fewest: u32,
    /// Most objects, at most [`MOST_OBJECTS`].
    pub most: u32,
    /// What lies behind them.
    pub ground: GroundKind,
}

impl SceneLaw {
    /// Draws a scene.
    ///
    /// The number of objects is uniform. Objects come in groups of equal shape, colour and size: a scene of several
    /// objects has two groups half of the time (only two groups have a relation to tell) and otherwise any number
    /// with equal chances. Shape and colour of a group are uniform, and differ from the other groups' in at least
    /// one of the two. Sizes are uniform over the three, extents uniform within a size, but where the objects do
    /// not fit all groups step down a size. Places are uniform where the object lies in the image and keeps its
    /// distance from those before it.
    pub fn draw(&self, draws: &Draws) -> Scene {
        let mut dice = Dice::new(draws);
        let count = self.fewest + dice.below(self.most - self.fewest + 1);
        let groups = match count {
            1 => 1,
            _ if dice.below(2) == 0 => 2,
            _ => 1 + dice.below(count),
        };
        let mut members = vec![1; groups as usize];
        for _ in groups..count {
            members[dice.below(groups) as usize] += 1;
        }

        let kinds = self.shapes.len() * Colour::ALL.len();
        let mut taken: Vec<usize> = Vec::with_capacity(members.len());
        let mut objects: Vec<(Shape, Colour, Size)> = Vec::with_capacity(count as usize);
        for &members in &members {
            let mut kind = dice.below(kinds as u32) as usize;
            while taken.contains(&kind) {
                kind = (kind + 1) % kinds;
            }
            taken.push(kind);
            let shape = self.shapes[kind / Colour::ALL.len()];
            let colour = Colour::ALL[kind % Colour::ALL.len()];
            let size = Size::ALL[dice.below(3) as usize];
            objects.extend((0..members).map(|_| (shape, colour, size)));
        }

        let ground = Ground::draw(self.ground, &mut dice);
        let poses = place(&mut objects, &mut dice);
        let objects = poses
            .into_iter()
            .zip(&objects)
            .map(|(pose, &(_, colour, _))| {
                let shade = colour.rgb().map(|channel| (channel + dice.uniform(-SHADE, SHADE) as f32).clamp(0.0, 1.0));
                Object { pose, colour, shade }
            })
            .collect();
        Scene { ground, objects }
    }
}

/// Finds places for all objects, lowering their sizes where it must.
fn place(objects: &mut [(Shape, Colour, Size)], dice: &mut Dice) -> Vec<Pose> {
    loop {
        for _ in 0..SCENE_TRIES {
            if let Some(poses) = try_place(objects, dice) {
                return poses;
            }
        }
        if objects.iter().all(|&(_, _, size)| size == Size::Small) {
            return quarters(objects, dice);
        }
        for (_, _, size) in objects.iter_mut() {
            *size = size.smaller();
        }
    }
}

/// One try at placing the objects one after another.
fn try_place(objects: &[(Shape, Colour, Size)], dice: &mut Dice) -> Option<Vec<Pose>> {
    let mut poses: Vec<Pose> = Vec::with_capacity(objects.len());
    for &(shape, _, size) in objects {
        let mut pose = unplaced(shape, size, dice);
        let radius = pose.radius();
        let room = (radius + MARGIN, 1.0 - radius - MARGIN);
        let free = (0..PLACE_TRIES).any(|_| {
            pose.centre = [dice.uniform(room.0, room.1), dice.uniform(room.0, room.1)];
            poses.iter().all(|other| {
                let apart = [pose.centre[0] - other.centre[0], pose.centre[1] - other.centre[1]];
                apart[0].hypot(apart[1]) >= radius + other.radius() + GAP
            })
        });
        if !free {
            return None;
        }
        poses.push(pose);
    }
    Some(poses)
}

/// Small objects in the four quarters of the image: the last resort, which always fits.
fn quarters(objects: &[(Shape, Colour, Size)], dice: &mut Dice) -> Vec<Pose> {
    let quarter = |i: usize| [0.25 + 0.5 * (i % 2) as f64, 0.25 + 0.5 * (i / 2 % 2) as f64];
    objects
        .iter()
        .enumerate()
        .map(|(i, &(shape, _, size))| Pose { centre: quarter(i), ..unplaced(shape, size, dice) })
        .collect()
}

/// An object with its extent and rotation, but no place yet.
fn unplaced(shape: Shape, size: Size, dice: &mut Dice) -> Pose {
    let (smallest, largest) = size.range();
    Pose { shape, centre: [0.5, 0.5], extent: dice.uniform(smallest, largest), angle: dice.uniform(-TILT, TILT) }
}

/// Reads one example's draws in turn.
pub(crate) struct Dice<'a> {
    draws: &'a Draws,
    slot: u32,
}

impl<'a> Dice<'a> {
    pub(crate) fn new(draws: &'a Draws) -> Self {
        Self::starting_at(draws, 0)
    }

    /// Begins at a later slot, apart from what was read before it.
    pub(crate) fn starting_at(draws: &'a Draws, slot: u32) -> Self {
        Self { draws, slot }
    }

    /// The next uniform number in `low..high`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.slot += 1;
        low + (high - low) * self.draws.uniform(self.slot - 1)
    }

    /// The next uniform integer in `0..n`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.slot += 1;
        self.draws.below(self.slot - 1, u64::from(n)) as u32
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.uniform(0.0, 1.0) < probability
    }
}
