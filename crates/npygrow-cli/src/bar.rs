//! A progress bar for what takes long, on a terminal.

use crate::text::{GOOD, LABEL, paint, size};
use std::io::Write;
use std::time::{Duration, Instant};

/// What is done sooner needs no bar.
const LONG: Duration = Duration::from_millis(500);
const REDRAW: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// Draws itself over and over on one line, and wipes that when it is dropped.
pub(crate) struct Bar<'a> {
    /// `None` where nobody watches.
    to: Option<&'a mut dyn Write>,
    next: Instant,
    /// Columns that the last drawing took.
    drawn: usize,
}

impl<'a> Bar<'a> {
    pub(crate) fn new(to: Option<&'a mut dyn Write>) -> Self {
        Bar { to, next: Instant::now() + LONG, drawn: 0 }
    }

    /// So many bytes of `total` are done.
    pub(crate) fn at(&mut self, done: u64, total: u64) {
        let Some(to) = self.to.as_mut().filter(|_| Instant::now() >= self.next) else { return };
        self.next = Instant::now() + REDRAW;
        let part = |of: u64| (u128::from(of) * u128::from(done) / u128::from(total.max(1))) as usize;
        let filled = part(WIDTH);
        let text = format!(" {:>3} %  {} of {}", part(100), size(done), size(total));
        let (full, rest) = ("━".repeat(filled), "─".repeat(WIDTH as usize - filled));
        let blanks = " ".repeat(self.drawn.saturating_sub(WIDTH as usize + text.len()));
        self.drawn = WIDTH as usize + text.len();
        // A bar that cannot be drawn is no reason to stop the work.
        let _ = write!(to, "\r{}{}{text}{blanks}", paint(GOOD, full), paint(LABEL, rest)).and_then(|()| to.flush());
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(to) = self.to.as_mut().filter(|_| self.drawn > 0) {
            let _ = write!(to, "\r{}\r", " ".repeat(self.drawn)).and_then(|()| to.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn drawn_when_it_takes_long_and_wiped_at_the_end() {
        let mut screen = Vec::new();
        let mut bar = Bar::new(Some(&mut screen));
        bar.at(1, 4);
        assert_eq!(bar.drawn, 0);
        bar.next = Instant::now();
        bar.at(1 << 30, 4 << 30);
        drop(bar);
        let drawn = anstream::adapter::strip_str(std::str::from_utf8(&screen).unwrap()).to_string();
        let line = format!("{}{}  25 %  1.0 GiB of 4.0 GiB", "━".repeat(7), "─".repeat(23));
        assert_eq!(drawn, format!("\r{line}\r{}\r", " ".repeat(line.chars().count())));
    }

    #[test]
    fn nothing_of_nothing() {
        let mut screen = Vec::new();
        let mut bar = Bar::new(Some(&mut screen));
        bar.next = Instant::now();
        bar.at(0, 0);
        drop(bar);
        assert!(String::from_utf8(screen).unwrap().contains("  0 %  0 B of 0 B"));
    }
}
