//! Disks and file systems that are attached for a while, and what takes them away again.

use crate::disk::{Disk, Image};
use fuser::{BackgroundSession, Config, MountOption};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// What the rig could not do, in words.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// `what` could not be done.
pub(crate) fn cannot<E: Display>(what: impl Display) -> impl FnOnce(E) -> String {
    move |why| format!("cannot {what}: {why}")
}

/// How the file a disk is served as is called: this, and the number of the process.
const NAME: &str = "npygrow-disk-";

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
    detach_orphans();
    Ok(())
}

/// A loop device and its folder outlive a process that is killed: the next run takes them away.
fn detach_orphans() {
    for device in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        let file = file.trim_end().trim_end_matches(" (deleted)");
        let process = file.rsplit_once(NAME).map(|(_, process)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = run("losetup", &[OsStr::new("-d"), Path::new("/dev").join(device.file_name()).as_os_str()]);
            let folder = Path::new(file).parent().unwrap_or(Path::new("/"));
            let _ = fs::remove_file(file);
            // Only what is empty.
            let _ = fs::remove_dir(folder.join("mounted")).and_then(|()| fs::remove_dir(folder));
        }
    }
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

/// As small as it is filled, btrfs is to have no room that is for data or for names alone.
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
    kind: &'static Kind,
    pub(crate) disk: Disk,
    /// What the file system is when it was made.
    pub(crate) fresh: Image,
    path: String,
    at: PathBuf,
    served: Option<BackgroundSession>,
    _folder: TempDir,
}

impl Device {
    pub(crate) fn new(kind: &'static Kind) -> Result<Self> {
        let folder = TempDir::with_prefix("npygrow-filesystems-").map_err(cannot("make a folder"))?;
        let file = folder.path().join(format!("{NAME}{}", std::process::id()));
        let at = folder.path().join("mounted");
        fs::write(&file, []).and_then(|()| fs::create_dir(&at)).map_err(cannot("make a mount point"))?;
        let disk = Disk::new(kind.mib << 20);
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("npygrow".into())];
        let served = fuser::spawn_mount(disk.clone(), &file, &config).map_err(cannot("serve a disk"))?;
        let mut device = Device {
            kind,
            disk,
            fresh: Image::default(),
            path: String::new(),
            at,
            served: Some(served),
            _folder: folder,
        };
        let file = file.to_string_lossy();
        device.path = run("losetup", &["--find", "--show", "--direct-io=on", &file])?;
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
        if !self.path.is_empty()
            && let Err(why) = run("losetup", &["-d", &self.path])
        {
            eprintln!("{} is left: {why}", self.path);
        }
        if let Some(served) = self.served.take()
            && let Err(why) = served.umount_and_join()
        {
            eprintln!("the disk of {} is left: {why}", self.kind.name);
        }
    }
}

/// A mounted file system.
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    pub(crate) fn new(device: &str, at: &Path, fstype: &str, options: &str) -> nix::Result<Self> {
        mount(Some(device), at, Some(fstype), MsFlags::MS_NOATIME, Some(options))?;
        Ok(Mounted { at: at.into() })
    }

    pub(crate) fn at(&self) -> &Path {
        &self.at
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = until_free(|| umount2(&self.at, MntFlags::empty()));
        if let Err(why) = unmounted.or_else(|_| umount2(&self.at, MntFlags::MNT_DETACH)) {
            eprintln!("{} is still mounted: {why}", self.at.display());
        }
    }
}
