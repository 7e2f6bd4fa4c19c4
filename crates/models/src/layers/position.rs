/// A fixed table of positions on a grid, `[rows * columns, width]` in row-major order (width divisible by 4).
///
/// The first half of the features encodes the column and the second the row, each as sines first, then cosines, at
/// frequencies `10000^(-i/(width/4))` (the two-dimensional table of MAE and DiT).
pub fn sine_cosine_positions(rows: usize, columns: usize, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let mut table = Vec::with_capacity(rows * columns * width);
    for row in 0..rows {
        for column in 0..columns {
            for position in [column, row] {
                let angle = |i: usize| position as f64 * 10_000f64.powf(-(i as f64) / quarter as f64);
                table.extend((0..quarter).map(|i| angle(i).sin() as f32));
                table.extend((0..quarter).map(|i| angle(i).cos() as f32));
            }
        }
    }
    table
}
