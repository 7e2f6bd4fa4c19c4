//! As much of the protocol buffer wire format as event files need.

/// A message being written. Fields follow each other in the order of the calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// `int32`, `int64`, `uint64`, `bool` or an enumeration, not negative.
    pub(crate) fn integer(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// `bytes` or `string`.
    pub(crate) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(crate) fn message(self, field: u32, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    /// `repeated double`, packed.
    pub(crate) fn doubles(self, field: u32, values: &[f64]) -> Self {
        self.bytes(field, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    }

    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// The first integer that `message` holds in `field`: 0, the default, if it has none; none if it cannot be read.
pub(crate) fn read_integer(message: &[u8], field: u32) -> Option<u64> {
    let mut rest = message;
    while !rest.is_empty() {
        let key = read_varint(&mut rest)?;
        let skipped = match key & 7 {
            0 => {
                let value = read_varint(&mut rest)?;
                if key >> 3 == u64::from(field) {
                    return Some(value);
                }
                0
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut rest)?).ok()?,
            5 => 4,
            _ => return None,
        };
        rest = rest.get(skipped..)?;
    }
    Some(0)
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_wire_format() {
        // The examples of the encoding guide: 150 in field 1, "testing" in field 2, a message in field 3.
        let number = Message::new().integer(1, 150);
        assert_eq!(number.0, [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().bytes(2, "testing").0, b"\x12\x07testing");
        assert_eq!(Message::new().message(3, number).0, [0x1A, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::new().doubles(6, &[1.0]).0, [0x32, 8, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]);
        assert_eq!(Message::new().float(16, 1.0).0, [0x85, 0x01, 0, 0, 0x80, 0x3F]);
    }

    #[test]
    fn reads_an_integer_among_other_fields() {
        let message = Message::new().double(1, 3.0).bytes(3, "brain").float(4, 1.0).integer(2, u64::MAX).integer(2, 7);
        assert_eq!(read_integer(&message.0, 2), Some(u64::MAX));
        assert_eq!(read_integer(&message.0, 9), Some(0));
        assert_eq!(read_integer(&message.0[..12], 2), None);
        assert_eq!(read_integer(&[0x10; 1], 2), None);
    }
}
