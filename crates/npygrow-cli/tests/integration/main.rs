//! The one integration binary of the command: the real `npy`, in a folder of its own, and every word that it prints.

// The operating system's own words are part of what is expected.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod append;
mod concat;
mod ensure_appendable;
mod folders;
mod guide;
mod import;
mod info;
mod live;
mod print;
mod recover;
mod shell;
mod truncate;
mod usage;

use npygrow::Appender;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file as the library makes it: `rows` rows `[0.5, 0.5, 0.5]` of `<f4`, then `tail`.
    fn grown(&self, name: &str, rows: usize, tail: &[u8]) {
        Appender::open(self.path(name)).unwrap().append(&vec![[0.5_f32; 3]; rows]).unwrap();
        let whole = fs::read(self.path(name)).unwrap();
        self.write(name, &[&whole, tail].concat());
    }

    /// A file by hand: a header of `len` bytes in version 1, then `data`.
    fn header(&self, name: &str, len: usize, dict: &str, data: &[u8]) {
        let size = u16::try_from(len - 10).unwrap().to_le_bytes();
        let padded = format!("{dict:<0$}\n", len - 11);
        assert_eq!(padded.len(), len - 10, "the dict does not fit");
        self.write(name, &[b"\x93NUMPY\x01\0", &size[..], padded.as_bytes(), data].concat());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Cuts a file short, as a full disk or a download would.
    fn cut(&self, name: &str, len: u64) {
        fs::File::options().write(true).open(self.path(name)).unwrap().set_len(len).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_npy"));
        command.current_dir(self.0.path()).args(args);
        for colours in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(colours);
        }
        command
    }

    /// As [`check`](Folder::check), with `input` on standard input.
    #[track_caller]
    fn check_fed(&self, input: &[u8], args: &[&str], status: i32, out: &str, err: &str) {
        let mut command = self.command(args);
        let mut npy = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Where `npy` refuses before it reads, nobody takes it.
        let _ = npy.stdin.take().unwrap().write_all(input);
        let output = npy.wait_with_output().unwrap();
        assert_eq!(said(&output), (out.into(), err.into(), Some(status)), "npy {}", args.join(" "));
    }

    /// Runs `npy` and holds all that it says, and its exit status, to what is expected.
    #[track_caller]
    fn check(&self, args: &[&str], status: i32, out: &str, err: &str) {
        let output = self.command(args).output().unwrap();
        assert_eq!(said(&output), (out.into(), err.into(), Some(status)), "npy {}", args.join(" "));
    }
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}
