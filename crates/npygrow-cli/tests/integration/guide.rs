//! The guide's examples print what it says.

use super::Folder;
use std::path::Path;
use std::process::Command;

const GUIDE: &str = include_str!("../../../../docs/guides/command.md");

#[test]
fn prints_what_it_says() {
    let folder = Folder::new();
    let npy = Path::new(env!("CARGO_BIN_EXE_npy")).parent().unwrap();
    let path = format!("{}:{}", npy.display(), std::env::var("PATH").unwrap());
    let mut examples = 0;
    for block in GUIDE.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for example in format!("\n{block}").split("\n$ ").skip(1) {
            let (line, expected) = example.split_once('\n').unwrap_or((example, ""));
            let script = format!("exec 2>&1; {line}");
            let mut shell = Command::new("sh");
            let output = shell.current_dir(folder.path("")).env("PATH", &path).args(["-c", &script]).output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(printed.trim_end(), expected.trim_end(), "$ {line}");
            examples += 1;
        }
    }
    assert_eq!(examples, 39);
}
