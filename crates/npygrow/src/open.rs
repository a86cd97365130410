//! Where the format meets the storage: what a file says of itself, and whether it keeps its word.

use crate::error::{Error, Result, count, error};
use crate::format::{CountField, Dtype, Growable, Header, Layout, MAGIC, Order, join_shape, looks_like, split_shape};
use crate::storage::Storage;
use alloc::vec;
use alloc::vec::Vec;

/// Whether a file holds what its header promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// As many bytes as the header counts.
    Clean,
    /// Bytes after the last committed row: of an append that is under way or was cut short, or not ours at all.
    Tail {
        /// Whole rows that would fit into it.
        rows: u64,
        /// All its bytes.
        bytes: u64,
    },
    /// Fewer bytes than the header counts.
    Truncated {
        /// Whole rows that are left.
        rows: u64,
        /// Bytes of a torn row after them.
        torn: u64,
    },
    /// Another `.npy` begins where this one ends: several `np.save` calls into one file.
    Sequence,
}

/// What every row of a file has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) dtype: Dtype,
    pub(crate) order: Order,
    pub(crate) row_shape: Vec<u64>,
}

impl Spec {
    pub(crate) fn shape(&self, rows: u64) -> Vec<u64> {
        join_shape(rows, &self.row_shape, self.order)
    }

    /// A header with room for rows like these.
    pub(crate) fn header(&self, rows: u64, max_header_size: u64) -> Result<(Growable, Layout)> {
        let header = Growable::new(&self.dtype, self.order, &self.row_shape, rows, max_header_size)?;
        let layout = Layout::new(header.bytes.len() as u64, &self.dtype, &self.row_shape)?;
        Ok((header, layout))
    }
}

/// How a file's row count can grow in place.
pub(crate) enum Growth {
    /// The header is byte for byte one that we write.
    Ours(CountField),
    /// Another writer's header, with room for one of ours of the same length.
    Adoptable(Growable),
    /// No room, or no axis to grow along.
    NoRoom,
}

impl Growth {
    /// The most rows that the header can count without being moved.
    pub(crate) fn max_rows(&self) -> Option<u64> {
        match self {
            Growth::Ours(count) => Some(count.max_rows()),
            Growth::Adoptable(header) => Some(header.count.max_rows()),
            Growth::NoRoom => None,
        }
    }
}

/// A file as it was found: what its header says, and what is there.
pub(crate) struct Found {
    pub(crate) header: Header,
    /// The header's bytes as they are in the file.
    pub(crate) bytes: Vec<u8>,
    pub(crate) layout: Layout,
    /// Committed rows; 1 for a 0-d array.
    pub(crate) rows: u64,
    pub(crate) spec: Spec,
    pub(crate) size: u64,
    pub(crate) health: Health,
    pub(crate) growth: Growth,
}

impl Found {
    pub(crate) fn is_scalar(&self) -> bool {
        self.header.shape.is_empty()
    }
}

/// What stands in the place of magic and version while rows move: one aligned word, so that a reader sees either, whole.
pub(crate) const MOVING: [u8; 8] = *b"\x93NPYGROW";

/// Reads the header of `storage` and compares what it counts with what is there.
pub(crate) fn find(storage: &dyn Storage, max_header_size: u64) -> Result<Found> {
    let mut bytes = read_header(storage, max_header_size)?;
    for _ in 0..READS {
        let parsed = parse(&bytes);
        // Our own commits change one aligned word: a header of ours was read whole. Another writer's may be half-way.
        let settled = matches!(&parsed, Ok(Parsed { growth: Growth::Ours(_), .. }));
        let again = if settled { None } else { Some(read_header(storage, max_header_size)?) };
        if let Some(again) = again
            && again != bytes
        {
            bytes = again;
            continue;
        }
        let Parsed { header, spec, rows, growth } = parsed?;
        // After the header, because an appender writes rows before it counts them.
        let size = storage.len()?;
        let layout = Layout::new(header.len, &header.dtype, &spec.row_shape)?;
        let health = health(storage, &layout, rows, size)?;
        return Ok(Found { header, bytes, layout, rows, spec, size, health, growth });
    }
    Err(error!(Io, "the header was another at each of {READS} reads: a program is writing it; try again later"))
}

/// How often a header may change under its reader.
const READS: u32 = 100;

struct Parsed {
    header: Header,
    spec: Spec,
    rows: u64,
    growth: Growth,
}

fn parse(bytes: &[u8]) -> Result<Parsed> {
    let header = Header::parse(bytes)?;
    let (rows, row_shape) = split_shape(&header.shape, header.order).unwrap_or((1, Vec::new()));
    let spec = Spec { dtype: header.dtype.clone(), order: header.order, row_shape };
    let growth = growth(&header, bytes, rows, &spec);
    Ok(Parsed { header, spec, rows, growth })
}

/// A file that holds fewer rows than its header counts.
pub(crate) fn truncated(counted: u64, held: u64) -> Error {
    let counted = count(counted, "row");
    error!(
        NeedsRecovery,
        "the header counts {counted}, the file holds {held}: call recover(path) to go on with what is left"
    )
}

fn read_header(storage: &dyn Storage, max_header_size: u64) -> Result<Vec<u8>> {
    let mut first = [0; 512];
    let got = storage.read_up_to(0, &mut first)?;
    let first = &first[..got];
    if first.starts_with(&MOVING) {
        return Err(error!(
            NeedsRecovery,
            "a move of its rows in place is under way or was interrupted: open it with Appender, or call recover(path), to \
             finish it"
        ));
    }
    if !first.starts_with(&MAGIC) {
        return Err(error!(
            NotNpy,
            "not an .npy file: expected it to begin with \\x93NUMPY, found {}",
            looks_like(first)
        ));
    }
    let len = Header::len_from(first, max_header_size)?;
    let size = storage.len()?;
    // `len` is at most the limit and 12 bytes, so that this allocation is bounded whatever the file says.
    let wanted = usize::try_from(len.min(size)).map_err(|_| error!(OverLimit, "a header of {len} bytes"))?;
    let mut bytes = vec![0; wanted];
    let got = storage.read_up_to(0, &mut bytes)? as u64;
    if got < len {
        return Err(error!(
            Malformed,
            "the header is cut off: it takes {len} bytes, the file ends after {got}; no row is left to recover"
        ));
    }
    Ok(bytes)
}

fn health(storage: &dyn Storage, layout: &Layout, rows: u64, size: u64) -> Result<Health> {
    let end = layout.end(rows)?;
    if size < end {
        let (rows, torn) = layout.rows_in(size.saturating_sub(layout.data_start));
        return Ok(Health::Truncated { rows, torn });
    }
    if size == end {
        return Ok(Health::Clean);
    }
    let mut first = [0; MAGIC.len()];
    if storage.read_up_to(end, &mut first)? == MAGIC.len() && first == MAGIC {
        return Ok(Health::Sequence);
    }
    Ok(Health::Tail { rows: layout.rows_in(size - end).0, bytes: size - end })
}

fn growth(header: &Header, bytes: &[u8], rows: u64, spec: &Spec) -> Growth {
    if header.shape.is_empty() {
        return Growth::NoRoom;
    }
    match Growable::within(header.version, header.len, &spec.dtype, spec.order, &spec.row_shape, rows) {
        Some(ours) if ours.bytes == bytes => Growth::Ours(ours.count),
        Some(ours) => Growth::Adoptable(ours),
        None => Growth::NoRoom,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::format::MAX_HEADER_SIZE;
    use crate::storage::Memory;
    use alloc::format;
    use alloc::string::{String, ToString};
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// A file whose header another program is writing: each reading of its first byte finds the next of `headers`, in the
    /// end always the last.
    struct Written {
        headers: Vec<Vec<u8>>,
        reads: AtomicUsize,
    }

    impl Storage for Written {
        fn len(&self) -> Result<u64> {
            Ok(1000)
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
            // `read_header` reads the beginning twice: once for the length, once for all of it.
            let read = if offset == 0 { self.reads.fetch_add(1, Relaxed) / 2 } else { self.reads.load(Relaxed) / 2 };
            Memory::from(self.headers[read.min(self.headers.len() - 1)].clone()).read_at(offset, buf)
        }

        fn write_at(&mut self, _: u64, _: &[u8]) -> Result<usize> {
            unreachable!("reading")
        }

        fn commit_at(&mut self, _: u64, _: &[u8], _: bool) -> Result<()> {
            unreachable!("reading")
        }

        fn set_len(&mut self, _: u64) -> Result<()> {
            unreachable!("reading")
        }

        fn sync(&mut self) -> Result<()> {
            unreachable!("reading")
        }
    }

    /// As another writer pads it: the text moves with the count.
    fn foreign(rows: &str) -> Vec<u8> {
        let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows},), }}");
        [b"\x93NUMPY\x01\x00\x76\x00", format!("{text:<117}\n").as_bytes(), &[0; 872]].concat()
    }

    fn rows(headers: &[&str]) -> Result<u64> {
        let headers = headers.iter().map(|rows| foreign(rows)).collect();
        find(&Written { headers, reads: AtomicUsize::new(0) }, MAX_HEADER_SIZE).map(|found| found.rows)
    }

    #[test]
    fn a_foreign_header_counts_once_two_readings_agree() {
        assert_eq!(rows(&["9"]).unwrap(), 9);
        assert_eq!(rows(&["90", "10"]).unwrap(), 10, "9 on its way to 10");
        assert_eq!(rows(&["9", "1,0", "10"]).unwrap(), 10);
        assert_eq!(rows(&["(", "10"]).unwrap(), 10, "no header at all for an instant");
        assert_eq!(rows(&["("]).unwrap_err().kind(), crate::error::ErrorKind::Malformed);
        let restless: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let restless: Vec<&str> = restless.iter().map(String::as_str).collect();
        assert_eq!(
            rows(&restless).unwrap_err().to_string(),
            "the header was another at each of 100 reads: a program is writing it; try again later"
        );
    }
}
