//! The grammar of captions, in both directions: from a scene to words, and from words to what an image must show.
//!
//! ```text
//! caption  = phrase | phrase relation phrase | phrase "and" phrase { "and" phrase }
//! relation = "left of" | "right of" | "above" | "below"
//! phrase   = count [size] [colour] shape
//! count    = "a" | "an" | "two" | "three" | "four"
//! ```
//!
//! A caption is complete: it names every object of the scene. Words are separated by spaces, without punctuation, so
//! that the words of [`vocabulary`] are the tokens.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use super::relation::Relation;
use super::scene::{Dice, Object, Scene, Size};
use super::{Colour, Shape};

/// Most words of a caption of a scene: four phrases of four words, joined by three words.
pub const MOST_WORDS: usize = 19;

/// Chance that a caption tells a colour that it could leave out.
const TELL_COLOUR: f64 = 0.9;
/// Chance that a caption tells a size.
const TELL_SIZE: f64 = 0.5;
/// Chance that a caption of two groups tells their relation, where it is clear.
const TELL_RELATION: f64 = 0.8;
/// The least [`Relation::clearness`] of a relation that captions tell: two pixels in 32.
pub const CLEAR: f64 = 0.0625;

/// A number of equal objects: "two small red circles".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Phrase {
    /// How many, 1 to 4.
    pub count: u32,
    /// The size, where it is told.
    pub size: Option<Size>,
    /// The colour, where it is told.
    pub colour: Option<Colour>,
    /// The shape.
    pub shape: Shape,
}

/// What a caption requires of an image: these objects, and no others.
///
/// `to_string` writes the caption and `parse` reads it; each is the other's inverse.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirements {
    /// The objects, at least one phrase.
    pub phrases: Vec<Phrase>,
    /// How the objects of the first phrase lie to those of the second, where there are two phrases.
    pub relation: Option<Relation>,
}

/// Why a text is not a caption.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptionError {
    /// A word that the grammar does not have.
    #[error("the captions' vocabulary has no word `{word}`{}",
        nearest.map(|nearest| format!(" (did you mean `{nearest}`?)")).unwrap_or_default())]
    Unknown {
        /// The word.
        word: String,
        /// The nearest word of the vocabulary.
        nearest: Option<&'static str>,
    },
    /// A word in the wrong place.
    #[error("a caption needs {expected} where it has {}",
        found.as_ref().map_or("its end".to_owned(), |found| format!("`{found}`")))]
    Expected {
        /// What the grammar allows there.
        expected: &'static str,
        /// The word that is there; nothing where the text ends.
        found: Option<String>,
    },
}

/// Every word of the grammar, in a fixed order.
pub fn vocabulary() -> &'static [&'static str] {
    static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
        let mut words = vec!["a", "an", "two", "three", "four"];
        words.extend(Size::ALL.map(Size::name));
        words.extend(Colour::ALL.map(Colour::name));
        words.extend(Shape::ALL.map(Shape::name));
        words.extend(Shape::ALL.map(Shape::plural));
        words.extend(["left", "right", "of", "above", "below", "and"]);
        words
    });
    &WORDS
}

impl Phrase {
    /// Whether an object is one of those that the phrase speaks of.
    pub fn fits(&self, shape: Shape, colour: Colour, extent: f64) -> bool {
        self.shape == shape
            && self.colour.is_none_or(|asked| asked == colour)
            && self.size.is_none_or(|asked| asked == Size::of(extent))
    }

    fn fits_object(&self, object: &Object) -> bool {
        self.fits(object.pose.shape, object.colour, object.pose.extent)
    }
}

impl Requirements {
    /// What a caption of `scene` says; `dice` decides what it tells, and in which order.
    ///
    /// Sizes and colours may be left out, but never so that a phrase fits more objects than it counts. A relation is
    /// told only where it is clear.
    pub(crate) fn describe(scene: &Scene, dice: &mut Dice) -> Self {
        let mut groups = groups(&scene.objects);
        for i in (1..groups.len()).rev() {
            groups.swap(i, dice.below(i as u32 + 1) as usize);
        }
        let phrases = groups.iter().map(|group| tell(group, &scene.objects, dice)).collect();
        let relation = match groups.as_slice() {
            [first, second] if dice.chance(TELL_RELATION) => {
                let centres = |group: &[Object]| group.iter().map(|object| object.pose.centre).collect::<Vec<_>>();
                let (first, second) = (centres(first), centres(second));
                Relation::ALL.into_iter().find(|relation| relation.clearness(&first, &second) >= CLEAR)
            }
            _ => None,
        };
        Self { phrases, relation }
    }

    /// How many objects there must be.
    pub fn count(&self) -> u32 {
        self.phrases.iter().map(|phrase| phrase.count).sum()
    }
}

/// The objects by groups of equal shape and colour.
fn groups(objects: &[Object]) -> Vec<&[Object]> {
    objects.chunk_by(|a, b| (a.pose.shape, a.colour) == (b.pose.shape, b.colour)).collect()
}

/// A phrase for one group, which fits no other object of the scene.
fn tell(group: &[Object], scene: &[Object], dice: &mut Dice) -> Phrase {
    let Object { pose, colour, .. } = group[0];
    let size = dice.chance(TELL_SIZE).then(|| Size::of(pose.extent));
    let told = dice.chance(TELL_COLOUR);
    let phrase = Phrase { count: group.len() as u32, size, colour: told.then_some(colour), shape: pose.shape };
    if scene.iter().filter(|object| phrase.fits_object(object)).count() == group.len() {
        phrase
    } else {
        Phrase { colour: Some(colour), ..phrase }
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = if self.size.is_none() && self.colour == Some(Colour::Orange) { "an" } else { "a" };
        let count = match self.count {
            1 => article,
            2 => "two",
            3 => "three",
            _ => "four",
        };
        formatter.write_str(count)?;
        if let Some(size) = self.size {
            write!(formatter, " {}", size.name())?;
        }
        if let Some(colour) = self.colour {
            write!(formatter, " {}", colour.name())?;
        }
        let shape = if self.count == 1 { self.shape.name() } else { self.shape.plural() };
        write!(formatter, " {shape}")
    }
}

impl fmt::Display for Requirements {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, phrase) in self.phrases.iter().enumerate() {
            if i > 0 {
                write!(formatter, " {} ", self.relation.map_or("and", Relation::words))?;
            }
            write!(formatter, "{phrase}")?;
        }
        Ok(())
    }
}

impl FromStr for Requirements {
    type Err = CaptionError;

    fn from_str(text: &str) -> Result<Self, CaptionError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        for word in &words {
            if !vocabulary().contains(&word.as_str()) {
                let nearest = sinter_config::nearest(word, vocabulary().iter().copied());
                return Err(CaptionError::Unknown { word: word.clone(), nearest });
            }
        }
        let mut words = Words(&words);
        let mut phrases = vec![words.phrase()?];
        if let Some(relation) = Relation::ALL.into_iter().find(|relation| words.take(relation.words())) {
            phrases.push(words.phrase()?);
            words.end("the end")?;
            return Ok(Self { phrases, relation: Some(relation) });
        }
        while words.take("and") {
            phrases.push(words.phrase()?);
        }
        words.end(if phrases.len() == 1 { "`and`, a relation or the end" } else { "`and` or the end" })?;
        Ok(Self { phrases, relation: None })
    }
}

/// The words that are still to be read.
struct Words<'a>(&'a [String]);

impl Words<'_> {
    /// Takes the words of `text` if they come next.
    fn take(&mut self, text: &str) -> bool {
        let length = text.split(' ').count();
        let comes = self.0.len() >= length && text.split(' ').zip(self.0).all(|(word, next)| word == next);
        if comes {
            self.0 = &self.0[length..];
        }
        comes
    }

    fn phrase(&mut self) -> Result<Phrase, CaptionError> {
        let counts = [("a", 1), ("an", 1), ("two", 2), ("three", 3), ("four", 4)];
        let count = counts.into_iter().find(|(word, _)| self.take(word));
        let (_, count) = count.ok_or_else(|| self.not("a count (`a`, `two`, ...)"))?;
        let size = Size::ALL.into_iter().find(|size| self.take(size.name()));
        let colour = Colour::ALL.into_iter().find(|colour| self.take(colour.name()));
        let (number, name) = match count {
            1 => ("a shape in the singular", Shape::name as fn(Shape) -> &'static str),
            _ => ("a shape in the plural", Shape::plural as fn(Shape) -> &'static str),
        };
        let shape = Shape::ALL.into_iter().find(|&shape| self.take(name(shape)));
        Ok(Phrase { count, size, colour, shape: shape.ok_or_else(|| self.not(number))? })
    }

    fn end(&self, expected: &'static str) -> Result<(), CaptionError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.not(expected)) }
    }

    fn not(&self, expected: &'static str) -> CaptionError {
        CaptionError::Expected { expected, found: self.0.first().cloned() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn phrase() -> impl Strategy<Value = Phrase> {
        let size = prop::option::of(prop::sample::select(Size::ALL.to_vec()));
        let colour = prop::option::of(prop::sample::select(Colour::ALL.to_vec()));
        let shape = prop::sample::select(Shape::ALL.to_vec());
        (1u32..=4, size, colour, shape).prop_map(|(count, size, colour, shape)| Phrase { count, size, colour, shape })
    }

    fn requirements() -> impl Strategy<Value = Requirements> {
        let list = prop::collection::vec(phrase(), 1..=4).prop_map(|phrases| Requirements { phrases, relation: None });
        let related = ([phrase(), phrase()], prop::sample::select(Relation::ALL.to_vec()))
            .prop_map(|(phrases, relation)| Requirements { phrases: phrases.to_vec(), relation: Some(relation) });
        prop_oneof![list, related]
    }

    proptest! {
        #[test]
        fn writing_and_reading_are_inverse(requirements in requirements()) {
            let caption = requirements.to_string();
            prop_assert_eq!(caption.parse::<Requirements>(), Ok(requirements));
            prop_assert!(caption.split(' ').count() <= MOST_WORDS);
            prop_assert!(caption.split(' ').all(|word| vocabulary().contains(&word)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z ]{0,40}") {
            let _ = text.parse::<Requirements>();
        }
    }

    #[test]
    fn captions_read_like_english() {
        for caption in [
            "a red circle left of two blue squares",
            "three small green stars",
            "an orange cross and a large orange cross",
            "a circle and two small hearts and a pink ring",
        ] {
            assert_eq!(caption.parse::<Requirements>().unwrap().to_string(), caption);
        }
        assert_eq!(" A  red CIRCLE".parse::<Requirements>().unwrap().to_string(), "a red circle");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| text.parse::<Requirements>().unwrap_err().to_string();
        assert_eq!(error("a red circel"), "the captions' vocabulary has no word `circel` (did you mean `circle`?)");
        assert_eq!(error("a red"), "a caption needs a shape in the singular where it has its end");
        assert_eq!(error("two red circle"), "a caption needs a shape in the plural where it has `circle`");
        assert_eq!(error("red circle"), "a caption needs a count (`a`, `two`, ...) where it has `red`");
        assert_eq!(error("a circle a square"), "a caption needs `and`, a relation or the end where it has `a`");
        assert_eq!(error("a circle left a square"), "a caption needs `and`, a relation or the end where it has `left`");
        assert_eq!(error("a circle above a star and a star"), "a caption needs the end where it has `and`");
    }

    #[test]
    fn the_vocabulary_has_each_word_once() {
        let mut words = vocabulary().to_vec();
        assert_eq!(words.len(), 38);
        assert_eq!((words[0], words[37]), ("a", "and"));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 38);
    }
}
