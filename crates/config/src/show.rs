use std::fmt::Write;

use crate::key::{Step, written};
use crate::node::Node;

/// Comments stand in one column of a section, unless a line is longer than this.
const LONGEST_ALIGNED: usize = 48;

/// `table` as a TOML document with the origin of each value in a comment.
pub(crate) fn document(table: &toml::Table, root: &Node) -> String {
    let mut text = String::new();
    section(&mut text, &[], "", table, root);
    text
}

/// One table: its values first, since TOML has them before the headers of inner tables.
fn section(text: &mut String, steps: &[Step], path: &str, table: &toml::Table, root: &Node) {
    let mut values = Vec::new();
    let mut inner = Vec::new();
    for (name, value) in table {
        let mut steps = steps.to_vec();
        steps.push(Step::Name(name.clone()));
        let path = if path.is_empty() { written(name) } else { format!("{path}.{}", written(name)) };
        match value {
            toml::Value::Table(table) => inner.push((steps, path.clone(), format!("[{path}]"), table)),
            toml::Value::Array(items) if !items.is_empty() && items.iter().all(toml::Value::is_table) => {
                for (index, item) in items.iter().filter_map(toml::Value::as_table).enumerate() {
                    let mut steps = steps.clone();
                    steps.push(Step::Index(index));
                    inner.push((steps, path.clone(), format!("[[{path}]]"), item));
                }
            }
            _ => {
                let origin = root.find(&steps).map_or("default".to_owned(), |node| node.origin.to_string());
                values.push((format!("{} = {value}", written(name)), origin));
            }
        }
    }
    let widths = values.iter().filter(|(line, _)| !line.contains('\n')).map(|(line, _)| line.chars().count());
    let width = widths.filter(|&width| width <= LONGEST_ALIGNED).max().unwrap_or(0);
    for (line, origin) in values {
        let _ = writeln!(text, "{line:width$}  # {}", one_line(&origin));
    }
    for (steps, path, header, table) in inner {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}{header}");
        section(text, &steps, &path, table, root);
    }
}

/// An override may hold line breaks and other signs that a comment may not.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
