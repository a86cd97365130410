//! More room in a header: the rows stay, and so does all else that the file has.

use crate::support::{Disk, NAME, fails, foreign, names, no_room, numpy, on_disk, ours, values};
use npygrow::{ErrorKind, Health, MAX_HEADER_SIZE, Options, Result, Room, ensure_appendable, inspect, is_appendable};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn ensure(disk: &Disk, room: Room) -> Result<bool> {
    npygrow::ensure_appendable_in(disk.folder(), NAME.as_ref(), room, MAX_HEADER_SIZE)
}

#[test]
fn headers_without_room_get_it_and_others_stay() {
    let narrow = foreign("{'descr': '<u4', 'fortran_order': False, 'shape': (2,)}", 86, &[1, 2]);
    for room in [Room::Auto, Room::Compact, Room::Fast] {
        for (file, rewritten) in [
            (ours(&[1, 2]), false),
            (numpy(&[1, 2]), false),
            (no_room(&[1, 2]), true),
            (narrow.clone(), false),
            (ours(&[]), false),
            (no_room(&[]), true),
        ] {
            let disk = Disk::new(Some(&file));
            let before = disk.values();
            assert_eq!(ensure(&disk, room).unwrap(), rewritten);
            let expected = if rewritten { ours(&before) } else { file };
            assert_eq!((disk.bytes(), disk.shared.names()), (expected, vec![NAME.to_string()]));
            assert!(!ensure(&disk, room).unwrap());
            disk.open(Options::default()).unwrap().append(&[3_u32]).unwrap();
            assert_eq!(disk.values(), [before, vec![3]].concat());
        }
    }
}

#[test]
fn a_field_narrower_than_any_count_is_widened() {
    let text = "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (0,)}";
    let disk = Disk::new(Some(&foreign(text, 90, &[])));
    assert!(ensure(&disk, Room::Auto).unwrap());
    assert_eq!(disk.bytes().len(), 128);
}

#[test]
fn broken_files_are_refused() {
    let sequence = "Unsupported: a second array begins where the first ends (several np.save calls into one file): \
                    open_sequence(path) reads them; concat([path], output) makes them one array that can grow";
    for (file, expected) in [
        (
            no_room(&[1, 2])[..no_room(&[1, 2]).len() - 1].to_vec(),
            "NeedsRecovery: the header counts 2 rows, the file holds 1: call recover(path) to go on with what is left",
        ),
        (
            [no_room(&[1]), vec![9; 5]].concat(),
            "NeedsRecovery: 5 bytes follow the last row: call recover(path) first, to keep or to drop them",
        ),
        ([no_room(&[1]), numpy(&[1])].concat(), sequence),
        (
            foreign("{'descr': '<u4', 'fortran_order': False, 'shape': ()}", 128, &[1]),
            "NotAppendable: the array has no axes: expected at least one axis to grow along, found shape ()",
        ),
    ] {
        let disk = Disk::new(Some(&file));
        fails(ensure(&disk, Room::Auto), expected);
        assert_eq!(disk.bytes(), file);
    }
    fails(ensure(&Disk::new(None), Room::Auto), "Io: cannot open: No such file or directory (os error 2)");
    let disk = Disk::new(Some(&ours(&[1])));
    let _open = disk.open(Options::default()).unwrap();
    assert_eq!(ensure(&disk, Room::Auto).unwrap_err().kind(), ErrorKind::Locked);
}

#[test]
fn mode_times_and_symlink_stay() {
    let (folder, path) = on_disk();
    let link = folder.path().join("link.npy");
    fs::write(&path, no_room(&[1, 2])).unwrap();
    symlink(NAME, &link).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4640)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_000_123_456_789);
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let before = fs::metadata(&path).unwrap();

    assert!(!is_appendable(&link, MAX_HEADER_SIZE).unwrap());
    assert!(ensure_appendable(&link, Room::Auto, MAX_HEADER_SIZE).unwrap());
    assert!(is_appendable(&link, MAX_HEADER_SIZE).unwrap());
    let after = fs::metadata(&path).unwrap();
    assert_ne!(after.ino(), before.ino());
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!(after.modified().unwrap(), long_ago);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((values(&path), names(folder.path())), (vec![1, 2], vec!["link.npy".into(), NAME.into()]));
}

/// Blocks are shared where the file system can: on XFS and btrfs, each made for this test in a file and mounted.
#[test]
fn fast_shares_blocks() {
    for system in ["xfs", "btrfs"] {
        match Mounted::new(system) {
            Ok(mounted) => fast_on(mounted.at.path(), system),
            Err(why) => eprintln!("NOT TESTED: sharing blocks on {system}: {why}"),
        }
    }
}

fn fast_on(folder: &Path, system: &str) {
    let path = folder.join(NAME);
    let rows: Vec<u32> = (0..1_000_003).collect();
    for (room, grows) in [(Room::Fast, 4096), (Room::Compact, 0), (Room::Auto, 0)] {
        let file = no_room(&rows);
        let header = file.len() - 4 * rows.len();
        fs::write(&path, &file).unwrap();
        fs::File::open(&path).unwrap().sync_all().unwrap();
        assert!(ensure_appendable(&path, room, MAX_HEADER_SIZE).unwrap());
        let report = inspect(&path, MAX_HEADER_SIZE).unwrap();
        // Only a header that grew by a block has shared blocks behind it.
        let expected = if grows > 0 { header as u64 + grows } else { 128 };
        assert_eq!((report.header_len, report.health), (expected, Health::Clean), "{system} {room:?}");
        Options::default().open(&path).unwrap().append(&[1_000_003_u32]).unwrap();
        assert!(values(&path).into_iter().eq(0..1_000_004), "{system} {room:?}");
        // Header and room together would pass the limit: then it is a copy.
        fs::write(&path, &file).unwrap();
        assert!(ensure_appendable(&path, room, 4000).unwrap());
        assert_eq!(inspect(&path, MAX_HEADER_SIZE).unwrap().header_len, 128);
    }
}

struct Mounted {
    at: tempfile::TempDir,
    _image: tempfile::NamedTempFile,
}

impl Mounted {
    fn new(system: &str) -> Result<Self, String> {
        let image = tempfile::NamedTempFile::new().unwrap();
        let at = tempfile::tempdir().unwrap();
        image.as_file().set_len(400 << 20).unwrap();
        run(Command::new(format!("mkfs.{system}")).arg(image.path()))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(at.path()))?;
        Ok(Mounted { at, _image: image })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.at.path())).expect("the test's own mount comes off");
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
