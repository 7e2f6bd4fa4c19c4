//! Which cells a claim speaks of.

use std::collections::BTreeMap;

/// Levels by axis: all cells that have them.
pub type Selection = BTreeMap<String, String>;

/// Whether `coordinates` are among those of a selection.
pub(crate) fn selects(selection: &Selection, coordinates: &Selection) -> bool {
    selection.iter().all(|(axis, level)| coordinates.get(axis) == Some(level))
}

/// `network = dit, seed = 1`; `all` for no condition.
pub(crate) fn written(selection: &Selection) -> String {
    if selection.is_empty() {
        return "all".into();
    }
    let parts: Vec<String> = selection.iter().map(|(axis, level)| format!("{axis} = {level}")).collect();
    parts.join(", ")
}

/// What distinguishes cells within a selection: the levels of all other axes.
pub(crate) fn rest(selection: &Selection, coordinates: &Selection) -> Selection {
    let others = coordinates.iter().filter(|(axis, _)| !selection.contains_key(*axis));
    others.map(|(axis, level)| (axis.clone(), level.clone())).collect()
}
