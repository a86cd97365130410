//! Disks and file systems that are attached for a while, and what takes them away again.

use crate::disk::{Disk, Image};
use fuser::{Config, MountOption};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;

/// What the rig could not do, in words.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// `what` could not be done.
pub(crate) fn cannot<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |why| format!("cannot {what}: {why}")
}

/// Waits until it is told to detach a loop device, which outlives the process that attached it. Told nothing by a process that
/// was killed, it takes the folder away too.
const DETACH: &str = r#"trap '' INT TERM HUP
read -r _ && exec losetup -d "$0"
umount -l "$1/mounted" 2>/dev/null; losetup -d "$0"; umount -l "$1/disk"
rm -f "$1/disk"; rmdir "$1/mounted" "$1""#;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether somebody asked to end: by Ctrl-C, for one.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Before any thread is there: a signal to end is noted, so that all is taken away as when the rig is done, and mounts are
/// seen by this process alone and end with it, however it ends.
pub(crate) fn prepare() -> Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    let mut blocked = signals;
    // A file-size limit is to be an error.
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().map_err(cannot("block signals"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(cannot("have mounts of its own"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(cannot("have mounts of its own"))?;
    thread::spawn(move || {
        while signals.wait().is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Runs a command to its end; gives what it printed.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Result<String> {
    let output = Command::new(program).args(args).output().map_err(cannot(format!("run {program}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    Err(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// Tries until what holds it lets go: the kernel lets go of a file a moment after it was closed.
fn until_free(mut release: impl FnMut() -> nix::Result<()>) -> nix::Result<()> {
    for wait in 0..10 {
        match release() {
            Err(Errno::EBUSY) => thread::sleep(Duration::from_millis(1 << wait)),
            done => return done,
        }
    }
    release()
}

/// A kind of file system: how it is made, how large, and how it is mounted.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    fstype: &'static str,
    mib: u64,
    make: &'static [&'static str],
    options: &'static str,
}

// What a file system does by itself a while later is not to be part of a log.
const EXT4: &[&str] =
    &["-q", "-F", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4"];

pub(crate) const KINDS: [Kind; 5] = [
    Kind { name: "ext4 data=ordered", fstype: "ext4", mib: 24, make: EXT4, options: "data=ordered" },
    Kind { name: "ext4 data=writeback", fstype: "ext4", mib: 24, make: EXT4, options: "data=writeback" },
    Kind { name: "ext4 data=journal", fstype: "ext4", mib: 24, make: EXT4, options: "data=journal" },
    Kind { name: "XFS", fstype: "xfs", mib: 300, make: &["-q", "-f", "-K"], options: "" },
    Kind {
        name: "btrfs",
        fstype: "btrfs",
        mib: 120,
        make: &["-q", "-f", "-K", "-d", "single", "-m", "single"],
        options: "",
    },
];

/// What is filled: how ext4 keeps its journal has no part in that, and a btrfs as small as this is to have no room that is for data or for names alone.
pub(crate) const FULL: [&Kind; 3] = [
    &KINDS[0],
    &KINDS[3],
    &Kind { name: "btrfs", fstype: "btrfs", mib: 120, make: &["-q", "-f", "-K", "-M"], options: "" },
];

impl Kind {
    /// Why it cannot be made here, if it cannot.
    pub(crate) fn missing(&self) -> Option<String> {
        let make = format!("mkfs.{}", self.fstype);
        if !is_there(&make) {
            return Some(format!("{}: there is no {make}", self.name));
        }
        // A module is listed once it is loaded.
        let _ = run("modprobe", &[self.fstype]);
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known = known.lines().any(|line| line.trim_start_matches("nodev").trim() == self.fstype);
        (!is_known).then(|| format!("{}: the kernel does not know it", self.name))
    }
}

/// Whether there is such a program.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}

/// A disk as a block device with a file system on it.
pub(crate) struct Device {
    pub(crate) kind: &'static Kind,
    pub(crate) disk: Disk,
    /// What the file system is when it was made.
    pub(crate) fresh: Image,
    path: String,
    at: PathBuf,
    /// Detaches the loop device.
    detach: Option<Child>,
    served: Option<Served>,
    folder: TempDir,
}

/// A thread that serves a disk, with open files of its own: a process that is killed lets go of them with this thread, and the
/// kernel gives up what waits for the disk. Otherwise who waits would hold the disk open, and wait for ever.
struct Served {
    stop: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Served {
    fn new(disk: Disk, file: PathBuf) -> Result<Self> {
        let ((stop, stopped), (ready, served)) = (channel(), channel());
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_FILES).map_err(cannot("have open files of its own"))?;
            let mut config = Config::default();
            config.mount_options = vec![MountOption::FSName("npygrow".into())];
            let session = fuser::spawn_mount(disk, &file, &config).map_err(cannot("serve a disk"))?;
            let _ = ready.send(());
            let _ = stopped.recv();
            session.umount_and_join().map_err(cannot("stop serving a disk"))
        });
        match served.recv() {
            Ok(()) => Ok(Served { stop, thread }),
            Err(_) => Err(thread.join().map_or(None, Result::err).unwrap_or_else(|| "a disk is not served".into())),
        }
    }

    fn end(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|_| Err("it panics".into()))
    }
}

impl Device {
    /// While nothing else has files open on a file system, which the thread that serves this one would hold too.
    pub(crate) fn new(kind: &'static Kind) -> Result<Self> {
        let folder = TempDir::with_prefix("npygrow-filesystems-").map_err(cannot("make a folder"))?;
        let file = folder.path().join("disk");
        let at = folder.path().join("mounted");
        fs::write(&file, []).and_then(|()| fs::create_dir(&at)).map_err(cannot("make a mount point"))?;
        let disk = Disk::new(kind.mib << 20);
        let served = Served::new(disk.clone(), file.clone())?;
        let mut device = Device {
            kind,
            disk,
            fresh: Image::default(),
            path: String::new(),
            at,
            detach: None,
            served: Some(served),
            folder,
        };
        let file = file.to_string_lossy();
        device.path = run("losetup", &["--find", "--show", "--direct-io=on", &file])?;
        let mut detach = Command::new("sh");
        detach.args(["-c", DETACH, &device.path]).arg(device.folder.path()).stdin(Stdio::piped());
        device.detach = Some(detach.spawn().map_err(cannot(format!("watch over {}", device.path)))?);
        let args: Vec<_> = kind.make.iter().copied().chain([&device.path[..]]).collect();
        run(&format!("mkfs.{}", kind.fstype), &args)?;
        device.fresh = device.disk.image();
        Ok(device)
    }

    /// Mounts what the disk holds: after a power cut the file system mends itself first.
    pub(crate) fn mount(&self) -> nix::Result<Mounted> {
        Mounted::new(&self.path, &self.at, self.kind.fstype, self.kind.options)
    }

    /// What is on a new file system, mounted.
    pub(crate) fn mount_fresh(&self) -> Result<Mounted> {
        self.disk.put(self.fresh.clone());
        self.mount().map_err(cannot(format!("mount {}", self.kind.name)))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(mut detach) = self.detach.take() {
            let told = detach.stdin.take().is_some_and(|mut stdin| stdin.write_all(b"\n").is_ok());
            if !told || !detach.wait().is_ok_and(|status| status.success()) {
                eprintln!("{} is left", self.path);
            }
        }
        if let Some(served) = self.served.take()
            && let Err(why) = served.end()
        {
            eprintln!("the disk of {} is left: {why}", self.kind.name);
        }
    }
}

/// A mounted file system.
pub(crate) struct Mounted {
    at: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    pub(crate) fn new(device: &str, at: &Path, fstype: &str, options: &str) -> nix::Result<Self> {
        mount(Some(device), at, Some(fstype), MsFlags::MS_NOATIME, Some(options))?;
        Ok(Mounted { at: at.into(), is_mounted: true })
    }

    /// Takes it away before the disk gets other bytes: a mount that is only hidden would go on writing to them.
    pub(crate) fn unmount(mut self) -> Result<()> {
        let done = until_free(|| umount2(&self.at, MntFlags::empty()));
        self.is_mounted = done.is_err();
        done.map_err(cannot(format!("unmount {}", self.at.display())))
    }

    pub(crate) fn at(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.is_mounted {
            return;
        }
        let unmounted = until_free(|| umount2(&self.at, MntFlags::empty()));
        if let Err(why) = unmounted.or_else(|_| umount2(&self.at, MntFlags::MNT_DETACH)) {
            eprintln!("{} is still mounted: {why}", self.at.display());
        }
    }
}
