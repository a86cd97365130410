//! Folders of items, and bookmarks. Both are mapped, so that they need files; a folder in memory takes the appender.

use crate::file;
use npygrow::{
    Access, Appender, Bookmark, ErrorKind, MAX_HEADER_SIZE, Ragged, RecoverOptions, Sequence, View, recover_folder_in,
};
use npygrow_testkit::shared::SharedFolder;
use std::cell::OnceCell;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The files of a folder of items.
pub(crate) const FILES: [&str; 2] = ["values.npy", "offsets.npy"];

/// The most bytes that are copied out at once, whatever the offsets say.
const MOST: usize = 1 << 16;

/// A folder of this thread's own, in memory where there is such a place: what is in it is overwritten each time, for which a
/// disk takes a thousand times as long.
struct Own(PathBuf);

impl Own {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let memory = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir() && env::var_os("TMPDIR").is_none());
        let name = format!("npygrow-fuzz-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = memory.unwrap_or_else(env::temp_dir).join(name);
        fs::create_dir_all(&path).expect("a temporary folder");
        Own(path)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder() -> PathBuf {
    thread_local!(static FOLDER: Own = Own::new());
    FOLDER.with(|folder| folder.0.clone())
}

/// The bytes of a folder's files as one input: the length of the first, then both, then what to do with them.
pub(crate) fn input_of(values: &[u8], offsets: &[u8], control: u8) -> Vec<u8> {
    [&(values.len() as u16).to_le_bytes(), values, offsets, &[control]].concat()
}

/// Any bytes as values and offsets: items that can be read are within the values; the others are named; an append is there,
/// and the items before it are as they were.
pub fn ragged(input: &[u8]) {
    let (control, bytes) = match input.split_last() {
        Some((&control, bytes)) if bytes.len() >= 2 => (control, bytes),
        _ => return,
    };
    let (len, rest) = bytes.split_at(2);
    let len = usize::from(u16::from_le_bytes([len[0], len[1]])).min(rest.len());
    let files = [&rest[..len], &rest[len..]].map(|bytes| file(&[bytes, &[control]].concat()).1);
    let items = read(&files);
    let memory = Arc::new(SharedFolder::default());
    for (name, bytes) in FILES.into_iter().zip(&files) {
        memory.put(name, bytes);
    }
    if control & 1 != 0 {
        let _ = recover_folder_in(memory.clone(), RecoverOptions::default());
    }
    let Ok(mut appender) = Appender::options().open_ragged_in(memory.clone()) else { return };
    let before = appender.committed();
    assert!(control & 1 != 0 || items.is_none_or(|items| before <= items.len() as u64));
    let Some(size) = appender.row_size() else { return };
    if size == 0 || size > 64 || appender.append_bytes(2, &vec![7; 2 * size as usize]).is_err() {
        return;
    }
    appender.close().expect("an item that was appended");
    let files = FILES.map(|name| memory.get(name).expect("it was written"));
    let now = read(&files).expect("what was appended to");
    assert_eq!(now.len() as u64, before + 1);
    assert_eq!(now.last(), Some(&Ok(vec![7; 2 * size as usize])));
}

/// The bytes of each item, or that it is refused; `None` where the folder is, or where there are too many.
fn read(files: &[Vec<u8>; 2]) -> Option<Vec<Result<Vec<u8>, ()>>> {
    let path = folder();
    for (name, bytes) in FILES.into_iter().zip(files) {
        fs::write(path.join(name), bytes).expect("a temporary file");
    }
    let ragged = Ragged::open(&path, MAX_HEADER_SIZE).ok()?;
    if ragged.len() > MOST as u64 {
        return None;
    }
    let (mut items, mut good, mut all) = (Vec::new(), Vec::new(), Vec::<u8>::new());
    for item in 0..ragged.len() {
        match (ragged.range(item), ragged.bytes(item)) {
            (Ok(range), Ok(bytes)) => {
                assert_eq!(bytes.len() as u64, (range.end - range.start) * ragged.values().row_size());
                let from = (range.start * ragged.values().row_size()) as usize;
                assert_eq!(bytes, &ragged.values().bytes()[from..from + bytes.len()]);
                if all.len() + bytes.len() <= MOST {
                    good.push(item);
                    all.extend(bytes);
                }
                items.push(Ok(bytes[..bytes.len().min(MOST)].to_vec()));
            }
            (Err(error), Err(_)) => {
                assert!(matches!(error.kind(), ErrorKind::Malformed), "{error}");
                items.push(Err(()));
            }
            (range, bytes) => panic!("{range:?}, {} bytes", bytes.map_or(0, <[u8]>::len)),
        }
    }
    assert!(ragged.range(ragged.len()).is_err());
    let mut gathered = vec![1; all.len()];
    ragged.gather_into(&good, &mut gathered).expect("items that have a range");
    assert_eq!(gathered, all);
    Some(items)
}

/// Any numbers as a bookmark: another view of the same file, or refused. A bookmark comes from another process.
pub fn bookmark(input: &[u8]) {
    thread_local!(static MADE: OnceCell<(Bookmark, Bookmark, u64)> = const { OnceCell::new() });
    let (view, sequence, size) = MADE.with(|made| made.get_or_init(make).clone());
    let mut numbers = input.chunks(8).map(|chunk| {
        let mut number = [0; 8];
        number[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(number)
    });
    let mut change = |number: &mut u64| *number ^= numbers.next().unwrap_or(0);
    let flags = input.last().copied().unwrap_or(0);
    for (mut bookmark, is_view) in [(view, true), (sequence, false)] {
        change(&mut bookmark.part.0);
        change(&mut bookmark.rows);
        change(&mut bookmark.max_header_size);
        bookmark.part.1.iter_mut().for_each(&mut change);
        bookmark.what = bookmark.what.filter(|_| flags & 1 == 0);
        if flags & 2 != 0 {
            bookmark.part.1 = None;
        }
        bookmark.access = if flags & 4 != 0 { Access::Copy } else { Access::Read };
        if is_view {
            let Ok(view) = bookmark.open() else { continue };
            assert_eq!(view.len(), bookmark.rows);
            assert_eq!(view.bytes().len() as u64, view.len() * view.row_size());
        } else {
            let Ok(sequence) = Sequence::at(&bookmark) else { continue };
            let known = sequence.len().expect("it was walked");
            assert_eq!(known, bookmark.rows);
            let seen: u64 = sequence.iter().flatten().map(|view| view.bytes().len() as u64).sum();
            assert!(seen < size);
        }
    }
}

/// A view of a file's first array, a sequence of both, and the file's size.
fn make() -> (Bookmark, Bookmark, u64) {
    let path = folder().join("bookmark.npy");
    npygrow::save(&path, &[[1.0_f32, 2.0], [3.0, 4.0]]).expect("a temporary file");
    let one = View::open(&path, MAX_HEADER_SIZE).and_then(|view| view.bookmark()).expect("a bookmark");
    let bytes = fs::read(&path).expect("the file");
    fs::write(&path, bytes.repeat(2)).expect("the file");
    let all = Sequence::open(&path, MAX_HEADER_SIZE).and_then(|all| all.bookmark()).expect("a bookmark");
    (one, all, 2 * bytes.len() as u64)
}
