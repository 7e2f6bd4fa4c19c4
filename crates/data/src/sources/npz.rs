//! Sample batches: images in one `.npz` file, as ADM's evaluation suite exchanges them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use npyz::npz::NpzArchive;

use super::ByteImages;
use crate::digest::Stamps;
use crate::{DataError, Source};

/// Opens a file with the array `arr_0` of bytes `[n, h, w, c]` and, where there are classes, their numbers as `arr_1`
/// of 64-bit integers `[n]`. Classes have their numbers as names.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read; [`DataError::Corrupt`] if it is not such a file.
pub fn open(path: &Path, stamps: &Stamps) -> Result<Arc<dyn Source>, DataError> {
    let damaged = |error: std::io::Error| DataError::corrupt(path, format!("no batch of samples ({error})"));
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let mut archive = NpzArchive::new(BufReader::new(file)).map_err(damaged)?;

    let array = archive.by_name("arr_0").map_err(damaged)?;
    let array = array.ok_or_else(|| DataError::corrupt(path, "there is no array `arr_0` in it"))?;
    let sizes: Vec<usize> = array.shape().iter().map(|&size| size as usize).collect();
    let [n, height, width, channels] = sizes[..] else {
        return Err(DataError::corrupt(path, format!("the shape of `arr_0` is {sizes:?}, not [n, h, w, c]")));
    };
    if sizes.contains(&0) || array.order() != npyz::Order::C {
        return Err(DataError::corrupt(path, format!("`arr_0` {sizes:?} holds no images in rows")));
    }
    let bytes = array.data::<u8>().map_err(|error| DataError::corrupt(path, format!("`arr_0`: {error}")))?;
    let interleaved: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(damaged)?;
    let mut pixels = Vec::with_capacity(interleaved.len());
    for image in interleaved.chunks_exact(height * width * channels) {
        pixels.extend((0..channels).flat_map(|channel| image.iter().skip(channel).step_by(channels).copied()));
    }

    let mut labels = Vec::new();
    if let Some(array) = archive.by_name("arr_1").map_err(damaged)? {
        let numbers = array.data::<i64>().map_err(|error| DataError::corrupt(path, format!("`arr_1`: {error}")))?;
        for number in numbers {
            let number = number.map_err(damaged)?;
            labels.push(
                u32::try_from(number)
                    .ok()
                    .filter(|&label| label < MOST_CLASSES)
                    .ok_or_else(|| DataError::corrupt(path, format!("`arr_1` holds {number}, which is no class")))?,
            );
        }
        if labels.len() != n {
            return Err(DataError::corrupt(path, format!("`arr_1` has {} classes for {n} images", labels.len())));
        }
    }
    let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
    let name = path.file_stem().map_or_else(|| "samples".into(), |name| name.to_string_lossy().into_owned());
    Ok(Arc::new(ByteImages {
        name,
        shape: [channels, height, width],
        classes: (0..classes).map(|class| class.to_string()).collect(),
        pixels,
        maximum: u8::MAX,
        labels,
        fingerprint: stamps.file(path)?,
    }))
}

/// What no data set reaches: a larger number is no class but damage.
const MOST_CLASSES: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder;
    use npyz::npz::NpzWriter;

    use super::*;

    fn write(path: &Path, shape: &[u64], pixels: &[u8], labels: Option<&[i64]>) {
        let mut archive = NpzWriter::new(File::create(path).unwrap());
        let options = npyz::zip::write::FileOptions::default;
        let mut array = archive.array("arr_0", options()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
        array.extend(pixels.iter().copied()).unwrap();
        array.finish().unwrap();
        if let Some(labels) = labels {
            let shape = [labels.len() as u64];
            let mut array =
                archive.array("arr_1", options()).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
            array.extend(labels.iter().copied()).unwrap();
            array.finish().unwrap();
        }
    }

    #[test]
    fn images_and_classes_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npz");
        write(&path, &[2, 1, 2, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], Some(&[3, 0]));
        let source = open(&path, &Stamps::default()).unwrap();
        assert_eq!((source.name(), source.len(), source.shape()), ("samples", 2, [3, 1, 2]));
        assert_eq!(source.class_names(), ["0", "1", "2", "3"]);
        let example = source.example(0).unwrap();
        let bytes: Vec<u8> = example.pixels.into_iter().map(crate::transform::to_byte).collect();
        assert_eq!((bytes.as_slice(), example.class), ([0, 3, 1, 4, 2, 5].as_slice(), Some(3)));
    }

    #[test]
    fn what_is_no_batch_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.npz");
        let message = || open(&path, &Stamps::default()).err().unwrap().to_string();
        assert!(message().contains("samples.npz"));
        std::fs::write(&path, "no archive").unwrap();
        assert!(message().contains("no batch of samples"));
        write(&path, &[2, 3], &[0; 6], None);
        assert!(message().contains("[2, 3]"));
        write(&path, &[2, 1, 1, 3], &[0; 6], Some(&[1]));
        assert!(message().contains("1 classes for 2 images"));
        write(&path, &[1, 1, 1, 3], &[0; 3], Some(&[-1]));
        assert!(message().contains("holds -1"));
        // Floats, which could be no numbers at all: images are bytes.
        let mut archive = NpzWriter::new(File::create(&path).unwrap());
        let options = npyz::zip::write::FileOptions::default();
        let mut array =
            archive.array("arr_0", options).unwrap().default_dtype().shape(&[1, 1, 1, 3]).begin_nd().unwrap();
        array.extend([0.5f32, f32::NAN, 1.0]).unwrap();
        array.finish().unwrap();
        drop(archive);
        assert!(message().contains("samples.npz") && message().contains("`arr_0`"), "{}", message());
    }
}
