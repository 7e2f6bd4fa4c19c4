//! From a sweep to its cells: every combination of levels and seeds, resolved and checked before any is written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;
use serde_json::Value;
use sinter_config::{ConfigError, Layered};

use crate::cell::NAMELESS;
use crate::sweep::{Axis, Overlay, Tier};
use crate::{Cell, ExperimentError, Index, Kind, Selection, Store, Sweep};

/// How many times a problem's cells are named.
const NAMED: usize = 3;

/// The typed check of configurations, which whoever knows their types provides.
pub trait Typed: Sync {
    /// The whole resolved configuration as TOML.
    ///
    /// # Errors
    /// Every problem of the configuration.
    fn resolve(&self, layered: Layered) -> Result<String, ConfigError>;
}

impl<F: Fn(Layered) -> Result<String, ConfigError> + Sync> Typed for F {
    fn resolve(&self, layered: Layered) -> Result<String, ConfigError> {
        self(layered)
    }
}

/// An expanded sweep.
#[derive(Clone, Debug)]
pub struct Expansion {
    /// Its cells and itself.
    pub index: Index,
    /// The nameless configurations of the cells, in their order.
    configs: Vec<String>,
}

impl Expansion {
    /// Writes the cells that are not there, and the index; returns the sweep's folder.
    ///
    /// # Errors
    /// When something cannot be written, or a cell that is there was changed.
    pub fn write(&self, store: &Store) -> Result<std::path::PathBuf, ExperimentError> {
        // Trials of a search share the cells of equal values.
        let mut known = HashSet::new();
        let cells = self.index.cells.iter().zip(&self.configs);
        let cells: Vec<(&Cell, &String)> = cells.filter(|(cell, _)| known.insert(cell.hash.as_str())).collect();
        cells.into_par_iter().try_for_each(|(cell, config)| store.write(cell, config))?;
        self.index.write(store)
    }
}

/// Resolves and checks every cell of a tier. Cells that others need are written on the way, since those take over settings
/// from their folders; all others are left to [`Expansion::write`].
///
/// # Errors
/// A level that cannot be, or [`ExperimentError::Cells`] with every problem of every cell.
pub fn expand(
    sweep: &Sweep,
    file: &Path,
    tier: &str,
    store: &Store,
    typed: &dyn Typed,
) -> Result<Expansion, ExperimentError> {
    expanded(sweep, file, tier, store, typed, false)
}

/// [`expand`]; where `shared`, levels may be the same configuration.
pub(crate) fn expanded(
    sweep: &Sweep,
    file: &Path,
    tier: &str,
    store: &Store,
    typed: &dyn Typed,
    shared: bool,
) -> Result<Expansion, ExperimentError> {
    let expander = Expander { sweep, file, tier: sweep.tier(tier)?, store, typed };
    let mut prepared = Prepared::default();
    for name in expander.order()? {
        expander.prepare(&name, &mut prepared)?;
    }
    let (mut cells, mut configs) = (prepared.cells.clone(), prepared.configs.clone());
    let layers = expander.layers(&prepared)?;
    let made: Vec<Made> = expander.points().par_iter().map(|point| expander.cell(point, &layers, &prepared)).collect();
    let mut problems = Gathered::default();
    let mut seen: HashMap<String, String> = HashMap::new();
    for made in made {
        match made {
            Err((label, problem)) => problems.push(problem, label),
            Ok((mut cell, config)) => {
                cell.number = cells.len();
                if let Some(other) = seen.insert(cell.hash.clone(), cell.label.clone())
                    && !shared
                {
                    problems.push(
                        format!("the same configuration as {other}: no level tells them apart"),
                        cell.label.clone(),
                    );
                }
                cells.push(cell);
                configs.push(config);
            }
        }
    }
    problems.end()?;
    let index = Index { tier: tier.to_owned(), file: file.to_path_buf(), sweep: sweep.clone(), tune: None, cells };
    Ok(Expansion { index, configs })
}

/// A cell with its nameless configuration, or its label and what is wrong with it.
type Made = Result<(Cell, String), (String, String)>;

/// The runs that others need.
#[derive(Default)]
struct Prepared {
    cells: Vec<Cell>,
    configs: Vec<String>,
    /// Places in both by name.
    places: BTreeMap<String, usize>,
}

/// Layers that many cells share.
struct Layers {
    /// Base and tier.
    base: Layered,
    /// The layers of every level, by axis and level.
    levels: HashMap<(String, String), Vec<Layered>>,
}

struct Expander<'a> {
    sweep: &'a Sweep,
    file: &'a Path,
    tier: &'a Tier,
    store: &'a Store,
    typed: &'a dyn Typed,
}

impl Expander<'_> {
    /// The names of prepared runs, each after those that it needs.
    fn order(&self) -> Result<Vec<String>, ExperimentError> {
        let all = &self.sweep.prepare;
        let mut order: Vec<String> = Vec::new();
        while order.len() < all.len() {
            let ready = all
                .iter()
                .find(|(name, prepare)| !order.contains(name) && prepare.needs.iter().all(|need| order.contains(need)));
            let Some((name, _)) = ready else {
                let left = all.keys().filter(|name| !order.contains(name)).cloned().collect::<Vec<_>>().join(", ");
                return Err(
                    self.refused(format!("prepare: {left}: needs a run that is not there, or one that needs it"))
                );
            };
            order.push(name.clone());
        }
        Ok(order)
    }

    fn prepare(&self, name: &str, prepared: &mut Prepared) -> Result<(), ExperimentError> {
        let prepare = &self.sweep.prepare[name];
        let seed = self.sweep.seeds(self.tier).first().copied().unwrap_or(0);
        let base = self.overlay(&format!("prepare.{name}"), &prepare.base, prepared)?;
        let mut layers = Vec::new();
        if prepare.tier {
            layers.push(self.overlay("tier", &self.tier.with, prepared)?);
        }
        if let Some(overlay) = self.tier.prepare.get(name) {
            layers.push(self.overlay(&format!("tier, prepare.{name}"), overlay, prepared)?);
        }
        layers.push(self.plain(&format!("seed = {seed}\nname = \"{NAMELESS}\"\n"))?);
        let config = self.typed.resolve(laid(base, layers))?;
        let needs: Vec<String> = prepare.needs.iter().map(|need| prepared.hash(need)).collect();
        let hash = self.store.hash(&Kind::Train, &needs, &config);
        let (number, label, levels) = (prepared.cells.len(), name.to_owned(), Selection::new());
        let cell = Cell { number, hash, kind: Kind::Train, label, levels, seed, prepared: true, needs };
        self.store.write(&cell, &config)?;
        prepared.places.insert(name.to_owned(), number);
        prepared.cells.push(cell);
        prepared.configs.push(config);
        Ok(())
    }

    /// Every combination of levels, with every seed.
    fn points(&self) -> Vec<(Selection, u64)> {
        let mut points = vec![Selection::new()];
        for axis in &self.sweep.axes {
            let levels = self.sweep.levels(axis, self.tier);
            let with = |point: &Selection, level: &String| {
                let mut point = point.clone();
                point.insert(axis.name().to_owned(), level.clone());
                point
            };
            points = points.iter().flat_map(|point| levels.iter().map(move |level| with(point, level))).collect();
        }
        let seeds = self.sweep.seeds(self.tier);
        points.into_iter().flat_map(|point| seeds.iter().map(move |seed| (point.clone(), *seed))).collect()
    }

    fn layers(&self, prepared: &Prepared) -> Result<Layers, ExperimentError> {
        let base = self.overlay("base", &self.sweep.base, prepared)?;
        let base = match &self.sweep.evaluates {
            None => base,
            Some(run) => {
                let place = prepared.places.get(run);
                let cell = place
                    .map(|place| &prepared.cells[*place])
                    .ok_or_else(|| self.refused(format!("evaluates: there is no `prepare.{run}`")))?;
                laid(Layered::load(self.store.cell(&cell.hash).join("config.toml"))?, [base])
            }
        };
        let tier = self.overlay("tier", &self.tier.with, prepared)?;
        let mut levels = HashMap::new();
        for axis in &self.sweep.axes {
            for level in self.sweep.levels(axis, self.tier) {
                let mut layers = self.level(axis, &level, prepared)?;
                if let Some(overlay) = self.tier.levels.get(axis.name()).and_then(|levels| levels.get(&level)) {
                    layers.push(self.overlay(&format!("tier, {} = {level}", axis.name()), overlay, prepared)?);
                }
                levels.insert((axis.name().to_owned(), level), layers);
            }
        }
        Ok(Layers { base: laid(base, [tier]), levels })
    }

    /// What a level of an axis changes.
    fn level(&self, axis: &Axis, level: &str, prepared: &Prepared) -> Result<Vec<Layered>, ExperimentError> {
        let name = format!("{} = {level}", axis.name());
        let place = axis.levels().iter().position(|other| other == level).unwrap_or(0);
        let set = |keys: &[String], values: &[Value]| -> Result<Vec<Layered>, ExperimentError> {
            if keys.len() != values.len() {
                return Err(self.refused(format!("{name}: {} keys, but {} values", keys.len(), values.len())));
            }
            let mut layered = self.plain("")?;
            for (key, value) in keys.iter().zip(values) {
                layered.set(&format!("{key}={}", inline(&self.named(value, prepared)?)))?;
            }
            Ok(vec![layered])
        };
        match axis {
            Axis::Grid { key, values, .. } => set(std::slice::from_ref(key), &values[place..=place]),
            Axis::Zip { keys, rows, .. } => set(keys, rows[place].get(1..).unwrap_or_default()),
            Axis::List { levels, .. } => Ok(vec![self.overlay(&name, &levels[place].with, prepared)?]),
        }
    }

    fn cell(&self, (levels, seed): &(Selection, u64), layers: &Layers, prepared: &Prepared) -> Made {
        let mut parts: Vec<String> = self
            .sweep
            .axes
            .iter()
            .map(|axis| {
                let name = axis.name();
                format!("{name}={}", levels.get(name).map_or("", String::as_str))
            })
            .collect();
        parts.push(format!("seed={seed}"));
        let label = parts.join(" ");
        let (kind, end) = match self.sweep.evaluates.as_ref().map(|run| prepared.hash(run)) {
            None => (Kind::Train, format!("name = \"{NAMELESS}\"\nseed = {seed}\n")),
            // The run's own seed belongs to the run: what differs is the noise that samples are drawn from.
            Some(run) => (
                Kind::Evaluate { run },
                format!("name = \"{NAMELESS}\"\n[sample]\nseed = {seed}\n[eval]\nseed = {seed}\n"),
            ),
        };
        let resolve = || -> Result<String, ExperimentError> {
            let mut all = Vec::new();
            for axis in &self.sweep.axes {
                let key = (axis.name().to_owned(), levels.get(axis.name()).cloned().unwrap_or_default());
                all.extend(layers.levels.get(&key).into_iter().flatten().cloned());
            }
            all.push(self.plain(&end)?);
            Ok(self.typed.resolve(laid(layers.base.clone(), all))?)
        };
        let config = resolve().map_err(|error| (label.clone(), error.to_string()))?;
        // What a cell needs is what its configuration names, or what it evaluates.
        let mut needs: Vec<String> = prepared.cells.iter().map(|cell| cell.hash.clone()).collect();
        needs.retain(|need| config.contains(&*self.store.cell(need).to_string_lossy()));
        if let Kind::Evaluate { run } = &kind
            && !needs.contains(run)
        {
            needs.push(run.clone());
        }
        let hash = self.store.hash(&kind, &needs, &config);
        let (levels, seed) = (levels.clone(), *seed);
        Ok((Cell { number: 0, hash, kind, label, levels, seed, prepared: false, needs }, config))
    }

    /// An overlay as a layer.
    fn overlay(&self, what: &str, overlay: &Overlay, prepared: &Prepared) -> Result<Layered, ExperimentError> {
        let value = self.named(&Value::Object(overlay.clone()), prepared)?;
        let text = toml::to_string(&value).map_err(|error| self.refused(format!("{what}: {error}")))?;
        let name = format!("{} ({})", self.file.display(), what.replace(['/', '\\'], "|"));
        Ok(Layered::from_str(&name, &text)?)
    }

    fn plain(&self, text: &str) -> Result<Layered, ExperimentError> {
        Ok(Layered::from_str(&self.file.to_string_lossy(), text)?)
    }

    /// A value with folders in place of `@NAME`.
    fn named(&self, value: &Value, prepared: &Prepared) -> Result<Value, ExperimentError> {
        Ok(match value {
            Value::String(text) if text.starts_with('@') => {
                let (name, rest) =
                    text[1..].split_once('/').map_or((&text[1..], None), |(name, rest)| (name, Some(rest)));
                let place = prepared.places.get(name).ok_or_else(|| {
                    self.refused(format!("`{text}`: there is no `prepare.{name}`, or it is not among the `needs` here"))
                })?;
                let mut path = self.store.cell(&prepared.cells[*place].hash);
                path.extend(rest);
                Value::String(path.to_string_lossy().into_owned())
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.named(item, prepared)).collect::<Result<_, _>>()?)
            }
            Value::Object(entries) => {
                let entry = |(name, value): (&String, &Value)| Ok((name.clone(), self.named(value, prepared)?));
                Value::Object(entries.iter().map(entry).collect::<Result<_, ExperimentError>>()?)
            }
            other => other.clone(),
        })
    }

    fn refused(&self, message: String) -> ExperimentError {
        ExperimentError::Asked(format!("{}: {message}", self.file.display()))
    }
}

impl Prepared {
    fn hash(&self, name: &str) -> String {
        self.places.get(name).map_or(String::new(), |place| self.cells[*place].hash.clone())
    }
}

/// Later layers over earlier ones.
fn laid(first: Layered, later: impl IntoIterator<Item = Layered>) -> Layered {
    later.into_iter().fold(first, |earlier, mut later| {
        later.lay_over(earlier);
        later
    })
}

/// A value as TOML writes it on one line.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(name, value): (&String, &Value)| format!("{} = {}", bare(name), inline(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// A key, in quotes where it needs them.
fn bare(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(plain) { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Problems, each with the cells that have it.
#[derive(Default)]
struct Gathered {
    problems: Vec<(String, Vec<String>)>,
}

impl Gathered {
    fn push(&mut self, problem: String, label: String) {
        match self.problems.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, labels)) => labels.push(label),
            None => self.problems.push((problem, vec![label])),
        }
    }

    fn end(self) -> Result<(), ExperimentError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let written = |(problem, labels): &(String, Vec<String>)| {
            let shown = labels.iter().take(NAMED).map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let more = labels.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{problem}\n  in {shown}{more}")
        };
        Err(ExperimentError::Cells(self.problems.iter().map(written).collect()))
    }
}
