//! The pure part: literals, dtypes, headers, layouts.

use crate::{check_error, file};
use npygrow::format::{Growable, Header, Layout, MAGIC, MAX_HEADER_SIZE, MAX_NDIM, MAX_ROWS, join_shape};
use npygrow::{Dtype, ErrorKind, Result};

/// Any text as the dict of a header: never a panic, and space around it changes nothing.
pub fn literal(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parse = |text: &str| {
        let len = (text.len() as u32).to_le_bytes();
        Header::parse(&[&MAGIC[..], &[3, 0], &len, text.as_bytes()].concat())
    };
    match (parse(&text), parse(&format!(" \t{text}\r\n\x0c"))) {
        (Ok(header), Ok(spaced)) => {
            assert_eq!(Header { len: header.len + 5, ..header }, spaced);
        }
        (Err(error), Err(spaced)) => {
            check_error(&error);
            assert_eq!(error.kind(), spaced.kind(), "{error}, {spaced}");
        }
        (header, spaced) => panic!("{header:?}, with space {spaced:?}"),
    }
}

/// Any text as a dtype: what is taken prints as NumPy would, is read back as the same, and covers its bytes.
pub fn dtype(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Dtype>() {
        Err(error) => check_error(&error),
        Ok(dtype) => {
            check_dtype(&dtype);
            assert_eq!(dtype.descr().parse::<Dtype>().as_ref().ok(), Some(&dtype));
            assert_eq!(dtype.to_string().parse::<Dtype>().as_ref().ok(), Some(&dtype));
            let header = Growable::new(&dtype, npygrow::Order::C, &[], 0, u64::MAX).expect("a header within 4 GiB");
            assert_eq!(Header::parse(&header.bytes).map(|header| header.dtype).ok(), Some(dtype));
        }
    }
}

fn check_dtype(dtype: &Dtype) {
    assert!(dtype.itemsize() <= i32::MAX as u64);
    let mut end = 0;
    for field in dtype.fields().unwrap_or_default() {
        assert_eq!(field.offset(), end);
        check_dtype(field.dtype());
        end += field.dtype().itemsize();
    }
    assert!(dtype.fields().is_none() || end == dtype.itemsize());
    if let Some((base, shape)) = dtype.subarray() {
        check_dtype(base);
        assert_eq!(shape.iter().map(|&n| u128::from(n)).product::<u128>() * u128::from(base.itemsize()), end_of(dtype));
    }
}

fn end_of(dtype: &Dtype) -> u128 {
    dtype.itemsize().into()
}

/// Any bytes as a header: what is taken can be laid out, counted, and written again.
pub fn header(bytes: &[u8]) {
    header_by(bytes, Header::parse);
}

/// As [`header`], with another parser: one that is wrong must be caught.
pub fn header_by(bytes: &[u8], parse: fn(&[u8]) -> Result<Header>) {
    let (control, bytes) = file(bytes);
    let len = match Header::len_from(&bytes, MAX_HEADER_SIZE) {
        Ok(len) => len,
        Err(error) => return check_error(&error),
    };
    assert!(len <= MAX_HEADER_SIZE + 12);
    let Some(bytes) = bytes.get(..len as usize) else { return };
    match parse(bytes) {
        Err(error) => check_error(&error),
        Ok(header) => check_header(&header, bytes, control, parse),
    }
}

fn check_header(header: &Header, bytes: &[u8], control: u8, parse: fn(&[u8]) -> Result<Header>) {
    assert_eq!(header.len, bytes.len() as u64);
    assert!(header.shape.len() <= MAX_NDIM);
    check_dtype(&header.dtype);
    let Some((rows, row_shape)) = header.split() else { return assert!(header.shape.is_empty()) };
    assert_eq!(join_shape(rows, &row_shape, header.order), header.shape);
    check_layout(header, &row_shape, rows);
    let new = Growable::new(&header.dtype, header.order, &row_shape, rows, u64::MAX).ok();
    assert!(new.is_some() || rows > MAX_ROWS, "a header that was read cannot be written");
    let within = Growable::within(header.version, header.len, &header.dtype, header.order, &row_shape, rows);
    for growable in new.into_iter().chain(within) {
        let same = |bytes: &[u8], rows: u64| {
            let again = parse(bytes).expect("a header of ours");
            assert_eq!((&again.dtype, again.order), (&header.dtype, header.order));
            assert_eq!((again.shape, again.notes.len()), (join_shape(rows, &row_shape, header.order), 0));
        };
        same(&growable.bytes, rows);
        let to = (rows ^ 10_u64.pow(u32::from(control & 15))).min(growable.count.max_rows());
        let patch = growable.count.patch(rows, to);
        let (at, block) = (patch.offset() as usize, patch.bytes());
        assert!(matches!(block.len(), 8 | 16) && at % block.len() == 0);
        let mut committed = growable.bytes.clone();
        committed[at..at + block.len()].copy_from_slice(block);
        same(&committed, to);
        let (version, len) = (committed[6], committed.len() as u64);
        let ours = Growable::within(version, len, &header.dtype, header.order, &row_shape, to);
        assert!(ours.is_some_and(|ours| ours.bytes == committed), "a commit leaves a header that is not known as ours");
    }
}

fn check_layout(header: &Header, row_shape: &[u64], rows: u64) {
    const MAX: u128 = i64::MAX as u128;
    // A product of 0 is 0, but the others must stay in bounds.
    let axes = || row_shape.iter().map(|&n| u128::from(n));
    let full = axes().filter(|&n| n > 0).try_fold(end_of(&header.dtype), |size, n| size.checked_mul(n));
    match Layout::new(header.len, &header.dtype, row_shape) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::OverLimit);
            assert!(full.is_none_or(|full| full > MAX));
        }
        Ok(layout) => {
            let row_size = if axes().any(|n| n == 0) { 0 } else { full.expect("in bounds") };
            assert_eq!(u128::from(layout.row_size), row_size);
            for rows in [0, 1, rows / 2, rows, rows.saturating_mul(3)] {
                let end = u128::from(header.len) + row_size * u128::from(rows);
                assert_eq!(layout.end(rows).ok().map(u128::from), (end <= MAX).then_some(end));
                if row_size > 0 && end <= MAX {
                    assert_eq!(layout.rows_in((end - u128::from(header.len)) as u64), (rows, 0));
                }
            }
        }
    }
}
