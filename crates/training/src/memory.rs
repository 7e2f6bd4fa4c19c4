//! The memory of this process.

/// Resident bytes, where the system tells (Linux).
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Peak resident bytes, where the system tells (Linux).
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
