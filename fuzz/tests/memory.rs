//! How much memory a file can make the library ask for, whatever it says of itself: every allocation is counted.
//!
//! Alone in its file, because the count is of the whole process.

use npygrow::{
    Appender, MAX_HEADER_SIZE, OnTail, Reader, RecoverOptions, Room, Sequence, View, ensure_appendable, inspect,
    recover,
};
use npygrow_testkit::golden;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's allocator, and how many bytes it has given out.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system's own, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` has at once.
fn most<T>(work: impl FnOnce() -> T) -> usize {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    drop(work());
    MOST.load(Relaxed) - before
}

/// What a header of 10,000 bytes may take to be read, and what a call that moves rows may hold besides: two blocks.
const HEADER: usize = 2 << 20;
const BLOCKS: usize = 2 * (4 << 20);

/// Files that claim what they have not: lengths, counts, axes, items and fields without end.
fn claims() -> Vec<(String, Vec<u8>)> {
    let file = |text: String| {
        let text = format!("{text:<117}\n");
        [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), &[1; 5000]].concat()
    };
    let shape = |shape: &str| file(format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"));
    let descr = |descr: &str| file(format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (3,), }}"));
    let claims = [
        ("a header of 4 GiB", b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF".to_vec()),
        (
            "a header of 4 GiB, in a file of 1 MiB",
            [&b"\x93NUMPY\x03\x00\xFF\xFF\xFF\xFF"[..], &[b' '; 1 << 20]].concat(),
        ),
        ("10^15 rows", shape("(1000000000000000,)")),
        ("rows of 10^15 bytes", shape("(9, 1000000000000000)")),
        ("2^62 rows", shape("(4611686018427387904,)")),
        ("rows of no bytes", shape("(4611686018427387904, 0)")),
        ("items of 2^31 bytes", descr("'|V2147483647'")),
        ("a subarray of 2^31", descr("[('a', '|u1', (2147483647,))]")),
        ("1,000 fields", descr(&format!("[{}]", (0..800).map(|i| format!("('{i}','u1'),")).collect::<String>()))),
        ("4,000 values", shape(&format!("({})", "1,".repeat(4_000)))),
        ("8,000 brackets", shape(&"[".repeat(8_000))),
        ("190 brackets in one another", shape(&format!("{}{}", "[".repeat(190), "]".repeat(190)))),
        ("a text of 9,000", descr(&format!("'{}'", "x".repeat(9_000)))),
    ];
    claims.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// Every way to look at a file, then every way to change it; how much the worst of them took.
fn worst(path: &Path, bytes: &[u8]) -> (usize, usize) {
    let write = || fs::write(path, bytes).expect("a temporary file");
    write();
    let mut looking = most(|| inspect(path, MAX_HEADER_SIZE).is_ok());
    looking = looking.max(most(|| inspect(path, u64::MAX).is_ok()));
    looking = looking.max(most(|| Reader::open(path).is_ok()));
    looking = looking.max(most(|| View::open(path, MAX_HEADER_SIZE).is_ok()));
    looking = looking.max(most(|| Sequence::open(path, MAX_HEADER_SIZE).and_then(|all| all.len()).is_ok()));
    let mut changing = 0;
    for on_tail in [OnTail::Auto, OnTail::Drop, OnTail::Keep] {
        changing = changing.max(most(|| Appender::options().on_tail(on_tail).open(path).map(Appender::close).is_ok()));
        write();
    }
    // A row that is completed on the disk is a hole there, but no larger than a file may be.
    for zerofill_incomplete in [false, true] {
        let options = RecoverOptions { zerofill_incomplete, ..RecoverOptions::default() };
        changing = changing.max(most(|| recover(path, options).is_ok()));
        write();
    }
    changing = changing.max(most(|| ensure_appendable(path, Room::Auto, MAX_HEADER_SIZE).is_ok()));
    (looking, changing)
}

#[test]
fn no_file_makes_the_library_ask_for_more_than_its_limits() {
    // Were nothing counted, all would pass.
    assert!(most(|| vec![0_u8; 64 << 20]) >= 64 << 20);
    let folder = std::env::temp_dir().join(format!("npygrow-memory-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join("a.npy");
    let hostile = golden::hostile().into_iter().map(|file| (file.name, fs::read(file.path).expect("a hostile file")));
    let (mut looking, mut changing, mut files) = (0, 0, 0);
    for (name, bytes) in hostile.chain(claims()) {
        let (look, change) = worst(&path, &bytes);
        assert!(look <= HEADER, "{name}: {look} bytes to look at it");
        assert!(change <= HEADER + BLOCKS, "{name}: {change} bytes to open or mend it");
        (looking, changing, files) = (looking.max(look), changing.max(change), files + 1);
    }
    fs::remove_dir_all(&folder).expect("a temporary folder");
    println!("{files} files: at most {looking} bytes to look at one, {changing} to open or mend it");
}
