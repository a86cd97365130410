//! Disks that are really full: what does not fit did not happen, and goes on once there is room.

use crate::mounts::{Device, Mounted, Result, cannot, interrupted, run};
use crate::rows::{Handle, Kind as Rows, State, bytes, look, row};
use crate::run::Random;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use npygrow::{
    Appender, ConcatOptions, Durability, ErrorKind, MAX_HEADER_SIZE, Mode, OnExists, Room, concat_with,
    ensure_appendable,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is there before, and what the call adds: more than the room that is left.
const BEFORE: u64 = 2000;
const MORE: u64 = 60_000;
/// The room that is left, so that a call fails on its way: none, or this.
const ROOM: [usize; 2] = [0, 200 << 10];

/// A call that does not fit.
#[derive(Clone, Copy, Debug)]
enum Call {
    Append,
    Pieces,
    Buffered,
    Turns,
    Ragged,
    Dataset,
    Create,
    Replace,
    MakeRoom,
    Join,
    JoinTo,
}

const CALLS: [Call; 11] = [
    Call::Append,
    Call::Pieces,
    Call::Buffered,
    Call::Turns,
    Call::Ragged,
    Call::Dataset,
    Call::Create,
    Call::Replace,
    Call::MakeRoom,
    Call::Join,
    Call::JoinTo,
];

impl Call {
    fn rows(self) -> Rows {
        match self {
            Call::Ragged => Rows::Ragged,
            Call::Dataset => Rows::Dataset,
            _ => Rows::File,
        }
    }

    /// How many rows there are before it, and after it.
    fn counts(self) -> (u64, u64) {
        match self {
            Call::Create | Call::Join => (0, MORE),
            Call::Replace => (BEFORE, MORE),
            Call::MakeRoom => (MORE, MORE),
            Call::Ragged | Call::Dataset => (BEFORE / 10, BEFORE / 10 + MORE / 10),
            _ => (BEFORE, BEFORE + MORE),
        }
    }
}

/// A file, or folder, and the handle that stays open from the call that fails to the one that works.
struct Case {
    call: Call,
    durability: Durability,
    path: PathBuf,
    input: PathBuf,
    handle: Option<Handle>,
}

impl Case {
    /// Makes what is there before.
    fn new(call: Call, durability: Durability, root: &Path) -> npygrow::Result<Self> {
        let (path, input) = (root.join("rows"), root.join("input.npy"));
        let mut this = Case { call, durability, path, input, handle: None };
        let (before, after) = call.counts();
        let options = Appender::options().durability(durability);
        match call {
            Call::Create => return Ok(this),
            Call::MakeRoom => {
                let file = crate::calls::without_room(1, MORE);
                fs::write(&this.path, file).map_err(|why| npygrow::Error::io("cannot begin", &why))?;
                return Ok(this);
            }
            Call::Join | Call::JoinTo => {
                let mut input = Handle::open(Rows::File, 1, &this.input, options.clone())?;
                input.append(before..after)?;
                input.close()?;
            }
            _ => {}
        }
        if before > 0 {
            let mut handle = Handle::open(call.rows(), 1, &this.path, options.clone())?;
            handle.append(0..before)?;
            handle.close()?;
        }
        this.handle = match call {
            Call::Join | Call::JoinTo => None,
            Call::Buffered => Some(Handle::open(call.rows(), 1, &this.path, options.buffering(1 << 20))?),
            Call::Turns => Some(Handle::open(call.rows(), 1, &this.path, options.turns(true))?),
            Call::Replace => Some(Handle::open(call.rows(), 1, &this.path, options.mode(Mode::Write))?),
            _ => Some(Handle::open(call.rows(), 1, &this.path, options)?),
        };
        Ok(this)
    }

    /// Does it; a failed call can be repeated on the same handle.
    fn act(&mut self) -> npygrow::Result<()> {
        let (before, after) = self.call.counts();
        let options = ConcatOptions::default().durability(self.durability);
        let progress = &mut |_, _| Ok(());
        match (self.call, &mut self.handle) {
            (Call::MakeRoom, _) => ensure_appendable(&self.path, Room::Compact, MAX_HEADER_SIZE).map(drop),
            (Call::Join, _) => concat_with(&[&self.input], &self.path, &options, progress).map(drop),
            (Call::JoinTo, _) => {
                concat_with(&[&self.input], &self.path, &options.on_exists(OnExists::Append), progress).map(drop)
            }
            (Call::Pieces, Some(Handle::File(rows, file))) => {
                let mut batch = rows.begin(after - before)?;
                for piece in bytes(*file, before..after).chunks(50_000) {
                    batch.write(piece)?;
                }
                batch.commit().map(drop)
            }
            // What was taken before stays in the buffer.
            (Call::Buffered, Some(handle)) => {
                if handle.len() == before {
                    handle.append(before..after)?;
                }
                handle.commit()
            }
            (Call::Replace, Some(handle)) => handle.append(0..after),
            (_, Some(handle)) => handle.append(before..after),
            (_, None) => {
                let options = Appender::options().durability(self.durability);
                let mut rows = options.open(&self.path)?;
                rows.append(&(0..after).map(|at| row(1, at)).collect::<Vec<_>>())?;
                rows.close()
            }
        }
    }
}

/// A disk to fill, and what it says when it is full.
struct Full<'a> {
    name: &'a str,
    root: &'a Path,
    errno: Errno,
}

impl Full<'_> {
    fn one(&self, call: Call, durability: Durability, room: usize) -> Result<u64> {
        let root = self.root.join("work");
        fs::create_dir(&root).map_err(cannot("make a folder"))?;
        let mut case = Case::new(call, durability, &root).map_err(|error| format!("{error:?}"))?;
        let before = snapshot(&root);
        let ballast = self.fill(room)?;
        let mut failed = 0;
        for _ in 0..2 {
            let told = match case.act() {
                // Blocks that are shared need no room.
                Ok(()) if matches!(call, Call::Join | Call::JoinTo) && ["XFS", "btrfs"].contains(&self.name) => {
                    return Ok(failed);
                }
                Ok(()) => return Err("it fitted".into()),
                Err(error) => {
                    let known = error.kind() == ErrorKind::Io && error.raw_os_error() == Some(self.errno as i32);
                    if !known || error.path().is_none() {
                        return Err(format!("expected {:?}, found {error:?}", self.errno));
                    }
                    error.to_string()
                }
            };
            let after = snapshot(&root);
            if !self.is_as_before(&before, &after) {
                let sizes = |all: &BTreeMap<PathBuf, Vec<u8>>| all.values().map(Vec::len).collect::<Vec<_>>();
                return Err(format!(
                    "the files are not as they were: {:?} bytes, now {:?}; {told}",
                    sizes(&before),
                    sizes(&after)
                ));
            }
            failed += 1;
        }
        ballast.give_back()?;
        let mut done = case.act();
        for _ in 0..20 {
            // A program that another thread starts holds the ballast open for a moment.
            if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Io) {
                thread::sleep(Duration::from_millis(50));
                done = case.act();
            }
        }
        done.map_err(|error| format!("with room: {error:?}"))?;
        if let Some(handle) = case.handle.take() {
            handle.close().map_err(|error| format!("closing: {error:?}"))?;
        }
        let found = look(call.rows(), &case.path)?;
        let (_, after) = call.counts();
        if (found.state, found.right) != (State::Rows(after), after) {
            return Err(format!("expected {after} rows, found {:?}, {} right", found.state, found.right));
        }
        fs::remove_dir_all(&root).map_err(cannot("remove the folder"))?;
        Ok(failed)
    }

    /// A full btrfs cuts nothing, so that bytes may stay behind the rows: until there is room.
    fn is_as_before(&self, before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
        let same = |(before, after): (&Vec<u8>, &Vec<u8>)| match self.name {
            "btrfs" => after.starts_with(before),
            _ => after == before,
        };
        before.keys().eq(after.keys()) && before.values().zip(after.values()).all(same)
    }

    /// Takes all of the disk but `room` bytes.
    fn fill(&self, room: usize) -> Result<Ballast> {
        if self.errno == Errno::EFBIG {
            return Ballast::limit(BEFORE * 12 + room as u64);
        }
        let (path, spare) = (self.root.join("ballast"), self.root.join("spare"));
        fs::write(&spare, vec![7; room]).map_err(cannot("fill the disk"))?;
        let mut file = File::create(&path).map_err(cannot("fill the disk"))?;
        let (mut len, mut size) = (0, 64 << 20);
        while size >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), len, size) {
                Ok(()) => len += size,
                Err(_) => size /= 2,
            }
        }
        file.seek(SeekFrom::End(0)).map_err(cannot("fill the disk"))?;
        // Room for what is written late comes back late.
        for _ in 0..2 {
            while file.write_all(&[7; 512]).is_ok() {}
            let _ = nix::unistd::syncfs(&file);
        }
        fs::remove_file(&spare).map_err(cannot("leave room"))?;
        let _ = nix::unistd::syncfs(&file);
        Ok(Ballast::File(path))
    }
}

/// What takes the room.
enum Ballast {
    File(PathBuf),
    Limit(u64, u64),
}

impl Ballast {
    fn limit(bytes: u64) -> Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).map_err(cannot("limit files"))?;
        setrlimit(Resource::RLIMIT_FSIZE, bytes, hard).map_err(cannot("limit files"))?;
        Ok(Ballast::Limit(soft, hard))
    }

    fn give_back(self) -> Result<()> {
        match &self {
            Ballast::File(path) => {
                fs::remove_file(path).map_err(cannot("leave room"))?;
                let folder = path.parent().and_then(|folder| File::open(folder).ok());
                folder.map_or(Ok(()), |folder| nix::unistd::syncfs(&folder)).map_err(cannot("leave room"))
            }
            Ballast::Limit(..) => Ok(()),
        }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        match self {
            Ballast::File(path) => drop(fs::remove_file(path)),
            Ballast::Limit(soft, hard) => drop(setrlimit(Resource::RLIMIT_FSIZE, *soft, *hard)),
        }
    }
}

/// Every file with its bytes.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match fs::read(entry.path()) {
            Ok(bytes) => drop(all.insert(entry.path(), bytes)),
            Err(_) => all.extend(snapshot(&entry.path())),
        }
    }
    all
}

/// Does every call with every durability, in an order by chance, until it is time. Gives how many calls failed as they
/// should.
fn every(
    name: &str,
    until: Instant,
    mut one: impl FnMut(Call, Durability, usize) -> Result<u64>,
) -> Result<(String, u64)> {
    let durabilities = [Durability::Process, Durability::Ordered, Durability::Power];
    let ways = durabilities.iter().flat_map(|&durability| ROOM.map(|room| (durability, room)));
    let mut cases: Vec<_> = ways.flat_map(|(durability, room)| CALLS.map(|call| (call, durability, room))).collect();
    let mut random = Random(name.len() as u64);
    for at in (1..cases.len()).rev() {
        cases.swap(at, random.below(at as u64 + 1) as usize);
    }
    let mut failed = 0;
    for (call, durability, room) in cases {
        if interrupted() {
            return Err("interrupted".into());
        }
        let done = one(call, durability, room);
        failed += done.map_err(|why| format!("{name}, {call:?}, {durability:?}, {room} bytes left: {why}"))?;
        if Instant::now() > until {
            break;
        }
    }
    Ok((name.into(), failed))
}

/// Each time a new file system of this kind.
pub(crate) fn on(device: &Device, until: Instant) -> Result<(String, u64)> {
    let kind = device.kind;
    every(kind.name, until, |call, durability, room| {
        let mounted = device.mount_fresh()?;
        Full { name: kind.name, root: mounted.at(), errno: Errno::ENOSPC }.one(call, durability, room)
    })
}

/// A quota of btrfs, which holds for root too.
pub(crate) fn on_quota(device: &Device, until: Instant) -> Result<(String, u64)> {
    every("btrfs quota", until, |call, durability, room| {
        let mounted = device.mount_fresh()?;
        let at = mounted.at().to_string_lossy().into_owned();
        run("btrfs", &["quota", "enable", &at])?;
        run("btrfs", &["qgroup", "limit", "8M", &at])?;
        Full { name: "btrfs", root: mounted.at(), errno: Errno::EDQUOT }.one(call, durability, room)
    })
}

/// A small tmpfs.
pub(crate) fn on_tmpfs(until: Instant) -> Result<(String, u64)> {
    let folder = TempDir::with_prefix("npygrow-filesystems-").map_err(cannot("make a folder"))?;
    every("tmpfs", until, |call, durability, room| {
        let mounted = Mounted::new("npygrow", folder.path(), "tmpfs", "size=6m").map_err(cannot("mount tmpfs"))?;
        Full { name: "tmpfs", root: mounted.at(), errno: Errno::ENOSPC }.one(call, durability, room)
    })
}

/// A limit on the size of files, for the whole process: nothing else may write meanwhile.
pub(crate) fn on_limit(until: Instant) -> Result<(String, u64)> {
    let folder = TempDir::with_prefix("npygrow-filesystems-").map_err(cannot("make a folder"))?;
    every("`RLIMIT_FSIZE`", until, |call, durability, room| {
        Full { name: "limit", root: folder.path(), errno: Errno::EFBIG }.one(call, durability, room)
    })
}
