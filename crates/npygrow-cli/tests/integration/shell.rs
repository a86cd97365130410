//! `npy completions` and `npy man`.

use super::{Folder, said};
use std::io::Write;
use std::process::{Command, Stdio};

const COMPLETIONS_HELP: &str = "\
Print the completions for a shell

Usage: npy completions <SHELL>

Arguments:
  <SHELL>  The shell [possible values: bash, elvish, fish, powershell, zsh]

Options:
  -h, --help  Print help

Examples:
  npy completions bash > ~/.local/share/bash-completion/completions/npy
  npy completions zsh > ~/.zfunc/_npy      any folder of zsh's fpath
  npy completions fish > ~/.config/fish/completions/npy.fish
";

const MAN_HELP: &str = "\
Print the man page

Usage: npy man

Options:
  -h, --help  Print help

Examples:
  npy man | man -l -
  npy man > ~/.local/share/man/man1/npy.1
";

const VERBS: [&str; 9] =
    ["info", "head", "tail", "slice", "follow", "append", "ensure-appendable", "truncate", "recover"];

#[test]
fn helps() {
    let folder = Folder::new();
    folder.check(&["completions", "--help"], 0, COMPLETIONS_HELP, "");
    folder.check(&["man", "--help"], 0, MAN_HELP, "");
}

/// The shells that are here take the scripts, and every verb and option is in them.
#[test]
fn completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let (script, err, status) = said(&folder.command(&["completions", shell]).output().unwrap());
        assert_eq!((&*err, status), ("", Some(0)), "{shell}");
        for word in VERBS.iter().chain(&["zerofill-incomplete", "on-tail", "compact"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let Ok(mut check) = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn() else { continue };
        check.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(check.wait().unwrap().success(), "{shell}");
    }
    // Bash, if it is here, offers what can follow.
    let (script, ..) = said(&folder.command(&["completions", "bash"]).output().unwrap());
    let ask = "COMP_WORDS=(npy tr) COMP_CWORD=1; _npy npy tr npy; echo \"${COMPREPLY[@]}\"";
    if let Ok(answer) = Command::new("bash").args(["-c", &format!("{script}\n{ask}")]).output() {
        assert_eq!(said(&answer).0, "truncate\n");
    }
}

#[test]
fn a_man_page() {
    let folder = Folder::new();
    let (page, err, status) = said(&folder.command(&["man"]).output().unwrap());
    assert_eq!((&*err, status), ("", Some(0)));
    assert!(page.contains(concat!(".TH npy 1  \"npy ", env!("CARGO_PKG_VERSION"), "\" npygrow\n")), "{page}");
    let append = "\
.SH \"npy append\"
Append rows from .npy files, standard input or CSV.
.PP
\\fBnpy append [OPTIONS] <OUT> <IN>...\\fR
";
    assert!(page.contains(append), "{page}");
    let example = "\n  npy recover \\-\\-tail drop pose.npy    keep the rows that the header counts\n";
    assert!(page.contains(example), "{page}");
    for verb in VERBS {
        assert!(page.contains(&format!(".SH \"npy {verb}\"\n")), "{verb}");
    }
    // A line of an example that began as a request would be lost.
    let examples = page.split(".nf\n").skip(1).filter_map(|rest| rest.split("\n.fi\n").next());
    assert_eq!(examples.flat_map(str::lines).find(|line| line.starts_with(['.', '\''])), None);
}
