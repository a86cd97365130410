//! A disk in memory, served as a file, that notes every write and every flush in their order.

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// What a power cut writes or does not write.
pub(crate) const SECTOR: usize = 512;
/// What is held as one, and shared between images.
const BLOCK: usize = 4096;

/// What a disk holds: its blocks that are not all zero. A copy shares them.
#[derive(Clone, Default)]
pub(crate) struct Image(HashMap<u64, Arc<[u8; BLOCK]>>);

impl Image {
    fn read(&self, mut offset: u64, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            let (block, at) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            let (now, rest) = buf.split_at_mut(buf.len().min(BLOCK - at));
            match self.0.get(&block) {
                Some(bytes) => now.copy_from_slice(&bytes[at..at + now.len()]),
                None => now.fill(0),
            }
            offset += now.len() as u64;
            buf = rest;
        }
    }

    pub(crate) fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (block, at) = (offset / BLOCK as u64, (offset % BLOCK as u64) as usize);
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - at));
            if now.len() == BLOCK && now.iter().all(|&byte| byte == 0) {
                self.0.remove(&block);
            } else {
                let held = self.0.entry(block).or_insert_with(|| Arc::new([0; BLOCK]));
                Arc::make_mut(held)[at..at + now.len()].copy_from_slice(now);
            }
            offset += now.len() as u64;
            bytes = rest;
        }
    }
}

/// What a file system did to its disk.
pub(crate) enum Event {
    Write { offset: u64, bytes: Vec<u8> },
    Flush,
}

#[derive(Default)]
struct Inner {
    image: Image,
    log: Option<Vec<Event>>,
}

/// The disk. Copies are the same one.
#[derive(Clone)]
pub(crate) struct Disk {
    size: u64,
    inner: Arc<Mutex<Inner>>,
}

impl Disk {
    pub(crate) fn new(size: u64) -> Self {
        Disk { size, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn image(&self) -> Image {
        self.inner().image.clone()
    }

    /// Puts `image` in the place of what it holds; nothing may have it mounted.
    pub(crate) fn put(&self, image: Image) {
        self.inner().image = image;
    }

    /// Notes from now on what is done; gives what is there before.
    pub(crate) fn record(&self) -> Image {
        let mut inner = self.inner();
        inner.log = Some(Vec::new());
        inner.image.clone()
    }

    /// What was done since [`record`](Disk::record); it is noted no longer.
    pub(crate) fn recorded(&self) -> Vec<Event> {
        self.inner().log.take().unwrap_or_default()
    }

    /// How many events are noted.
    pub(crate) fn now(&self) -> usize {
        self.inner().log.as_ref().map_or(0, Vec::len)
    }

    fn attr(&self) -> FileAttr {
        FileAttr {
            ino: INodeNo::ROOT,
            size: self.size,
            blocks: self.size / SECTOR as u64,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK as u32,
            flags: 0,
        }
    }
}

const FOREVER: Duration = Duration::from_secs(1 << 30);

/// The root is no folder but the file itself. One thread serves it, so that the order of the log is the order of the answers.
impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.entry(&FOREVER, &self.attr(), Generation(0));
    }

    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr());
    }

    /// Past the page cache, which would hold what was there before another image was put in its place.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; u64::from(size).min(self.size.saturating_sub(offset)) as usize];
        self.inner().image.read(offset, &mut bytes);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return reply.error(Errno::ENOSPC);
        }
        let mut inner = self.inner();
        inner.image.write(offset, bytes);
        if let Some(log) = &mut inner.log {
            log.push(Event::Write { offset, bytes: bytes.to_vec() });
        }
        drop(inner);
        reply.written(bytes.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if let Some(log) = &mut self.inner().log {
            log.push(Event::Flush);
        }
        reply.ok();
    }
}
