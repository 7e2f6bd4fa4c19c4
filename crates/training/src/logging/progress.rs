//! The progress that a person watches: a bar on a terminal, plain lines anywhere else.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressDrawTarget, ProgressStyle};

/// Seconds over which the speed is averaged.
const MEMORY: f64 = 20.0;

/// Shows how far a run has come, how fast it is, its loss, and when it will end, on standard error.
pub struct Progress {
    display: Display,
    speed: Speed,
    total: u64,
    images: u64,
    loss: Option<f64>,
}

enum Display {
    Bar(indicatif::ProgressBar),
    Lines(Lines),
}

impl Progress {
    /// Begins at `images` of `total` training images. Where there is no terminal, a line is printed every
    /// `every_images` images, though not more often than every `every`, and at the end.
    pub fn new(images: u64, total: u64, every_images: u64, every: Duration) -> Self {
        if !io::stderr().is_terminal() {
            return Self::lines(images, total, every_images, every, Box::new(io::stderr()));
        }
        const PER_SECOND: u8 = 5;
        let bar = indicatif::ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(PER_SECOND));
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {percent:>3}% {pos}/{len} images  {msg}") {
            bar.set_style(style);
        }
        bar.set_position(images);
        Self::with(Display::Bar(bar), images, total)
    }

    /// Plain lines to a writer of one's own.
    pub fn lines(images: u64, total: u64, every_images: u64, every: Duration, out: Box<dyn Write + Send>) -> Self {
        let lines = Lines { out, every_images, every, last_images: images, last: Instant::now() };
        Self::with(Display::Lines(lines), images, total)
    }

    fn with(display: Display, images: u64, total: u64) -> Self {
        Self { display, speed: Speed::new(images, Instant::now()), total, images, loss: None }
    }

    /// Says that `images` training images have been seen.
    pub fn update(&mut self, images: u64, loss: Option<f64>) {
        self.update_at(images, loss, Instant::now());
    }

    fn update_at(&mut self, images: u64, loss: Option<f64>, now: Instant) {
        self.images = images;
        self.loss = loss.or(self.loss);
        self.speed.update(images, now);
        let status = self.status();
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_position(images);
                bar.set_message(status);
            }
            Display::Lines(lines) => {
                if lines.due(images, now) {
                    lines.print(images, self.total, &status);
                }
            }
        }
    }

    /// Prints a message without tearing the bar.
    pub fn print(&mut self, message: &str) {
        match &mut self.display {
            Display::Bar(bar) => bar.suspend(|| eprintln!("{message}")),
            Display::Lines(lines) => lines.line(message),
        }
    }

    /// Training images a second of late; none before the first update.
    pub fn images_per_second(&self) -> Option<f64> {
        self.speed.get()
    }

    /// Ends the display, leaving its last state to be seen.
    pub fn finish(&mut self) {
        let status = self.status();
        match &mut self.display {
            Display::Bar(bar) => bar.abandon_with_message(status),
            Display::Lines(lines) => {
                if lines.last_images < self.images {
                    lines.print(self.images, self.total, &status);
                }
            }
        }
    }

    fn status(&self) -> String {
        let mut parts = Vec::new();
        if let Some(loss) = self.loss {
            parts.push(format!("loss {loss:.4}"));
        }
        if let Some(speed) = self.speed.get() {
            parts.push(format!("{} images/s", three_digits(speed)));
            let left = self.total.saturating_sub(self.images) as f64 / speed;
            if left > 0.0 && left.is_finite() {
                parts.push(format!("ETA {}", duration(left)));
            }
        }
        parts.join("  ")
    }
}

struct Lines {
    out: Box<dyn Write + Send>,
    every_images: u64,
    every: Duration,
    last_images: u64,
    last: Instant,
}

impl Lines {
    fn due(&mut self, images: u64, now: Instant) -> bool {
        let due = images >= self.last_images.saturating_add(self.every_images)
            && now.saturating_duration_since(self.last) >= self.every;
        if due {
            self.last = now;
        }
        due
    }

    fn print(&mut self, images: u64, total: u64, status: &str) {
        self.last_images = images;
        let percent = 100 * images / total.max(1);
        self.line(&format!("{images}/{total} images ({percent}%)  {status}"));
    }

    fn line(&mut self, text: &str) {
        // Who closes the pipe does not want to watch, but the run goes on.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

/// A speed over the last while: older images and seconds weigh exponentially less.
struct Speed {
    images: f64,
    seconds: f64,
    last_images: u64,
    last: Instant,
}

impl Speed {
    fn new(images: u64, now: Instant) -> Self {
        Self { images: 0.0, seconds: 0.0, last_images: images, last: now }
    }

    fn update(&mut self, images: u64, now: Instant) {
        let seconds = now.saturating_duration_since(self.last).as_secs_f64();
        let kept = (-seconds / MEMORY).exp();
        self.images = self.images * kept + images.saturating_sub(self.last_images) as f64;
        self.seconds = self.seconds * kept + seconds;
        (self.last_images, self.last) = (images, now);
    }

    fn get(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.images / self.seconds)
    }
}

/// A number with no more digits than matter to a person.
fn three_digits(number: f64) -> String {
    let decimals = match number {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

/// `1h 02m`, `2m 51s` or `9s`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_by_images_and_by_seconds() {
        let out = Shared::default();
        let every = Duration::from_secs(10);
        let mut progress = Progress::lines(1000, 8000, 100, every, Box::new(out.clone()));
        let start = Instant::now();
        // 64 images every two seconds: 10 seconds are 320 images, so that the clock sets the pace.
        for update in 1..=20 {
            progress.update_at(1000 + 64 * update, Some(0.5), start + Duration::from_secs(2 * update));
        }
        progress.print("a checkpoint was written");
        progress.finish();
        progress.finish();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].starts_with("1320/8000 images (16%)  loss 0.5000  32.0 images/s  ETA 3m 29s"), "{text}");
        assert_eq!(lines[4], "a checkpoint was written");
    }

    #[test]
    fn the_end_is_always_said() {
        let out = Shared::default();
        let mut progress = Progress::lines(0, 64, 100, Duration::ZERO, Box::new(out.clone()));
        progress.update(64, None);
        progress.finish();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("64/64 images (100%)  ") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn the_speed_follows_a_change() {
        let start = Instant::now();
        let mut speed = Speed::new(500, start);
        assert_eq!(speed.get(), None);
        let at = |second: u64| start + Duration::from_secs(second);
        speed.update(600, at(1));
        assert_eq!(speed.get(), Some(100.0));
        (2..=100).for_each(|second| speed.update(600 + 10 * (second - 1), at(second)));
        assert!((speed.get().unwrap() - 10.0).abs() < 1.0);
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(
            [8.6, 60.0, 171.0, 3720.0, 360_000.0].map(duration),
            ["9s", "1m 00s", "2m 51s", "1h 02m", "100h 00m"]
        );
        assert_eq!([0.123, 42.26, 512.4].map(three_digits), ["0.12", "42.3", "512"]);
    }
}
