use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use toml::map::Map;

use crate::key::steps;
use crate::node::{Node, Value, plain_table};
use crate::{ConfigError, Located, Origin, Problems, Source, overrides, show};

/// Configuration files and overrides laid over each other, before anybody knows what they mean.
///
/// A file may say `extends = "../models/dit-s-2.toml"`, or a list of such paths relative to itself: those come first,
/// each after the files that it extends in turn, and the file itself last. What comes later wins: tables merge key by
/// key, arrays and values replace, and a table whose `type` changes is replaced whole.
///
/// ```
/// use sinter_config::Layered;
///
/// let mut config = Layered::from_str("run.toml", "[train]\nbatch = 64\nimages = 1_000\n")?;
/// config.set("train.batch=128")?;
/// assert_eq!(config.value()["train"]["batch"].as_integer(), Some(128));
/// assert_eq!(config.origin("train.images").map(ToString::to_string), Some("run.toml:3".into()));
/// # Ok::<(), sinter_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Layered {
    /// Always a table.
    root: Node,
    sources: Vec<Arc<Source>>,
}

impl Layered {
    /// Reads a file and all that it extends.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not TOML, an `extends` that is neither a path nor a list of paths, or files
    /// that extend each other in a circle.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let mut layers = Layers::default();
        layers.read(path, None)?;
        Ok(layers.merged(path))
    }

    /// Reads a text as if it were the file `name`, and all that it extends.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn from_str(name: &str, text: &str) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        layers.add(Path::new(name), text.to_owned())?;
        Ok(layers.merged(Path::new(name)))
    }

    /// Lays an override `a.b=value` on top. The value is typed as in a file; what is not TOML, such as a bare word, is
    /// a string. Whether the key names anything shows in [`resolve`](crate::resolve).
    ///
    /// # Errors
    ///
    /// An override without `=`, without a value, or whose key is not a dotted key.
    pub fn set(&mut self, text: &str) -> Result<(), ConfigError> {
        let layer = overrides::parse(text)?;
        self.sources.push(Arc::clone(&layer.origin.source));
        self.root.merge(layer);
        Ok(())
    }

    /// Lays everything here over `base`: what no layer here says is taken from there.
    pub fn lay_over(&mut self, mut base: Self) {
        base.sources.append(&mut self.sources);
        base.root.merge(std::mem::replace(&mut self.root, base.root.clone()));
        *self = base;
    }

    /// Forgets all sections but these.
    pub fn keep(&mut self, sections: &[&str]) {
        if let Value::Table(table) = &mut self.root.value {
            table.retain(|name, _| sections.contains(&name));
        }
    }

    /// The merged table.
    pub fn value(&self) -> toml::Table {
        match &self.root.value {
            Value::Table(table) => plain_table(table),
            _ => toml::Table::new(),
        }
    }

    /// Where the value at a dotted key was written; none if no layer says it.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.root.find(&steps(key)).map(|node| &node.origin)
    }

    /// Every file and override that was read, in the order in which they were laid.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().map(AsRef::as_ref)
    }

    /// Gives problems their places: that of the key, or else of the deepest table on the way to it that a layer says.
    pub fn locate(&self, problems: Problems) -> ConfigError {
        let locate = |problem: crate::Problem| {
            let origin = Some(self.root.nearest(&steps(&problem.key)).origin.clone());
            Located { problem, origin }
        };
        ConfigError { problems: problems.into_vec().into_iter().map(locate).collect() }
    }

    /// `resolved` as TOML, with the origin of each value in a comment at its line's end: file and line, override, or
    /// `default` for what no layer says.
    pub fn to_toml_with_origins(&self, resolved: &toml::Table) -> String {
        show::document(resolved, &self.root)
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

/// Files in the order in which they are laid.
#[derive(Default)]
struct Layers {
    /// The files being read, each extended by the one before.
    open: Vec<PathBuf>,
    done: Vec<Node>,
}

impl Layers {
    /// Reads the file at `path`, named at `origin` by another one.
    fn read(&mut self, path: &Path, origin: Option<&Origin>) -> Result<(), ConfigError> {
        let key = if origin.is_some() { "extends" } else { "" };
        let fail = |message: String| ConfigError::one(key, message, origin.cloned());
        let cannot = |error: std::io::Error| fail(format!("cannot read `{}`: {error}", tidy(path).display()));
        let real = path.canonicalize().map_err(cannot)?;
        if let Some(first) = self.open.iter().position(|open| *open == real) {
            let circle = self.open[first..].iter().chain([&real]);
            let names: Vec<_> = circle.map(|path| path.file_name().unwrap_or_default().to_string_lossy()).collect();
            return Err(fail(format!("the files extend each other in a circle: {}", names.join(" -> "))));
        }
        let text = std::fs::read_to_string(path).map_err(cannot)?;
        self.open.push(real);
        self.add(path, text)?;
        self.open.pop();
        Ok(())
    }

    /// Adds a text after all that it extends.
    fn add(&mut self, path: &Path, text: String) -> Result<(), ConfigError> {
        let source = Arc::new(Source { name: tidy(path).to_string_lossy().into_owned(), text });
        let mut node = Node::parse(&source)?;
        if let Value::Table(table) = &mut node.value
            && let Some(extends) = table.remove("extends")
        {
            let folder = path.parent().unwrap_or(Path::new(""));
            for (file, origin) in extended(&extends)? {
                self.read(&folder.join(file), Some(origin))?;
            }
        }
        self.done.push(node);
        Ok(())
    }

    /// Later layers laid over earlier ones.
    fn merged(self, path: &Path) -> Layered {
        let sources = self.done.iter().map(|node| Arc::clone(&node.origin.source)).collect();
        let empty = || {
            let source = Arc::new(Source { name: path.to_string_lossy().into_owned(), text: String::new() });
            Node::at(&source, 0..0, Value::Table(Map::new()))
        };
        let merge = |mut earlier: Node, later| {
            earlier.merge(later);
            earlier
        };
        Layered { root: self.done.into_iter().reduce(merge).unwrap_or_else(empty), sources }
    }
}

/// The paths that an `extends` names, each with its place.
fn extended(node: &Node) -> Result<Vec<(&str, &Origin)>, ConfigError> {
    let items = match &node.value {
        Value::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    items.iter().map(path_of).collect()
}

fn path_of(item: &Node) -> Result<(&str, &Origin), ConfigError> {
    match &item.value {
        Value::Leaf(toml::Value::String(path)) => Ok((path, &item.origin)),
        _ => Err(ConfigError::one("extends", "expected a path or a list of paths", Some(item.origin.clone()))),
    }
}

/// A path for people: without `.` and without `folder/..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidy.components().next_back(), Some(Component::Normal(_))) => {
                tidy.pop();
            }
            _ => tidy.push(component),
        }
    }
    tidy
}
