//! The command `npy`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(u8::try_from(npygrow_cli::run(std::env::args_os())).unwrap_or(u8::MAX))
}
