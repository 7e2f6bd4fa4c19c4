//! Every cell as a line of CSV (RFC 4180), for other programs.

use super::Section;

/// One line a cell: experiment, size, levels, seed, state, images, minutes, then metric by metric; experiments of other
/// axes and metrics follow with a header of their own, after an empty line.
pub fn csv(sections: &[Section]) -> String {
    let tables: Vec<String> = sections.iter().map(table).collect();
    tables.join("\r\n")
}

fn table(section: &Section) -> String {
    let mut head = vec!["experiment".to_owned(), "tier".into()];
    head.extend(section.axes.iter().cloned());
    head.extend(["seed", "state", "images", "minutes", "cell"].map(String::from));
    head.extend(section.columns.iter().map(|column| column.name.clone()));
    let mut lines = vec![line(&head)];
    for cell in &section.cells {
        let mut fields = vec![section.name.clone(), section.tier.clone()];
        fields.extend(cell.levels.iter().cloned());
        let minutes = cell.minutes.map_or(String::new(), |minutes| format!("{minutes:.3}"));
        fields.extend([
            cell.seed.to_string(),
            cell.state.to_owned(),
            cell.images.to_string(),
            minutes,
            cell.hash.clone(),
        ]);
        fields.extend(cell.values.iter().map(|value| value.map_or(String::new(), |value| value.to_string())));
        lines.push(line(&fields));
    }
    lines.concat()
}

fn line(fields: &[String]) -> String {
    let quoted = |field: &String| match field.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.clone(),
    };
    format!("{}\r\n", fields.iter().map(quoted).collect::<Vec<_>>().join(","))
}
