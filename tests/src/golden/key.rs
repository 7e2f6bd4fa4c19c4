//! The dotted keys of golden tensors.

/// The fields of a key such as `karras.lo0.002.hi80.0.n10`: dots separate them, but for decimal points.
pub fn fields(key: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for part in key.split('.') {
        match fields.last_mut() {
            Some(field) if part.starts_with(|c: char| c.is_ascii_digit()) => {
                field.push('.');
                field.push_str(part);
            }
            _ => fields.push(part.to_owned()),
        }
    }
    fields
}

/// The number of a field such as `lo0.002`, whose name is `lo`.
pub fn number<T: std::str::FromStr>(field: &str, name: &str) -> Option<T> {
    field.strip_prefix(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_points_do_not_separate() {
        assert_eq!(fields("karras.lo0.002.hi80.0.n10"), ["karras", "lo0.002", "hi80.0", "n10"]);
        assert_eq!(number::<f64>("lo0.002", "lo"), Some(0.002));
        assert_eq!(number::<usize>("lo0.002", "n"), None);
    }
}
