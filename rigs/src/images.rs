//! Folders on real file systems: images of them, mounted through loop devices, and tmpfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system that can be made and mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4, in its default journal mode.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// Memory.
    Tmpfs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Ext4, Kind::Tmpfs, Kind::Xfs, Kind::Btrfs];

    /// As `mount -t` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
            Kind::Tmpfs => "tmpfs",
        }
    }

    /// The smallest that its tool makes, in bytes, with some room.
    #[must_use]
    pub fn least_size(self) -> u64 {
        match self {
            Kind::Ext4 | Kind::Tmpfs => 16 << 20,
            Kind::Btrfs => 128 << 20,
            Kind::Xfs => 320 << 20,
        }
    }

    /// Makes this file system on `device`, a file or a block device.
    ///
    /// # Errors
    ///
    /// Says which command is missing, or what it said.
    pub fn format(self, device: &Path) -> Result<(), String> {
        let (program, options): (_, &[&str]) = match self {
            Kind::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
            Kind::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            Kind::Btrfs => ("mkfs.btrfs", &["-q", "-f"]),
            Kind::Tmpfs => return Ok(()),
        };
        run(Command::new(program).args(options).arg(device))
    }
}

/// A mounted file system. Dropping it unmounts it and removes what it lay in.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    /// Holds the folder `at` and the image.
    around: PathBuf,
    is_mounted: bool,
}

impl Mounted {
    /// Makes a file system of `size` bytes in a sparse file beneath `folder` and mounts it; tmpfs in memory.
    ///
    /// # Errors
    ///
    /// Says why there is none here, for a line `SKIPPED`.
    pub fn new(kind: Kind, size: u64, folder: &Path) -> Result<Mounted, String> {
        let mut mounted = Mounted::prepare(kind.name(), folder)?;
        if kind == Kind::Tmpfs {
            mounted.mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])?;
            return Ok(mounted);
        }
        let image = mounted.around.join("image");
        fs::File::create_new(&image).and_then(|file| file.set_len(size)).map_err(said(&image))?;
        kind.format(&image)?;
        mounted.mount(&["-t", kind.name(), "-o", "loop", &image.to_string_lossy()])?;
        Ok(mounted)
    }

    /// Mounts the block device `device` with `options`, as `mount -o` takes them, beneath `folder`.
    ///
    /// # Errors
    ///
    /// What `mount` said.
    pub fn device(kind: Kind, device: &Path, options: &str, folder: &Path) -> Result<Mounted, String> {
        let mut mounted = Mounted::prepare(kind.name(), folder)?;
        mounted.mount(&["-t", kind.name(), "-o", options, &device.to_string_lossy()])?;
        Ok(mounted)
    }

    /// Its root folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts it, and says if that failed.
    ///
    /// # Errors
    ///
    /// What `umount` said.
    pub fn unmount(mut self) -> Result<(), String> {
        self.end()
    }

    fn prepare(name: &str, folder: &Path) -> Result<Mounted, String> {
        if !is_root() {
            return Err(format!("mounting {name} needs root"));
        }
        let around = (0..)
            .map(|number| folder.join(format!("{name}-{}-{number}", std::process::id())))
            .find(|around| !around.exists())
            .unwrap_or_default();
        let at = around.join("at");
        fs::create_dir_all(&at).map_err(said(&at))?;
        Ok(Mounted { at, around, is_mounted: false })
    }

    fn mount(&mut self, arguments: &[&str]) -> Result<(), String> {
        run(Command::new("mount").args(arguments).arg(&self.at))?;
        self.is_mounted = true;
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        if self.is_mounted {
            // The loop device goes with it: `mount` made it, and said so to the kernel.
            run(Command::new("umount").arg(&self.at))?;
            self.is_mounted = false;
        }
        // Not of all that is in it: were it still mounted, that would be the wrong place to remove from.
        let _ = fs::remove_dir(&self.at);
        let _ = fs::remove_file(self.around.join("image"));
        let _ = fs::remove_dir(&self.around);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.end().is_err() {
            // A process that was killed a moment ago may still hold it: it goes when the last does.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
            self.is_mounted = false;
            let _ = self.end();
        }
    }
}

/// Whether this process may mount.
#[must_use]
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// The file system that `folder` is on, as `stat` calls it.
#[must_use]
pub fn name_at(folder: &Path) -> String {
    let name = output(Command::new("stat").args(["--file-system", "--format=%T"]).arg(folder));
    name.map_or_else(|_| "unknown".into(), |name| name.trim().replace("ext2/ext3", "ext4"))
}

fn run(command: &mut Command) -> Result<(), String> {
    output(command).map(drop)
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_string();
    Err(format!("{program}: {} ({said})", output.status))
}

fn said(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn mounts_and_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("npygrow-images-{}", std::process::id()));
        for kind in Kind::ALL {
            match Mounted::new(kind, kind.least_size(), &folder) {
                Ok(mounted) => {
                    assert_eq!(name_at(mounted.path()), kind.name());
                    fs::write(mounted.path().join("file"), "bytes").unwrap();
                    assert!(Mounted::new(kind, kind.least_size(), &folder).is_ok(), "a second one beside it");
                    mounted.unmount().unwrap();
                }
                Err(why) => println!("SKIPPED: {why}"),
            }
        }
        let left = fs::read_dir(&folder).map(Iterator::count).unwrap_or(0);
        let _ = fs::remove_dir(&folder);
        assert_eq!(left, 0);
    }
}
