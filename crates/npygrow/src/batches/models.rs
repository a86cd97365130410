//! Who takes batches, who drops them, and the thread that reads, in one order of events after the other.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::sync::explore;

const ROWS: u64 = 4;

fn saved() -> (tempfile::TempDir, View) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    let mut appender = crate::Appender::open(&path).unwrap();
    appender.append(&Vec::from_iter(0..ROWS)).unwrap();
    appender.close().unwrap();
    let view = View::open(&path, crate::MAX_HEADER_SIZE).unwrap();
    (folder, view)
}

fn value(block: &Block) -> u64 {
    u64::from_le_bytes(block[..].try_into().unwrap())
}

/// However many are held, and whoever drops them.
#[test]
fn every_batch_comes_in_its_place() {
    let (_folder, view) = saved();
    explore(move || {
        let (send, receive) = shuttle::sync::mpsc::channel::<Block>();
        let other = thread::spawn(move || receive.into_iter().for_each(drop));
        let mut held = Vec::new();
        for (expected, block) in view.batches(1, None, false).unwrap().enumerate() {
            let block = block.unwrap();
            assert_eq!(value(&block), expected as u64);
            if expected % 2 == 0 { held.push(block) } else { send.send(block).unwrap() }
        }
        assert!(held.iter().map(value).eq((0..ROWS).step_by(2)));
        drop(send);
        other.join().unwrap();
    });
}

#[test]
fn giving_up_ends_the_thread() {
    let (_folder, view) = saved();
    explore(move || {
        let mut batches = view.batches(1, None, false).unwrap();
        let first = batches.next().unwrap().unwrap();
        drop(batches);
        assert_eq!(value(&first), 0);
    });
}
