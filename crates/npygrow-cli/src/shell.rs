//! `npy completions` and `npy man`: for shells and packagers, from the same declarations as the helps.

use crate::{DONE, Npy};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};

const SHELLS: &str = "\
Examples:
  npy completions bash > ~/.local/share/bash-completion/completions/npy
  npy completions zsh > ~/.zfunc/_npy      any folder of zsh's fpath
  npy completions fish > ~/.config/fish/completions/npy.fish";

const PAGES: &str = "\
Examples:
  npy man | man -l -
  npy man > ~/.local/share/man/man1/npy.1";

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(after_help = SHELLS)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, out: &mut dyn Write) -> io::Result<i32> {
        // In memory first: the generators panic where they cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Npy::command(), "npy", &mut script);
        out.write_all(&script)?;
        Ok(DONE)
    }
}

/// Print the man page
#[derive(clap::Args)]
#[command(after_help = PAGES)]
pub(crate) struct Man;

impl Man {
    pub(crate) fn run(self, out: &mut dyn Write) -> io::Result<i32> {
        let mut npy = Npy::command();
        npy.build();
        let page =
            clap_mangen::Man::new(npy.clone()).manual("npygrow").source(concat!("npy ", env!("CARGO_PKG_VERSION")));
        page.render_title(out)?;
        page.render_name_section(out)?;
        page.render_synopsis_section(out)?;
        examples(&npy, out)?;
        for verb in npy.get_subcommands() {
            about(verb, out)?;
        }
        Ok(DONE)
    }
}

/// A verb's own section of the page.
fn about(verb: &Command, out: &mut dyn Write) -> io::Result<()> {
    let usage = verb.clone().render_usage().to_string();
    writeln!(out, ".SH \"npy {}\"", verb.get_name())?;
    writeln!(out, "{}.", verb.get_about().map(ToString::to_string).unwrap_or_default())?;
    writeln!(out, ".PP\n\\fB{}\\fR", literal(usage.trim_start_matches("Usage: ")))?;
    let mut options = Vec::new();
    clap_mangen::Man::new(verb.clone()).render_options_section(&mut options)?;
    write!(out, "{}", String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", ""))?;
    examples(verb, out)
}

/// What stands after the help, its lines as they are.
fn examples(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let Some(text) = command.get_after_help() else { return Ok(()) };
    writeln!(out, ".PP\n.nf\n{}\n.fi", literal(&text.to_string()))
}

/// Text that roff leaves alone: none of our lines begins with a dot or a quote.
fn literal(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
