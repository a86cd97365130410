//! Rows out of .npy files: all of them or none.

use super::{Append, Done, Failures, STDIN, mismatch};
use crate::bar::Bar;
use crate::info::shape;
use crate::text::plain;
use npygrow::format::split_shape;
use npygrow::{Dtype, Order, Result, View};
use std::io::Write;
use std::path::Path;

/// What is written at a time.
const BLOCK: usize = 4 << 20;

/// What the rows of a file are.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) dtype: Dtype,
    pub(super) row_shape: Vec<u64>,
    pub(super) order: Order,
}

impl Rows {
    pub(super) fn of(dtype: &Dtype, shape: &[u64], order: Order) -> Result<Rows> {
        let (_, row_shape) =
            split_shape(shape, order).ok_or_else(|| mismatch("expected rows, found an array without axes"))?;
        Ok(Rows { dtype: dtype.clone(), row_shape, order })
    }

    /// Refuses rows that do not fit these, and says all that differs.
    pub(super) fn check(&self, found: &Rows, whose: &Path) -> Result<()> {
        let (mut want, mut have) = (Vec::new(), Vec::new());
        let mut compare = |fits: bool, words: fn(&Rows) -> String| {
            if !fits {
                want.push(words(self));
                have.push(words(found));
            }
        };
        compare(self.dtype == found.dtype, |rows| format!("dtype {}", rows.dtype));
        compare(self.row_shape == found.row_shape, |rows| format!("rows of shape {}", shape(&rows.row_shape)));
        // Where a row is one item both orders lie alike.
        compare(self.order == found.order || self.row_shape.is_empty(), |rows| format!("{} order", rows.order));
        if want.is_empty() {
            return Ok(());
        }
        let (want, have) = (want.join(", "), have.join(", "));
        Err(mismatch(format!("expected {want} as in {}, found {have}", plain(whose.display()))))
    }
}

impl Append {
    /// Appends files once they all fit OUT and each other.
    pub(super) fn files(&self, done: &mut Done, watched: Option<&mut dyn Write>) -> Result<(), Failures> {
        let known = self.alone().and_then(|()| self.known()).map_err(|error| self.failed(error))?;
        let mut want = known.map(|rows| (rows, &self.output));
        let (mut views, mut failures) = (Vec::new(), Vec::new());
        for path in &self.inputs {
            let view = View::open(path, self.common.max_header_size).and_then(|view| {
                let rows = Rows::of(view.dtype(), view.shape(), view.order())?;
                let (want, whose) = want.get_or_insert_with(|| (rows.clone(), path));
                want.check(&rows, whose).map(|()| view)
            });
            match view {
                Ok(view) => views.push(view),
                Err(error) => failures.push((path.clone(), error)),
            }
        }
        match want {
            Some((want, _)) if failures.is_empty() => {
                self.copy(&want, &views, done, watched).map_err(|error| self.failed(error))
            }
            _ => Err(failures),
        }
    }

    /// Refuses what is for standard input.
    fn alone(&self) -> Result<()> {
        if self.inputs.iter().any(|path| path.as_os_str() == STDIN) {
            return Err(mismatch("standard input cannot go together with .npy files: append the one, then the others"));
        }
        if self.dtype.is_some() || self.row_shape.is_some() {
            return Err(mismatch("--dtype and --row-shape are for - and --csv: .npy files say what their rows are"));
        }
        Ok(())
    }

    /// Appends the rows of the files in one piece.
    fn copy(&self, want: &Rows, views: &[View], done: &mut Done, watched: Option<&mut dyn Write>) -> Result<()> {
        // Without a buffer: when it is said that they could not be appended, nothing tries again.
        let mut appender = self.options().order(want.order).buffering(0).open(&self.output)?;
        appender.define(&want.dtype, &want.row_shape)?;
        let rows = views.iter().fold(0, |rows: u64, view| rows.saturating_add(view.len()));
        let size = views.iter().map(|view| view.bytes().len() as u64).sum();
        let (mut bar, mut copied) = (Bar::new(watched), 0);
        let mut batch = appender.begin(rows)?;
        // An input that is cut short meanwhile ends the process (SIGBUS); what it wrote was not counted yet.
        for block in views.iter().flat_map(|view| view.bytes().chunks(BLOCK)) {
            batch.write(block)?;
            copied += block.len() as u64;
            bar.at(copied, size);
        }
        batch.commit()?;
        *done = Done { appended: rows, rows: Some(appender.len()), dropped: appender.dropped(), ..Done::default() };
        appender.close()
    }
}
