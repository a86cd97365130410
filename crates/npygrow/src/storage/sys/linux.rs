pub(crate) use crate::storage::fault::{Mapped, watch_for_faults};
pub(crate) use crate::storage::word::Word;

use super::unix;
use crate::storage::Identity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{self as linux, Advice, AtFlags, CWD, Mode, OFlags, RenameFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2, read};
use rustix::ioctl;
use rustix::mm::{self, MapFlags, ProtFlags};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Writes `bytes` so that they survive a power cut when it returns; nothing here is tried a second time.
pub(crate) fn write_durably(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<()> {
    match pwritev2(file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => super::write_then_sync(file, bytes, offset),
        Err(error) => Err(error.into()),
    }
}

/// Copies within the kernel as far as that goes, and says how far. The caller goes on with plain reads and writes, which
/// either work or give the true error: so no error matters here.
pub(crate) fn copy_range(from: &fs::File, from_offset: u64, to: &fs::File, offset: u64, len: u64) -> u64 {
    let (mut source, mut target) = (from_offset, offset);
    loop {
        let done = source - from_offset;
        let left = usize::try_from(len - done).unwrap_or(usize::MAX);
        match linux::copy_file_range(from, Some(&mut source), to, Some(&mut target), left) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => return done,
            Ok(_) => {}
        }
    }
}

/// Whether [`read_soon`] does anything.
pub(crate) const READS_AHEAD: bool = true;

/// Reads without waiting for the disk; `None` when not a byte is in memory. Waits where the file system cannot tell.
pub(crate) fn read_cached(file: &fs::File, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    match preadv2(file, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
        Ok(got) => Ok(Some(got)),
        Err(Errno::AGAIN) => Ok(None),
        Err(Errno::INTR | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
            super::retry(|| super::read_at(file, buf, offset)).map(Some)
        }
        Err(error) => Err(error.into()),
    }
}

/// Has the system read these bytes into memory while the caller goes on: these, and no read-ahead after them. It may read
/// less, or nothing: no error matters here.
pub(crate) fn read_soon(file: &fs::File, offset: u64, len: usize) {
    let _ = linux::fadvise(file, offset, NonZero::new(len as u64), Advice::WillNeed);
}

/// The process's number, read from memory: `getpid` is a system call, a tenth of a small append.
///
/// It stands in a page that the kernel wipes in a child (`MADV_WIPEONFORK`), where it is asked for again.
pub(crate) fn process_id() -> u32 {
    static PAGE: OnceLock<Option<Wiped>> = OnceLock::new();
    let Some(page) = PAGE.get_or_init(Wiped::new) else { return process::id() };
    match page.0.load(Ordering::Relaxed) {
        0 => {
            let id = process::id();
            page.0.store(id, Ordering::Relaxed);
            id
        }
        id => id,
    }
}

/// A number that is 0 again in a forked child.
struct Wiped(&'static AtomicU32);

impl Wiped {
    /// `None` where the kernel is too old for it (before 4.14).
    fn new() -> Option<Self> {
        let len = size_of::<u32>(); // The kernel rounds it up to a page.
        // SAFETY: an anonymous private mapping at an address that the kernel chooses touches no other memory.
        #[allow(unsafe_code)]
        let page =
            unsafe { mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        let page = page.ok()?;
        // SAFETY: the page is ours alone and holds nothing yet. madvise(2) has the kernel fill it with zeros in a child;
        // in this process it stays as it is.
        #[allow(unsafe_code)]
        unsafe { mm::madvise(page, len, mm::Advice::LinuxWipeOnFork) }.ok()?;
        // SAFETY: page-aligned and so aligned for a u32, zeroed by the kernel, and never unmapped. Every access is atomic.
        #[allow(unsafe_code)]
        Some(Wiped(unsafe { AtomicU32::from_ptr(page.cast()) }))
    }
}

/// `struct file_clone_range` of ioctl_ficlonerange(2).
#[repr(C)]
struct CloneRange {
    from: i64,
    from_offset: u64,
    len: u64,
    offset: u64,
}

/// Shares blocks (reflink), where the file system can and the ends fall on its blocks.
pub(crate) fn share_range(from: &fs::File, from_offset: u64, to: &fs::File, offset: u64, len: u64) -> bool {
    const FICLONERANGE: ioctl::Opcode = ioctl::opcode::write::<CloneRange>(0x94, 13);
    if len == 0 {
        return true; // To the kernel 0 means "up to the end".
    }
    let range = CloneRange { from: i64::from(from.as_fd().as_raw_fd()), from_offset, len, offset };
    // SAFETY: ioctl_ficlonerange(2) has FICLONERANGE read one `struct file_clone_range`, whose fields, in order and size,
    // are those of `CloneRange`; it writes no memory. Both descriptors are open for the length of the borrows.
    #[allow(unsafe_code)]
    unsafe { ioctl::ioctl(to, ioctl::Setter::<FICLONERANGE, CloneRange>::new(range)) }.is_ok()
}

/// A file without a name in `folder`, and the path by which it can be given one.
pub(crate) fn create_unnamed(folder: &Path, private: bool) -> io::Result<(fs::File, PathBuf)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = fs::File::from(linux::open(folder, flags, Mode::from_raw_mode(unix::mode(private)))?);
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    fs::symlink_metadata(&path)?; // Without /proc it would never get a name.
    Ok((file, path))
}

/// Gives a file made by [`create_unnamed`] its first name.
pub(crate) fn link_unnamed(unnamed: &Path, to: &Path) -> io::Result<()> {
    Ok(linux::linkat(CWD, unnamed, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

/// Renames unless something has the new name.
pub(crate) fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    match linux::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::NOSYS | Errno::INVAL) => super::link_then_unlink(from, to),
        done => Ok(done?),
    }
}

/// Swaps two names at once.
pub(crate) fn swap(one: &Path, other: &Path) -> io::Result<()> {
    Ok(linux::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

/// Whether a store into a mapping of the 64 KiB (the largest page there is) around `offset` can never need new space. If it
/// could, a full disk would be a SIGBUS instead of an error.
///
/// ext2, ext3, ext4 and tmpfs write a block that is there in place. btrfs, XFS (reflinks), ZFS and overlays may put the new
/// contents elsewhere; network and FUSE file systems promise nothing. No hole also means: not stored inside the inode, and
/// no end of the file within the page.
pub(crate) fn overwrites_in_place(file: &fs::File, offset: u64) -> bool {
    const EXT: u32 = 0xEF53;
    const TMPFS: u32 = 0x0102_1994;
    const PAGE: u64 = 64 << 10;
    let start = offset - offset % PAGE;
    linux::fstatfs(file).is_ok_and(|system| matches!(system.f_type as u32, EXT | TMPFS))
        && linux::seek(file, SeekFrom::Hole(start)).is_ok_and(|hole| hole - start >= PAGE)
}

/// The process that took the `flock` of a file, as far as /proc tells: not for other users' processes in some containers,
/// nor where the device there is not the one of `stat` (btrfs).
pub(crate) fn lock_holder(of: Identity) -> Option<u32> {
    let (major, minor) = (linux::major(of.device), linux::minor(of.device));
    let file = format!("{major:02x}:{minor:02x}:{}", of.file);
    let mut locks = String::with_capacity(64 << 10); // To read it at once: between two reads its lines may move.
    fs::File::open("/proc/locks").ok()?.read_to_string(&mut locks).ok()?;
    locks.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:131 0 EOF; one that waits has "->" before FLOCK.
        let mut words = line.split_ascii_whitespace().skip(1);
        let flock = words.next()? == "FLOCK";
        let pid = words.nth(2)?.parse().ok()?;
        (flock && pid != 0 && words.next()? == file).then_some(pid)
    })
}

/// Tells when a file was written, cut, renamed or deleted.
pub(crate) struct Events(OwnedFd);

impl Events {
    /// `None` where there is no /proc, or a limit is reached (128 watchers of a user, by default).
    pub(crate) fn of(file: &fs::File) -> Option<Self> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
        // By the descriptor: the name may be another file's by now. A rename over a file, and its deletion while it is open,
        // are changes of its attributes.
        let changes = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF;
        inotify::add_watch(&events, format!("/proc/self/fd/{}", file.as_raw_fd()), changes).ok()?;
        Some(Events(events))
    }

    /// Waits for the next event, at most for `timeout`; a signal, too, ends the wait. Whether there was one.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let timeout = Timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos().into() };
        let there = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0);
        // What they say is of no account: whoever waits looks for himself.
        let mut events = [0; 4096];
        while there && read(&self.0, &mut events).is_ok_and(|len| len == events.len()) {}
        there
    }
}
