//! The folders that are to be joined, and all that is amiss with them.

use super::output::{Output, Standing};
use crate::append::Batch;
use crate::concat::inputs::{Input as Given, Part, Want, refusal};
use crate::create::{Place, missing};
use crate::dataset::files::Files;
use crate::dataset::{DatasetAppender, Kind, file_name};
use crate::error::{Error, Result, error};
use crate::format::Order;
use crate::group::{ColumnPart, Group, VALUES, check_offsets, check_values, good_items, offset};
use crate::open::{Health, find};
use crate::options::Options;
use crate::ragged::RaggedAppender;
use crate::storage::{Folder, Storage};
use crate::tail::sequence;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A folder to join, or to join to.
pub(super) struct Input {
    pub(super) shown: PathBuf,
    pub(super) columns: BTreeMap<String, Look>,
    /// What every column has.
    pub(super) rows: u64,
    /// Bytes after that.
    pub(super) left_out: u64,
}

/// The rows of a column that are joined: a run of bytes in a file, or in two.
pub(super) struct Look {
    pub(super) values: Part,
    offsets: Option<Part>,
    rows: u64,
}

/// What all of them must be.
pub(super) struct Wants {
    shown: PathBuf,
    pub(super) columns: BTreeMap<String, (Kind, Want)>,
}

/// All inputs, and what they have in common with each other and the output. Refuses with all that is amiss.
pub(super) fn look(
    folders: Vec<(PathBuf, Result<Arc<dyn Folder>>)>,
    output: &Output,
    standing: &Standing,
) -> Result<(Vec<Input>, Wants)> {
    let limit = output.options.appender.header_limit();
    let all = folders.len();
    let (mut inputs, mut faults) = (Vec::new(), Vec::new());
    for (shown, folder) in folders {
        match folder.and_then(|folder| Input::of(&shown, &folder, limit)) {
            Ok(input) => inputs.push(input),
            Err(error) => faults.push((shown.clone(), inside(&shown, error))),
        }
    }
    let first = match standing {
        Standing::Rows(_, output) => Some(output),
        _ => inputs.first(),
    };
    let wants = Wants { shown: PathBuf::new(), columns: BTreeMap::new() };
    let wants = first.map_or(wants, Wants::of);
    for input in &inputs {
        let output = match standing {
            Standing::Rows(_, output) | Standing::Old(_, Some(output)) => Some(output),
            _ => None,
        };
        let same = |output: &Input| output.files().any(|one| input.files().any(|part| part.identity == one.identity));
        match output {
            Some(output) if same(output) => {
                faults.push((input.shown.clone(), error!(Mismatch, "the output is among the inputs")));
            }
            _ => faults.extend(wants.misfit(input).map(|error| (input.shown.clone(), error))),
        }
    }
    if faults.is_empty() { Ok((inputs, wants)) } else { Err(refusal(faults, all)) }
}

impl Input {
    pub(super) fn of(shown: &Path, folder: &Arc<dyn Folder>, max_header_size: u64) -> Result<Self> {
        let mut columns = BTreeMap::new();
        for files in Files::all(folder)? {
            let look = Look::of(&files, max_header_size)?;
            columns.insert(files.name, look);
        }
        let rows = columns.values().map(|look: &Look| look.rows).min().unwrap_or(0);
        let mut left_out = 0;
        for look in columns.values_mut() {
            left_out += look.first(rows, max_header_size)?;
        }
        Ok(Input { shown: shown.into(), columns, rows, left_out })
    }

    fn files(&self) -> impl Iterator<Item = &Part> {
        self.columns.values().flat_map(|look| [Some(&look.values), look.offsets.as_ref()]).flatten()
    }
}

impl Look {
    fn of(files: &Files, max_header_size: u64) -> Result<Self> {
        // Offsets first: the values of what they count are counted before.
        let offsets = files.offsets.as_ref().map(|name| part(files, name, max_header_size)).transpose()?;
        let (values, _) = part(files, &files.values, max_header_size)?;
        let mut rows = values.rows;
        if let Some((offsets, storage)) = &offsets {
            let named = |part: &Part| {
                let shown = part.shown.clone();
                move |error: Error| error.at(shown.display())
            };
            check_values(&values.spec).map_err(named(&values))?;
            rows =
                check_offsets(&offsets.spec).and_then(|()| items(offsets, &**storage, rows)).map_err(named(offsets))?;
        }
        Ok(Look { values, offsets: offsets.map(|(part, _)| part), rows })
    }

    fn kind(&self) -> Kind {
        if self.offsets.is_some() { Kind::Ragged } else { Kind::Plain }
    }

    /// Its first `rows` rows alone. Gives the bytes after them.
    fn first(&mut self, rows: u64, max_header_size: u64) -> Result<u64> {
        self.rows = rows;
        let Some(offsets) = &mut self.offsets else {
            self.values.first(rows);
            return Ok(self.values.tail);
        };
        let mut end = [0; 8];
        if offsets.rows > rows {
            offsets.open(max_header_size)?.read_exact_at(offsets.offset + rows * 8, &mut end)?;
        }
        offsets.first(rows + 1);
        self.values.first(offset(end)?);
        Ok(self.values.tail + offsets.tail)
    }

    /// How many bytes are written for it.
    pub(super) fn bytes(&self) -> u64 {
        self.values.len + self.offsets.as_ref().map_or(0, |_| self.rows * 8)
    }

    /// Writes where its items end, with as many values before them as `base`.
    pub(super) fn write_offsets(
        &self,
        base: u64,
        max_header_size: u64,
        batch: &mut Batch<'_>,
        step: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        const BLOCK: usize = 1 << 20;
        let Some(offsets) = self.offsets.as_ref().filter(|_| self.rows > 0) else { return Ok(()) };
        let storage = offsets.open(max_header_size)?;
        let mut block = vec![0; usize::try_from(self.rows).map_or(BLOCK, |rows| rows.saturating_mul(8).min(BLOCK))];
        let (mut at, mut end) = (1, 0);
        while at <= self.rows {
            let some = usize::try_from(self.rows + 1 - at).map_or(block.len(), |left| (left * 8).min(block.len()));
            let bytes = &mut block[..some];
            storage.read_exact_at(offsets.offset + at * 8, bytes)?;
            for bytes in bytes.as_chunks_mut::<8>().0 {
                let next = offset(*bytes)?;
                if next < end || next > self.values.rows {
                    let error = error!(Mismatch, "another program changed it since it was looked at: call again");
                    return Err(error.at(offsets.shown.display()));
                }
                end = next;
                *bytes = (base + next).to_le_bytes();
            }
            batch.write(bytes)?;
            step(some as u64)?;
            at += some as u64 / 8;
        }
        Ok(())
    }
}

/// The rows of a file, which is in C order.
fn part(files: &Files, name: &OsStr, max_header_size: u64) -> Result<(Part, Box<dyn Storage>)> {
    let place = Place::new(files.folder.clone(), name);
    let shown = place.path();
    let look = || {
        let storage = place.folder.open(name, false)?.ok_or_else(missing)?;
        let found = find(&*storage, max_header_size)?;
        if found.health == Health::Sequence {
            return Err(sequence());
        }
        if found.spec.order == Order::F && !found.spec.row_shape.is_empty() {
            return Err(error!(Mismatch, "expected C order, found Fortran order"));
        }
        let given = Given { given: name.into(), shown: shown.clone(), path: name.into() };
        let mut part = Part::of(&given, &place, &*storage, found)?;
        part.spec.order = Order::C;
        Ok((part, storage))
    };
    look().map_err(|error: Error| error.at(shown.display()))
}

/// How many items the values cover. Offsets that go down are refused.
fn items(offsets: &Part, storage: &dyn Storage, values: u64) -> Result<u64> {
    let read = |first: u64, buf: &mut [u8]| storage.read_exact_at(offsets.offset + first * 8, buf);
    let (items, end) = good_items(offsets.rows, values, read)?;
    if items + 1 < offsets.rows {
        let mut next = [0; 8];
        read(items + 1, &mut next)?;
        let next = offset(next)?;
        if next < end {
            return Err(error!(Malformed, "item {items} goes from {end} to {next}: expected offsets that go up"));
        }
    }
    Ok(items)
}

/// An error about a file in a folder, as one about the folder.
fn inside(folder: &Path, error: Error) -> Error {
    let Some(file) = error.path().and_then(|path| Path::new(path).strip_prefix(folder).ok()) else { return error };
    if file == Path::new("") {
        return error;
    }
    let text = format!("{}: {}", file.display(), error.detail());
    match error.io_kind() {
        Some(kind) => Error::of_kind(kind, text),
        None => Error::new(error.kind(), text),
    }
}

impl Wants {
    fn of(input: &Input) -> Self {
        let column = |(name, look): (&String, &Look)| {
            let Part { spec, shape, shown, .. } = &look.values;
            (name.clone(), (look.kind(), Want::of(spec, shape, shown.clone())))
        };
        Wants { shown: input.shown.clone(), columns: input.columns.iter().map(column).collect() }
    }

    fn misfit(&self, input: &Input) -> Option<Error> {
        let wanted = names(self.columns.iter().map(|(name, (kind, _))| (name, *kind)));
        let found = names(input.columns.iter().map(|(name, look)| (name, look.kind())));
        if wanted != found {
            return Some(error!(Mismatch, "expected {wanted} as in {}, found {found}", self.shown.display()));
        }
        let faults = self.columns.iter().filter_map(|(name, (kind, want))| {
            let error = input.columns.get(name)?.values.misfit(want)?;
            let file = match kind {
                Kind::Plain => file_name(name),
                Kind::Ragged => Path::new(name).join(VALUES).into_os_string(),
            };
            Some(format!("{}: {}", file.display(), error.detail()))
        });
        let faults: Vec<_> = faults.collect();
        (!faults.is_empty()).then(|| error!(Mismatch, "{}", faults.join("; ")))
    }

    /// An appender on the folder, with all columns made.
    pub(super) fn open(&self, folder: Arc<dyn Folder>, mut options: Options) -> Result<Joining> {
        if let Some((_, want)) = self.columns.get("") {
            options = options.dtype(want.spec.dtype.clone()).row_shape(want.spec.row_shape.clone());
            return Ok(Joining::Items(options.open_ragged_in(folder)?));
        }
        let mut run = options.open_dataset_in(folder)?;
        for (name, (kind, want)) in &self.columns {
            match kind {
                Kind::Plain => run.define(name, &want.spec.dtype, &want.spec.row_shape)?,
                Kind::Ragged => run.define_ragged(name, &want.spec.dtype, &want.spec.row_shape)?,
            }
        }
        let part = |(name, (kind, _)): (&'_ String, &(Kind, Want))| match kind {
            Kind::Plain => (name.clone(), ColumnPart::Rows(&[])),
            Kind::Ragged => (name.clone(), ColumnPart::Items { lengths: &[], values: &[] }),
        };
        let parts: Vec<(String, ColumnPart<'_>)> = self.columns.iter().map(part).collect();
        let parts: Vec<_> = parts.iter().map(|(name, part)| (name.as_str(), *part)).collect();
        run.append(0, &parts)?;
        Ok(Joining::Columns(run))
    }

    /// The folders in the output's.
    pub(super) fn folders(&self) -> impl Iterator<Item = &String> {
        let inside = |(name, (kind, _)): &(&String, &(Kind, Want))| *kind == Kind::Ragged && !name.is_empty();
        self.columns.iter().filter(inside).map(|(name, _)| name)
    }
}

fn names<'a>(columns: impl Iterator<Item = (&'a String, Kind)>) -> String {
    let name =
        |(name, kind): (&String, Kind)| if kind == Kind::Ragged { format!("{name} (ragged)") } else { name.clone() };
    let names: Vec<_> = columns.map(name).collect();
    match &names[..] {
        [only] if only == " (ragged)" => "items of different length".into(),
        _ => format!("the columns {}", names.join(", ")),
    }
}

/// The appender of a folder.
pub(super) enum Joining {
    Items(RaggedAppender),
    Columns(DatasetAppender),
}

impl Joining {
    pub(super) fn group(&mut self) -> &mut Group {
        match self {
            Joining::Items(items) => items.group(),
            Joining::Columns(columns) => columns.group(),
        }
    }

    pub(super) fn close(self) -> Result<()> {
        match self {
            Joining::Items(items) => items.close(),
            Joining::Columns(columns) => columns.close(),
        }
    }
}
