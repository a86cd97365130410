//! What is to be joined: every input looked at before a byte is written, and all that does not fit named at once.

use crate::create::{Place, missing};
use crate::error::{Error, ErrorKind, Result, error};
use crate::format::{Header, Layout, Order, Tuple, split_shape};
use crate::grow::{no_axes, no_room};
use crate::open::{Found, Health, Spec, find, truncated};
use crate::parts::Parts;
use crate::storage::{Hold, Identity, Storage, Wait};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::OsString;
use std::path::PathBuf;

/// How many inputs that do not fit an error spells out.
const SPELLED_OUT: usize = 10;

/// The most arrays of one file that are joined: what is known of each takes some hundred bytes.
const MAX_ARRAYS: usize = 1_000_000;

/// A file to join.
pub(crate) struct Input {
    /// As the caller named it.
    pub(crate) given: OsString,
    /// For messages.
    pub(crate) shown: PathBuf,
    /// By which a later call finds it.
    pub(crate) path: OsString,
}

/// The rows of an input: a run of bytes in a storage.
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) shown: PathBuf,
    pub(crate) path: OsString,
    pub(crate) identity: Option<Identity>,
    pub(crate) spec: Spec,
    pub(crate) shape: Vec<u64>,
    pub(crate) rows: u64,
    /// As the file itself counts rows.
    row_size: u64,
    /// Where its header begins, and which of its file's arrays it is, where these are several.
    array: Option<(u64, u64)>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Bytes after the last row, which are not joined.
    pub(crate) tail: u64,
}

/// What all inputs must be.
pub(crate) struct Want {
    pub(crate) spec: Spec,
    /// The shape and, in it, the axis along which they may differ.
    pub(crate) shape: Vec<u64>,
    pub(crate) axis: usize,
    /// Whose.
    pub(crate) shown: PathBuf,
}

impl Part {
    /// What the file at `place` has to be joined.
    pub(crate) fn of(input: &Input, place: &Place, storage: &dyn Storage, found: Found) -> Result<Self> {
        if found.is_scalar() {
            return Err(no_room(&found));
        }
        let tail = match found.health {
            Health::Clean => 0,
            Health::Tail { bytes, .. } => bytes,
            Health::Truncated { rows, .. } => return Err(truncated(found.rows, rows)),
            Health::Sequence => {
                return Err(error!(
                    Unsupported,
                    "several arrays in one file can be joined, but not consumed: delete it afterwards"
                ));
            }
        };
        let offset = found.layout.data_start;
        Ok(Part {
            place: place.clone(),
            shown: input.shown.clone(),
            path: input.path.clone(),
            identity: storage.identity()?,
            len: found.layout.end(found.rows)? - offset,
            shape: found.header.shape,
            rows: found.rows,
            row_size: found.layout.row_size,
            spec: found.spec,
            array: None,
            offset,
            tail,
        })
    }

    /// Its first `rows` rows alone.
    pub(crate) fn first(&mut self, rows: u64) {
        let left_out = self.rows.saturating_sub(rows);
        self.rows -= left_out;
        self.len -= left_out * self.row_size;
        self.tail += left_out * self.row_size;
    }

    /// The arrays that several `np.save` calls left in the file at `place`, which is read to its end.
    pub(crate) fn all(input: &Input, place: &Place, storage: &dyn Storage, max_header_size: u64) -> Result<Vec<Self>> {
        let identity = storage.identity()?;
        let mut all = Vec::new();
        for (index, array) in Parts::of(storage, max_header_size)?.enumerate() {
            if index >= MAX_ARRAYS {
                return Err(error!(OverLimit, "more than {MAX_ARRAYS} arrays: join the file in parts"));
            }
            let array = array?;
            let named = |error: Error| nth(index as u64, &error);
            let (rows, row_shape) = array.header.split().ok_or_else(|| named(no_axes()))?;
            let layout = Layout::new(array.header.len, &array.header.dtype, &row_shape).map_err(named)?;
            let offset = array.offset + layout.data_start;
            all.push(Part {
                place: place.clone(),
                shown: input.shown.clone(),
                path: input.path.clone(),
                identity,
                spec: Spec { dtype: array.header.dtype, order: array.header.order, row_shape },
                shape: array.header.shape,
                rows,
                row_size: layout.row_size,
                array: Some((array.offset, index as u64)),
                offset,
                len: array.offset + array.size - offset,
                tail: 0,
            });
        }
        Ok(all)
    }

    /// Opens it again, for reading; refuses what is not what it was.
    pub(crate) fn open(&self, max_header_size: u64) -> Result<Box<dyn Storage>> {
        let open = || {
            let storage = self.place.folder.open(&self.place.name, false)?.ok_or_else(missing)?;
            if let Some((at, _)) = self.array {
                return if self.is_at(at, &*storage)? { Ok(storage) } else { Err(changed()) };
            }
            let found = find(&*storage, max_header_size)?;
            // Rows may have been appended; what was looked at must be where it was.
            let whole = found.layout.end(found.rows)? >= self.offset + self.len;
            if self.is_still(&*storage, &found)? && whole { Ok(storage) } else { Err(changed()) }
        };
        open().map_err(|error: Error| error.at(self.shown.display()))
    }

    /// Opens it and takes its lock, to delete it: it must still have the rows it had.
    pub(crate) fn lock(&self, wait: &Wait, max_header_size: u64) -> Result<Box<dyn Storage>> {
        let lock = || {
            let mut storage = self.place.lock(wait, Hold::Turn)?.ok_or_else(missing)?;
            let found = self.place.find(&mut *storage, max_header_size)?;
            let alike = found.header.shape == self.shape && found.health == Health::Clean;
            if self.is_still(&*storage, &found)? && alike { Ok(storage) } else { Err(changed()) }
        };
        lock().map_err(|error: Error| error.at(self.shown.display()))
    }

    /// Whether this is the file that was looked at, and its rows still lie as they did.
    fn is_still(&self, storage: &dyn Storage, found: &Found) -> Result<bool> {
        let lies = (found.layout.data_start, found.layout.row_size) == (self.offset, self.row_size);
        let well = !matches!(found.health, Health::Truncated { .. });
        Ok(storage.identity()? == self.identity && lies && well && found.header.dtype == self.spec.dtype)
    }

    /// Whether it is still the array whose header begins at `at`.
    fn is_at(&self, at: u64, storage: &dyn Storage) -> Result<bool> {
        if storage.identity()? != self.identity || storage.len()? < self.offset + self.len {
            return Ok(false);
        }
        // As long as it was when it was found, within the limit.
        let mut bytes = vec![0; usize::try_from(self.offset - at).unwrap_or(0)];
        storage.read_exact_at(at, &mut bytes)?;
        let same = |header: Header| header.dtype == self.spec.dtype && header.shape == self.shape;
        Ok(Header::parse(&bytes).is_ok_and(same))
    }

    /// Deletes the file that [`lock`](Part::lock) gave, unless its name is another's by now.
    pub(crate) fn delete(&self) -> Result<()> {
        let folder = &self.place.folder;
        let delete = || match folder.identity(&self.place.name)? {
            now if now == self.identity => folder.remove(&self.place.name),
            _ => Err(changed()),
        };
        delete().map_err(|error: Error| error.at(self.shown.display()))
    }

    /// Whether its bytes are the same array in both orders. NumPy then says C, whatever the array was before.
    fn lies_either_way(&self) -> bool {
        self.shape.contains(&0) || self.shape.iter().filter(|&&n| n != 1).count() <= 1
    }

    /// Its rows in `order`, and the shape of one; its own where it lies in the other order alone.
    fn split(&self, order: Order) -> (u64, Vec<u64>) {
        let other = order != self.spec.order && self.lies_either_way();
        other.then(|| split_shape(&self.shape, order)).flatten().unwrap_or((self.rows, self.spec.row_shape.clone()))
    }

    /// Counts its rows as a file in `want`'s order does.
    pub(crate) fn settle(&mut self, want: &Want) {
        if self.spec.order != want.spec.order {
            (self.rows, self.spec.row_shape) = self.split(want.spec.order);
            self.spec.order = want.spec.order;
        }
    }

    /// Why it does not fit.
    pub(crate) fn misfit(&self, want: &Want) -> Option<Error> {
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        let mut compare = |same: bool, wanted: String, has: String| {
            if !same {
                expected.push(wanted);
                found.push(has);
            }
        };
        let dtypes = (&want.spec.dtype, &self.spec.dtype);
        compare(dtypes.0 == dtypes.1, format!("dtype {}", dtypes.0), format!("dtype {}", dtypes.1));
        if want.axis == growth_axis(want.spec.order, want.shape.len()) {
            let row_shape = self.split(want.spec.order).1;
            let text = |shape: &[u64]| format!("rows of shape {}", Tuple(shape));
            compare(row_shape == want.spec.row_shape, text(&want.spec.row_shape), text(&row_shape));
        } else {
            let others = |shape: &[u64]| {
                let others = shape.iter().enumerate().filter(|(axis, _)| *axis != want.axis);
                (shape.len(), others.map(|(_, &n)| n).collect::<Vec<_>>())
            };
            let text = |shape: &[u64]| format!("shape {}", Tuple(shape));
            compare(
                others(&self.shape) == others(&want.shape),
                format!("{} but for axis {}", text(&want.shape), want.axis),
                text(&self.shape),
            );
        }
        let order = self.spec.order == want.spec.order || self.lies_either_way();
        compare(order, format!("{} order", want.spec.order), format!("{} order", self.spec.order));
        let whose = want.shown.display();
        let text = || error!(Mismatch, "expected {} as in {whose}, found {}", expected.join(", "), found.join(", "));
        let text = || self.array.map_or_else(text, |(_, index)| nth(index, &text()));
        (!expected.is_empty()).then(text)
    }
}

/// An error about one of a file's arrays.
fn nth(index: u64, error: &Error) -> Error {
    Error::new(error.kind(), format!("array {index}: {}", error.detail()))
}

fn changed() -> Error {
    error!(Mismatch, "another program changed it since it was looked at: call again")
}

impl Want {
    /// What the file at `shown` is.
    pub(crate) fn of(spec: &Spec, shape: &[u64], shown: PathBuf) -> Self {
        let axis = growth_axis(spec.order, shape.len());
        Want { spec: spec.clone(), shape: shape.to_vec(), axis, shown }
    }

    /// What the first of `parts` is, of those first that leave no doubt of their order.
    pub(crate) fn first(parts: &[Part]) -> Option<Self> {
        let part = parts.iter().find(|part| !part.lies_either_way()).or(parts.first())?;
        Some(Want::of(&part.spec, &part.shape, part.shown.clone()))
    }

    /// Takes the axis to join along as NumPy counts it.
    pub(crate) fn along(&mut self, axis: i64) -> Result<()> {
        let ndim = self.shape.len();
        let counted = if axis < 0 { axis + ndim as i64 } else { axis };
        let counted = usize::try_from(counted).ok().filter(|&axis| axis < ndim);
        self.axis = counted.ok_or_else(|| {
            let axes = if ndim == 1 { "axis" } else { "axes" };
            error!(Mismatch, "axis {axis} is out of bounds: {} has {ndim} {axes}", self.shown.display())
        })?;
        Ok(())
    }

    pub(crate) fn is_along_rows(&self) -> bool {
        self.axis == growth_axis(self.spec.order, self.shape.len())
    }

    /// What the joined rows are.
    pub(crate) fn joined(&self, parts: &[Part]) -> Result<(Spec, u64)> {
        let along = self.is_along_rows();
        let size = |part: &Part| if along { part.rows } else { part.shape.get(self.axis).copied().unwrap_or(0) };
        let total = parts.iter().try_fold(0, |sum: u64, part| sum.checked_add(size(part)));
        let total = total.ok_or_else(|| error!(OverLimit, "joined, the inputs pass {} along the axis", u64::MAX))?;
        if along {
            return Ok((self.spec.clone(), total));
        }
        let mut shape = self.shape.clone();
        shape.get_mut(self.axis).into_iter().for_each(|size| *size = total);
        let (rows, row_shape) = split_shape(&shape, self.spec.order).unwrap_or_default();
        Ok((Spec { row_shape, ..self.spec.clone() }, rows))
    }
}

pub(crate) fn growth_axis(order: Order, ndim: usize) -> usize {
    if order == Order::C { 0 } else { ndim.saturating_sub(1) }
}

/// One error for all inputs that cannot be joined, of `all`.
pub(crate) fn refusal(mut faults: Vec<(PathBuf, Error)>, all: usize) -> Error {
    if let [(shown, _)] = &faults[..] {
        let shown = shown.clone();
        return faults.remove(0).1.at(shown.display());
    }
    let kind = faults[0].1.kind();
    let io = faults[0].1.io_kind();
    let alike = faults.iter().all(|(_, error)| error.kind() == kind && error.io_kind() == io);
    let spell = |(shown, error): &(PathBuf, Error)| format!("{}: {}", shown.display(), error.detail());
    let mut text: Vec<_> = faults.iter().take(SPELLED_OUT).map(spell).collect();
    if faults.len() > SPELLED_OUT {
        text.push(format!("and {} more", faults.len() - SPELLED_OUT));
    }
    let text = format!("{} of {all} inputs cannot be joined: {}", faults.len(), text.join("; "));
    match io {
        Some(io) if alike => Error::of_kind(io, text),
        _ => Error::new(if alike { kind } else { ErrorKind::Mismatch }, text),
    }
}
