//! The framing of event files, TensorFlow's `TFRecord`: each record is its length (u64), the length's checksum (u32),
//! the bytes, and their checksum (u32), little-endian. A checksum is a CRC-32C, rotated and shifted so that the
//! checksum of data that hold checksums stays meaningful.

/// Bytes before a record's data.
const HEAD: usize = 12;
/// Bytes after a record's data.
const TAIL: usize = 4;

/// CRC-32C (Castagnoli): the polynomial 0x1EDC6F41, reflected.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, &byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

fn checksum(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// `data` with its frame.
pub(crate) fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(HEAD + data.len() + TAIL);
    record.extend(length);
    record.extend(checksum(&length).to_le_bytes());
    record.extend(data);
    record.extend(checksum(data).to_le_bytes());
    record
}

/// The data of the records of a file, up to its end or to the first one that is torn or damaged.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Self {
        Self { rest: file }
    }

    /// Bytes that are not read, or cannot be.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<8>()?;
        let (length_checksum, rest) = rest.split_first_chunk::<4>()?;
        if checksum(length) != u32::from_le_bytes(*length_checksum) {
            return None;
        }
        let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (data_checksum, rest) = rest.split_first_chunk::<4>()?;
        if checksum(data) != u32::from_le_bytes(*data_checksum) {
            return None;
        }
        self.rest = rest;
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_known_texts() {
        // The check value of the polynomial's definition, and the examples of RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
    }

    #[test]
    fn records_come_back_up_to_the_first_bad_one() {
        let data: [&[u8]; 3] = [b"first", b"", b"third"];
        let file: Vec<u8> = data.iter().flat_map(|data| frame(data)).collect();
        assert_eq!(Records::new(&file).collect::<Vec<_>>(), data);
        for length in 0..file.len() {
            let mut records = Records::new(&file[..length]);
            let whole = records.by_ref().count();
            assert_eq!(whole, usize::from(length >= 21) + usize::from(length >= 37));
            assert_eq!(records.left(), length - [0, 21, 37][whole]);
        }
        for place in 0..file.len() {
            let mut damaged = file.clone();
            damaged[place] ^= 4;
            let whole = [21, 37, file.len()].iter().take_while(|&&end| place >= end).count();
            assert_eq!(Records::new(&damaged).count(), whole, "{place}");
        }
    }
}
