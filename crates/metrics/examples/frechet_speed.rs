//! Times the Frechet distance of two files of features, stage by stage; prints one JSON object.
//!
//! ```sh
//! cargo run --release -p sinter-metrics --example frechet_speed -- FIRST SECOND DIMENSION [ROWS]
//! ```
//!
//! The files hold 32-bit floats, little-endian, row after row; `ROWS` takes only the first ones of each. They are read
//! in blocks, so that the process never holds a set. `ceiling` is what the machine gives one product of two matrices of
//! 2048 x 2048 in f64, on all threads of the pool, before and after. `benches/peers/frechet.py` runs this in turn with
//! numpy and SciPy.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;
use sinter_metrics::{Gaussian, Moments, frechet};

/// Rows and columns of the product that tells the ceiling.
const SIDE: usize = 2048;
/// Columns of it that one task makes.
const PANEL: usize = 128;
/// Of so many products the fastest counts.
const RUNS: usize = 5;
/// Rows that are read at once.
const BLOCK: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, second, dimension, rest @ ..] = arguments.as_slice() else {
        return Err("usage: frechet_speed FIRST SECOND DIMENSION [ROWS]".into());
    };
    let dimension = dimension.parse()?;
    let rows = rest.first().map_or(Ok(usize::MAX), |rows| rows.parse())?;

    let before = ceiling();
    let (a, first_ms) = statistics(first, dimension, rows)?;
    let (b, second_ms) = statistics(second, dimension, rows)?;
    let began = Instant::now();
    let distance = frechet(&a, &b)?;
    let distance_ms = milliseconds(began);
    let count = a.count().unwrap_or(0);
    println!(
        "{{\"threads\": {}, \"rows\": {count}, \"dimension\": {dimension}, \"ceiling_gflops\": {}, \
         \"statistics_ms\": {}, \"distance_ms\": {distance_ms}, \"value\": {:e}, \"ranks\": {:?}}}",
        rayon::current_num_threads(),
        before.max(ceiling()),
        first_ms + second_ms,
        distance.value,
        distance.ranks,
    );
    Ok(())
}

/// The Gaussian of a file's features, and the milliseconds without those that reading took: the peer reads before its
/// clock starts.
fn statistics(path: &str, dimension: usize, rows: usize) -> Result<(Gaussian, f64), Box<dyn Error>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut moments = Moments::new(dimension);
    let (mut bytes, mut features) = (vec![0; BLOCK * dimension * 4], Vec::with_capacity(BLOCK * dimension));
    let (mut left, mut took) = (rows, 0.0);
    loop {
        let wanted = left.min(BLOCK) * dimension * 4;
        let found = fill(&mut file, &mut bytes[..wanted])?;
        if found == 0 {
            break;
        }
        features.clear();
        features.extend(bytes[..found].as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)));
        let began = Instant::now();
        moments.push(&features)?;
        took += milliseconds(began);
        left -= found / (dimension * 4);
    }
    let began = Instant::now();
    let gaussian = moments.into_gaussian()?;
    Ok((gaussian, took + milliseconds(began)))
}

/// Reads until `bytes` are full or the file ends, and returns how many it read.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut found = 0;
    while found < bytes.len() {
        match file.read(&mut bytes[found..])? {
            0 => break,
            more => found += more,
        }
    }
    Ok(found)
}

/// 10^9 operations a second in a product of f64 matrices.
fn ceiling() -> f64 {
    let left = Mat::from_fn(SIDE, SIDE, |i, j| ((i * SIDE + j) as f64 * 0.7).sin());
    let mut panels: Vec<Mat<f64>> = (0..SIDE / PANEL).map(|_| Mat::zeros(SIDE, PANEL)).collect();
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let began = Instant::now();
        panels.par_iter_mut().with_max_len(1).enumerate().for_each(|(index, panel)| {
            let right = left.subcols(index * PANEL, PANEL);
            matmul(panel, Accum::Replace, &left, right, 1.0, Par::Seq);
        });
        best = best.min(milliseconds(began));
    }
    2.0 * (SIDE as f64).powi(3) / best / 1e6
}

fn milliseconds(began: Instant) -> f64 {
    1e3 * began.elapsed().as_secs_f64()
}
