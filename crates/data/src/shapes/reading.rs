//! What a detector reads from an image, and how well it meets a caption.

use super::Colour;
use super::caption::{Phrase, Requirements};
use super::scene::{Pose, Scene, Size};

/// An object that was read from an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Shape, place, extent and rotation.
    pub pose: Pose,
    /// Colour.
    pub colour: Colour,
    /// How sure the reading is, 0..1: near 1 for clean images, lower the worse the best shape fits and the better
    /// the second best shape or colour would.
    pub confidence: f64,
}

impl Found {
    /// The size that captions would say.
    pub fn size(&self) -> Size {
        Size::of(self.pose.extent)
    }
}

/// What was read from an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The objects, from the top of the image to its bottom.
    pub objects: Vec<Found>,
    /// Number of coloured patches that look like no known shape.
    pub unclear: u32,
}

impl Reading {
    /// The reading of an image that shows exactly `scene`.
    pub fn of(scene: &Scene) -> Self {
        let objects = scene.objects.iter();
        let objects = objects.map(|object| Found { pose: object.pose, colour: object.colour, confidence: 1.0 });
        Self { objects: objects.collect(), unclear: 0 }.sorted()
    }

    /// The only object, where there is just one and nothing unclear: what a class label is compared with.
    pub fn single(&self) -> Option<&Found> {
        match self.objects.as_slice() {
            [object] if self.unclear == 0 => Some(object),
            _ => None,
        }
    }

    /// The reading with its objects in order.
    pub(crate) fn sorted(mut self) -> Self {
        self.objects.sort_by(|a, b| {
            let [a, b] = [a.pose.centre, b.pose.centre];
            a[1].total_cmp(&b[1]).then(a[0].total_cmp(&b[0]))
        });
        self
    }
}

/// How well an image meets a caption, one number a skill: 1 is met, 0 is missed altogether.
///
/// A skill that the caption does not ask for is `None`. Shape, colour, size and binding are the share of the objects
/// asked for that have a partner of their own in the image; count and position are all or nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skills {
    /// As many objects as asked for in all, and nothing unclear.
    pub count: f64,
    /// The shapes asked for are there, whatever else is.
    pub shape: f64,
    /// The colours asked for are there, on whatever shape.
    pub colour: Option<f64>,
    /// The sizes asked for are there, on whatever shape.
    pub size: Option<f64>,
    /// The relation holds between the objects that fit the first phrase and those that fit the second.
    pub position: Option<f64>,
    /// Shapes, colours and sizes come together in the same objects, as the phrases ask.
    pub binding: Option<f64>,
}

impl Skills {
    /// The skills that were asked for, by name.
    pub fn asked(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("count", Some(self.count)),
            ("shape", Some(self.shape)),
            ("colour", self.colour),
            ("size", self.size),
            ("position", self.position),
            ("binding", self.binding),
        ];
        all.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)))
    }

    /// Whether every skill that was asked for is met.
    pub fn all(&self) -> bool {
        self.asked().all(|(_, value)| value == 1.0)
    }

    /// Mean over the skills that were asked for.
    pub fn mean(&self) -> f64 {
        let (sum, count) = self.asked().fold((0.0, 0.0), |(sum, count), (_, value)| (sum + value, count + 1.0));
        sum / count
    }
}

/// Compares what was read with what was asked for.
pub fn satisfies(reading: &Reading, requirements: &Requirements) -> Skills {
    let phrases = &requirements.phrases;
    let whole = |phrase: &Phrase, object: &Found| phrase.fits(object.pose.shape, object.colour, object.pose.extent);
    let told = |names: fn(&Phrase) -> bool| phrases.iter().any(names);
    let colour = |phrase: &Phrase, object: &Found| phrase.colour == Some(object.colour);
    let size = |phrase: &Phrase, object: &Found| phrase.size == Some(object.size());
    let of_phrases = |names: fn(&Phrase) -> bool| phrases.iter().filter(move |phrase| names(phrase));

    let position = match (requirements.relation, phrases.as_slice()) {
        (Some(relation), [first, second, ..]) => {
            let centres = |phrase: &Phrase| -> Vec<[f64; 2]> {
                let fitting = reading.objects.iter().filter(|object| whole(phrase, object));
                fitting.map(|object| object.pose.centre).collect()
            };
            Some(if relation.clearness(&centres(first), &centres(second)) > 0.0 { 1.0 } else { 0.0 })
        }
        _ => None,
    };
    let count_is_right = reading.unclear == 0 && reading.objects.len() == requirements.count() as usize;
    Skills {
        count: if count_is_right { 1.0 } else { 0.0 },
        shape: share(reading, phrases.iter(), |phrase, object| phrase.shape == object.pose.shape),
        colour: told(names_colour).then(|| share(reading, of_phrases(names_colour), colour)),
        size: told(names_size).then(|| share(reading, of_phrases(names_size), size)),
        position,
        binding: told(|phrase| names_colour(phrase) || names_size(phrase))
            .then(|| share(reading, phrases.iter(), whole)),
    }
}

fn names_colour(phrase: &Phrase) -> bool {
    phrase.colour.is_some()
}

fn names_size(phrase: &Phrase) -> bool {
    phrase.size.is_some()
}

/// The largest share of the objects asked for that can each be given a fitting object of its own.
///
/// A maximum matching by augmenting paths: each object asked for in turn looks for a partner, and may ask a taken
/// one's present owner to look for another.
fn share<'a>(
    reading: &Reading,
    phrases: impl Iterator<Item = &'a Phrase>,
    fits: impl Fn(&Phrase, &Found) -> bool,
) -> f64 {
    let asked: Vec<&Phrase> = phrases.flat_map(|phrase| (0..phrase.count).map(move |_| phrase)).collect();
    let fits: Vec<Vec<usize>> = asked
        .iter()
        .map(|phrase| (0..reading.objects.len()).filter(|&i| fits(phrase, &reading.objects[i])).collect())
        .collect();
    let mut owner = vec![None; reading.objects.len()];
    let matched = (0..asked.len()).filter(|&wanting| {
        let mut tried = vec![false; owner.len()];
        find_partner(wanting, &fits, &mut owner, &mut tried)
    });
    matched.count() as f64 / asked.len() as f64
}

fn find_partner(wanting: usize, fits: &[Vec<usize>], owner: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for &object in &fits[wanting] {
        if std::mem::replace(&mut tried[object], true) {
            continue;
        }
        let free = owner[object].is_none_or(|present| find_partner(present, fits, owner, tried));
        if free {
            owner[object] = Some(wanting);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::Shape;

    fn found(colour: Colour, shape: Shape, extent: f64, centre: [f64; 2]) -> Found {
        Found { pose: Pose { shape, centre, extent, angle: 0.0 }, colour, confidence: 1.0 }
    }

    fn reading(objects: &[Found]) -> Reading {
        Reading { objects: objects.to_vec(), unclear: 0 }
    }

    fn skills(objects: &[Found], caption: &str) -> Skills {
        satisfies(&reading(objects), &caption.parse().unwrap())
    }

    const LEFT: [f64; 2] = [0.2, 0.5];
    const RIGHT: [f64; 2] = [0.8, 0.5];

    #[test]
    fn a_right_image_meets_everything() {
        let circle = found(Colour::Red, Shape::Circle, 0.25, LEFT);
        let square = found(Colour::Blue, Shape::Square, 0.35, RIGHT);
        let all = skills(&[circle, square], "a small red circle left of a medium blue square");
        assert!(all.all());
        assert_eq!(all.asked().count(), 6);
        assert_eq!(skills(&[circle], "a circle").asked().map(|(name, _)| name).collect::<Vec<_>>(), ["count", "shape"]);
    }

    #[test]
    fn swapped_colours_miss_only_the_binding_and_the_position() {
        let objects = [found(Colour::Blue, Shape::Circle, 0.25, LEFT), found(Colour::Red, Shape::Square, 0.25, RIGHT)];
        let skills = skills(&objects, "a red circle left of a blue square");
        assert_eq!((skills.count, skills.shape, skills.colour), (1.0, 1.0, Some(1.0)));
        assert_eq!((skills.binding, skills.position, skills.size), (Some(0.0), Some(0.0), None));
        assert_eq!(skills.mean(), 0.6);
    }

    #[test]
    fn swapped_places_miss_only_the_position() {
        let objects = [found(Colour::Red, Shape::Circle, 0.25, RIGHT), found(Colour::Blue, Shape::Square, 0.25, LEFT)];
        let skills = skills(&objects, "a red circle left of a blue square");
        assert_eq!((skills.binding, skills.position), (Some(1.0), Some(0.0)));
        assert!(!skills.all());
    }

    #[test]
    fn counts_and_shares() {
        let star = found(Colour::Green, Shape::Star, 0.25, LEFT);
        let large = found(Colour::Green, Shape::Star, 0.5, RIGHT);
        let skills = |objects: &[Found]| skills(objects, "three small green stars");
        assert_eq!(skills(&[star; 3]).mean(), 1.0);
        let two = skills(&[star, star]);
        assert_eq!((two.count, two.shape, two.binding), (0.0, 2.0 / 3.0, Some(2.0 / 3.0)));
        let one_large = skills(&[star, large, star]);
        assert_eq!((one_large.count, one_large.colour, one_large.size), (1.0, Some(1.0), Some(2.0 / 3.0)));
        assert_eq!(skills(&[star; 4]).count, 0.0);
        let unclear = Reading { objects: vec![star; 3], unclear: 1 };
        assert_eq!(satisfies(&unclear, &"three small green stars".parse().unwrap()).count, 0.0);
        assert!(skills(&[]).asked().all(|(_, value)| value == 0.0));
    }

    #[test]
    fn partners_are_found_by_exchange() {
        // "a circle" must leave the red one to "a red circle", in whichever order the objects come.
        let red = found(Colour::Red, Shape::Circle, 0.25, LEFT);
        let blue = found(Colour::Blue, Shape::Circle, 0.25, RIGHT);
        for objects in [[red, blue], [blue, red]] {
            assert_eq!(skills(&objects, "a circle and a red circle").binding, Some(1.0));
        }
    }
}
