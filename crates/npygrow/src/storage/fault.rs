//! Copies out of a mapping whose file another program may cut at any moment: an answer in the place of SIGBUS.
//!
//! The pages of a mapping that lie past the end of its file fault. A handler of SIGBUS puts a page of zeros in the place of
//! one that a guarded copy touches, so that the copy comes to its end; it is then told that what it copied is not the file's,
//! and the mapping is made again as it was. Faults of others go to the handler that was there before.
//!
//! Up to the end of its last page a cut file reads as zeros without a fault: whoever copies looks at the length, too.
#![allow(unsafe_code)]

use super::zeros::Zeros;
use libc::{c_int, c_void, siginfo_t};
use std::cell::Cell;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst};

/// A part of a shared mapping, and where it lies in its file.
#[derive(Clone, Copy)]
pub(crate) struct Mapped<'a> {
    pub(crate) file: &'a File,
    pub(crate) bytes: &'a [u8],
    /// The offset of the first byte.
    pub(crate) offset: u64,
    pub(crate) is_writable: bool,
}

/// What this thread copies from, for the handler.
struct Guard {
    start: Cell<usize>,
    end: Cell<usize>,
    /// Pages of zeros that this thread's copy was given.
    zeros: Cell<u64>,
    /// The last fault of others that this thread passed on.
    passed: Cell<usize>,
}

thread_local! {
    static GUARD: Guard = const {
        Guard { start: Cell::new(0), end: Cell::new(0), zeros: Cell::new(0), passed: Cell::new(0) }
    };
}

static ZEROS: Zeros = Zeros::new();

/// Asked for before the handler is there.
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);

/// What SIGBUS led to before, leaked: a handler may need it at any time.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

impl Mapped<'_> {
    /// Does `copy`, which reads from the mapping, after [`watch_for_faults`], and says whether all that it read was the file's. Where it was not, the
    /// file was shorter than the mapping for a moment at least.
    pub(crate) fn guarded(&self, copy: impl FnOnce()) -> bool {
        // Pages of another thread's fault may still stand in the same mapping.
        let Some(before) = ZEROS.none_stand() else { return false };
        let start = self.bytes.as_ptr().addr();
        let zeros = GUARD.with(|guard| {
            guard.start.set(start);
            guard.end.set(start + self.bytes.len());
            copy();
            guard.end.set(0);
            guard.zeros.take()
        });
        // Of any thread: it may have met zeros that another was given.
        let whole = !ZEROS.were_met(before);
        if zeros > 0 && self.map_again() {
            ZEROS.go(zeros);
        }
        whole
    }

    /// Puts the file's pages where zeros stand; `false` where they still do.
    fn map_again(&self) -> bool {
        let skip = self.bytes.as_ptr().addr() % page_size();
        // The mapping begins with a page, in memory and in the file.
        let Some(offset) = self.offset.checked_sub(skip as u64).and_then(|offset| libc::off64_t::try_from(offset).ok())
        else {
            return false;
        };
        let start = self.bytes.as_ptr().wrapping_sub(skip).cast_mut().cast::<c_void>();
        let write = if self.is_writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: the range is one that a mapping of this file takes, from one of its pages on; the borrow of its bytes keeps
        // it mapped. mmap(2) with MAP_FIXED puts the same pages of the same file there, with the same rights, in one step for
        // whoever reads them meanwhile. Should it fail, zeros stay where they are, and no copy is told that they are rows.
        unsafe {
            let (len, rights) = (skip + self.bytes.len(), libc::PROT_READ | write);
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            libc::mmap64(start, len, rights, flags, self.file.as_raw_fd(), offset) != libc::MAP_FAILED
        }
    }
}

/// Makes [`on_fault`] the handler of SIGBUS, where it is not: before the first copy, and after another library put its own
/// there.
pub(crate) fn watch_for_faults() {
    // Where another thread is at it, or was when the process forked, there is nothing to wait for.
    static BUSY: Mutex<()> = Mutex::new(());
    let Ok(_busy) = BUSY.try_lock() else { return };
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    let ours = on_fault as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
    // SAFETY: sigaction(2) reads one `struct sigaction` and writes another; all zeros are a valid one of both. The handler
    // has the signature that SA_SIGINFO asks for, and does what a handler may: it reads and writes atomics and a thread-local
    // without a destructor, and makes system calls. sysconf(3) reads no memory of ours.
    unsafe {
        libc::sigaction(libc::SIGBUS, ptr::null(), current.as_mut_ptr());
        let current = current.assume_init();
        if current.sa_sigaction == ours {
            return;
        }
        PAGE_SIZE.store(usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096), SeqCst);
        PREVIOUS.store(Box::into_raw(Box::new(current)), SeqCst);
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = ours;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `siginfo_t`; for a fault it holds an address, and a positive
    // code, which no signal has that was sent.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr().addr()) };
    let again = GUARD.try_with(|guard| {
        let is_ours = |address: &usize| guard.start.get() <= *address && *address < guard.end.get();
        if let Some(address) = fault.filter(is_ours) {
            guard.zeros.set(guard.zeros.get() + 1);
            if put_zeros(address) {
                return None;
            }
        }
        // The same fault once more, or sent once more: the handler before did not heal it, and may know this one as its own
        // before, so that the two would go on for ever.
        let last = guard.passed.replace(fault.unwrap_or(0));
        Some(last != 0 && fault.is_none_or(|address| address == last))
    });
    if let Some(again) = again.unwrap_or(Some(true)) {
        pass_on(signal, info, context, again);
    }
}

/// Puts a page of zeros where the page of `address` is.
fn put_zeros(address: usize) -> bool {
    ZEROS.come();
    let page = ptr::without_provenance_mut::<c_void>(address - address % page_size());
    // SAFETY: the page lies in a mapping that the guarded copy borrows, and a page that faults holds nothing. mmap(2) is one
    // system call, safe in a handler; errno, which it may set, is put back.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let (rights, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
        let done = libc::mmap(page, page_size(), rights, flags, -1, 0) != libc::MAP_FAILED;
        *errno = before;
        done
    }
}

/// Does what SIGBUS led to before; `again`, what it does to a process that never heard of it.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, again: bool) {
    let previous = if again { ptr::null_mut() } else { PREVIOUS.load(SeqCst) };
    // SAFETY: `watch_for_faults` stores a leaked, valid `struct sigaction` before the handler is called; its handler has the
    // signature that its own flags say. Without one the signal does what it does to a process that never heard of it: the default is
    // put back, and the signal sent again, to come when this handler returns.
    unsafe {
        let handler = previous.as_ref().map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            let default: libc::sigaction = MaybeUninit::zeroed().assume_init();
            libc::sigaction(signal, &raw const default, ptr::null_mut());
            libc::raise(signal);
        } else if (*previous).sa_flags & libc::SA_SIGINFO != 0 {
            type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
            std::mem::transmute::<usize, Handler>(handler)(signal, info, context);
        } else {
            std::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(signal);
        }
    }
}

fn page_size() -> usize {
    PAGE_SIZE.load(SeqCst)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use memmap2::Mmap;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    const SIZE: u64 = 64 << 10;

    /// A fault makes every copy of that moment doubtful, so that one test would disturb the other.
    static ALONE: Mutex<()> = Mutex::new(());

    fn mapped() -> (File, Mmap) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[7; SIZE as usize], 0).unwrap();
        // SAFETY: a file of this test alone, whose being cut is what is tested.
        let map = unsafe { Mmap::map(&file) }.unwrap();
        (file, map)
    }

    /// Sums from the bytes of `map`, and whether they were the file's.
    fn sum(file: &File, map: &[u8], skip: usize) -> (bool, u64) {
        let mut total = 0;
        let mapped = Mapped { file, bytes: &map[skip..], offset: skip as u64, is_writable: false };
        let whole = mapped.guarded(|| total = mapped.bytes.iter().map(|&byte| u64::from(byte)).sum());
        (whole, total)
    }

    #[test]
    fn a_cut_file_is_told_and_a_whole_one_is_read() {
        let _alone = ALONE.lock();
        watch_for_faults();
        let (file, map) = mapped();
        for skip in [0, 1, 128, 5000] {
            let whole = (true, 7 * (SIZE - skip as u64));
            assert_eq!(sum(&file, &map, skip), whole);
            file.set_len(8192).unwrap();
            assert!(!sum(&file, &map, skip).0);
            assert!(!sum(&file, &map, skip).0, "again: nothing of the zeros is left");
            // What is put there afterwards is seen: the pages are the file's.
            std::os::unix::fs::FileExt::write_all_at(&file, &[7; SIZE as usize], 0).unwrap();
            assert_eq!(sum(&file, &map, skip), whole);
        }
    }

    #[test]
    fn zeros_that_cannot_be_taken_away_are_never_rows() {
        let _alone = ALONE.lock();
        let (file, map) = mapped();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // It cannot be mapped for writing.
        let other = File::open(path).unwrap();
        file.set_len(8192).unwrap();
        let mapped = Mapped { file: &other, bytes: &map, offset: 0, is_writable: true };
        let copy = || assert!(mapped.bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>() > 0);
        assert!(!mapped.guarded(copy));
        file.set_len(SIZE).unwrap();
        assert!(!mapped.guarded(copy));
        ZEROS.go((SIZE - 8192) / page_size() as u64);
    }

    #[test]
    fn no_thread_takes_zeros_for_rows() {
        let _alone = ALONE.lock();
        watch_for_faults();
        let (file, map) = mapped();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut whole, mut cut) = (0, 0);
                        while !over.load(SeqCst) {
                            match sum(&file, &map, 128) {
                                (true, total) => {
                                    assert_eq!(total, 7 * (SIZE - 128));
                                    whole += 1;
                                }
                                _ => cut += 1,
                            }
                        }
                        (whole, cut)
                    })
                })
                .collect();
            // Longer each time: also readers on a busy machine meet both.
            for _ in 0..2000 {
                file.set_len(20_480).unwrap();
                thread::yield_now();
                // Holes would read as zeros: the bytes are there before the length.
                let rest = vec![7; SIZE as usize - 20_480];
                std::os::unix::fs::FileExt::write_all_at(&file, &rest, 20_480).unwrap();
                thread::yield_now();
            }
            over.store(true, SeqCst);
            let seen: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
            assert!(seen.iter().any(|(whole, _)| *whole > 0), "{seen:?}");
            assert!(seen.iter().any(|(_, cut)| *cut > 0), "{seen:?}");
        });
    }
}
