//! `seeds FOLDER`: writes what each target begins with to `FOLDER/target/number`, for libFuzzer.

use npygrow_fuzz::{TARGETS, seeds};
use std::fs;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(std::env::args_os().nth(1).expect("seeds FOLDER"));
    for (target, _) in TARGETS {
        let folder = root.join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds::of(target).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:05}")), seed)?;
        }
    }
    Ok(())
}
