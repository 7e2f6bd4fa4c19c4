//! Renders a contact sheet of procedural shapes and prints their captions and readings.
//!
//! `cargo run --release -p sinter-data --example shapes_sheet -- SHEET.png [plain|textured [MIN [MAX [RESOLUTION]]]]`

use std::error::Error;

use image::{Rgb, RgbImage};
use sinter_data::shapes::{GroundKind, ObjectCount, Shape, Shapes, ShapesConfig, detect};
use sinter_data::{Source, Split};

const COLUMNS: u32 = 12;
const ROWS: u32 = 8;
const GAP: u32 = 2;
/// Small images are enlarged to this side.
const SIDE: u32 = 96;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: u32| arguments.get(i).map_or(Ok(default), |text| text.parse());
    let path = arguments.first().ok_or("name the picture to write")?;
    let textured = arguments.get(1).is_some_and(|kind| kind == "textured");
    let config = ShapesConfig {
        resolution: number(4, 32)? as usize,
        objects: ObjectCount { min: number(2, 1)?, max: number(3, 4)? },
        shapes: Shape::ALL.to_vec(),
        ground: if textured { GroundKind::Textured } else { GroundKind::Plain },
        captions: true,
        ..ShapesConfig::default()
    };
    let side = config.resolution as u32;
    let scale = (SIDE / side).max(1);
    let pitch = side * scale + GAP;
    let shapes = Shapes::new(config, Split::Train, 0)?;
    let mut sheet = RgbImage::new(COLUMNS * pitch + GAP, ROWS * pitch + GAP);
    for index in 0..COLUMNS * ROWS {
        let example = shapes.example(u64::from(index))?;
        let reading = detect(&example.pixels, shapes.shape())?;
        let found: Vec<String> = reading
            .objects
            .iter()
            .map(|found| format!("{} {} {:.2}", found.colour.name(), found.pose.shape.name(), found.confidence))
            .collect();
        println!("{index:3} {} [{}]", example.caption.unwrap_or_default(), found.join(", "));
        let area = (side * side) as usize;
        for i in 0..area * (scale * scale) as usize {
            let (x, y) = (i as u32 % (side * scale), i as u32 / (side * scale));
            let source = (y / scale * side + x / scale) as usize;
            let value = |channel: usize| ((example.pixels[channel * area + source] + 1.0) * 127.5).round() as u8;
            let (left, top) = (GAP + index % COLUMNS * pitch, GAP + index / COLUMNS * pitch);
            sheet.put_pixel(left + x, top + y, Rgb([value(0), value(1), value(2)]));
        }
    }
    sheet.save(path)?;
    Ok(())
}
