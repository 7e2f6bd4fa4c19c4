//! Tables of numbers as pictures: the darker, the larger.

use image::{Rgb, RgbImage};

use super::canvas::{BLACK, Canvas, WHITE};

const CELL: (i64, i64) = (76, 30);
const GAP: i64 = 12;

/// A picture of a table, `values[row][column]`, with its title, the names of its rows and columns, and each number with
/// three digits; NaN stays blank.
pub fn heat_map(title: &str, rows: &[String], columns: &[String], values: &[Vec<f64>]) -> RgbImage {
    let widest = rows.iter().map(|row| Canvas::text_size(row).0).max().unwrap_or(0);
    let (left, top) = (widest + 2 * GAP, 2 * CELL.1 + GAP);
    let across = (left + CELL.0 * columns.len() as i64).max(GAP + Canvas::text_size(title).0);
    let mut canvas = Canvas::new((across + GAP) as u32, (top + CELL.1 * rows.len() as i64 + GAP) as u32);
    canvas.text(GAP, GAP, title, BLACK);

    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let centred = |canvas: &mut Canvas, x: i64, y: i64, text: &str, ink| {
        let (width, height) = Canvas::text_size(text);
        canvas.text(x + (CELL.0 - width) / 2, y + (CELL.1 - height) / 2, text, ink);
    };
    for (i, name) in columns.iter().enumerate() {
        centred(&mut canvas, left + CELL.0 * i as i64, top - CELL.1, name, BLACK);
    }
    for (i, (name, row)) in rows.iter().zip(values).enumerate() {
        let y = top + CELL.1 * i as i64;
        canvas.text(GAP, y + (CELL.1 - Canvas::text_size(name).1) / 2, name, BLACK);
        for (j, value) in row.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let x = left + CELL.0 * j as i64;
            let share = if most > least { (value - least) / (most - least) } else { 0.5 };
            canvas.fill(x + 1, y + 1, CELL.0 as u32 - 2, CELL.1 as u32 - 2, shade(share));
            centred(&mut canvas, x, y, &format!("{value:.3}"), if share > 0.55 { WHITE } else { BLACK });
        }
    }
    canvas.into_picture()
}

/// From nearly white to a dark blue.
fn shade(share: f64) -> Rgb<u8> {
    let mix = |light: f64, dark: f64| (light + (dark - light) * share.clamp(0.0, 1.0)).round() as u8;
    Rgb([mix(236.0, 8.0), mix(242.0, 48.0), mix(250.0, 107.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_is_the_darkest_cell() {
        let names = |count: usize| (0..count).map(|i| format!("{i}")).collect::<Vec<_>>();
        let values = vec![vec![0.1, 0.9, f64::NAN], vec![0.5, 0.2, 0.3]];
        let picture = heat_map("title", &names(2), &names(3), &values);
        // The corner of each cell, where no digit is.
        let left = picture.width() as i64 - GAP - 3 * CELL.0;
        let corner = |i: i64, j: i64| {
            let (x, y) = (left + CELL.0 * j + 3, 2 * CELL.1 + GAP + CELL.1 * i + 3);
            picture.get_pixel(x as u32, y as u32).0
        };
        assert_eq!((corner(0, 1), corner(0, 0), corner(0, 2)), ([8, 48, 107], [236, 242, 250], [255; 3]));
        assert!(corner(1, 0)[0] < corner(1, 2)[0] && corner(1, 2)[0] < corner(1, 1)[0]);
        assert_eq!(heat_map("", &[], &[], &[]).width(), (3 * GAP) as u32);
    }
}
