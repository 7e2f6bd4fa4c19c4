//! The whole way from images to features, with drawn weights.

use sinter_process::random::{Key, Stream};

use super::*;

/// The network with drawn weights.
fn features(resize: Resize) -> InceptionFeatures {
    InceptionFeatures::new(Weights::random(0).unwrap(), "0".into(), resize, &Device::flex())
}

/// Pixels a little beyond -1..1.
fn pixels(count: usize) -> Vec<f32> {
    let mut pixels = vec![0.0; count];
    Key::new(0, Stream::TEST).at(1_000).fill_normal(&mut pixels);
    pixels.iter_mut().for_each(|pixel| *pixel *= 0.5);
    pixels
}

#[test]
fn an_images_features_do_not_depend_on_its_batch() {
    // So many that threads share them.
    let (n, image) = (17, 3 * 6 * 5);
    let (network, pixels) = (features(Resize::Tensorflow), pixels(n * image));
    let together = network.layers(&pixels, [n, 3, 6, 5], &Layer::ALL).unwrap();
    for index in [0, 9, 16] {
        let alone = network.layers(&pixels[index * image..][..image], [1, 3, 6, 5], &Layer::ALL).unwrap();
        for ((layer, together), alone) in Layer::ALL.into_iter().zip(&together).zip(alone) {
            assert_eq!(alone.len(), layer.length());
            assert!(alone.iter().any(|value| *value != 0.0) && alone.iter().all(|value| value.is_finite()));
            assert_eq!(together[index * layer.length()..][..layer.length()], alone, "{} of {index}", layer.name());
        }
    }
}

#[test]
fn layers_come_as_they_were_asked_for() {
    let network = features(Resize::Pytorch);
    let (pixels, shape) = (pixels(16), [1, 1, 4, 4]);
    let read = network.layers(&pixels, shape, &[Layer::Logits, Layer::Pool1, Layer::LogitsUnbiased]).unwrap();
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [1008, 64, 1008]);
    assert_ne!(read[0], read[2]);
    // Gray is the same colour three times.
    assert_eq!(network.layers(&pixels.repeat(3), [1, 3, 4, 4], &[Layer::Pool1]).unwrap()[0], read[1]);
    assert!(network.layers(&pixels, [2, 2, 2, 2], &[Layer::Pool1]).is_err());
    assert!(network.check([2, 2, 2]).is_err() && network.check([1, 4, 4]).is_ok());
    let features = network.features(&pixels, shape);
    let spatial = features.spatial.unwrap();
    assert_eq!((features.pooled.len(), spatial.len(), features.logits.unwrap()), (2048, 2023, read[2].clone()));
}

#[test]
fn names_and_warnings_tell_what_was_used() {
    let network = features(Resize::Tensorflow);
    assert_eq!((network.name().as_str(), network.inception()), ("inception:tensorflow", None));
    assert!(network.warning().is_some_and(|warning| warning.contains(KNOWN[0])));
    let network = InceptionFeatures { hash: KNOWN[0].into(), ..network };
    assert_eq!((network.inception(), network.warning()), (Some("tensorflow"), None));
    assert_eq!(network.hash(), KNOWN[0]);
}
