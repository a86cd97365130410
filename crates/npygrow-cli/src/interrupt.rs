//! Ctrl-C while rows come in: what came is published and counted, which a process that is ended cannot do.

use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::{fs, io};

/// Set by Ctrl-C, and whenever it shall end the process as ever.
static IS_PRESSED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// In a process that does other things too, Ctrl-C is not this command's.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// Says that the process runs this command and nothing else.
pub(crate) fn own_the_process() {
    IS_OURS.store(true, Relaxed);
}

/// While it lives, the first Ctrl-C is noted; a second ends the process.
pub(crate) struct CtrlC(Option<&'static AtomicBool>);

impl CtrlC {
    pub(crate) fn heed() -> CtrlC {
        let is_heard = IS_OURS.load(Relaxed) && !is_ignored();
        let is_pressed = is_heard.then(|| &**IS_PRESSED.get_or_init(|| listen().unwrap_or_default()));
        if let Some(is_pressed) = is_pressed {
            is_pressed.store(false, Relaxed);
        }
        CtrlC(is_pressed)
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.0.is_some_and(|is_pressed| is_pressed.load(Relaxed))
    }
}

impl Drop for CtrlC {
    fn drop(&mut self) {
        if let Some(is_pressed) = self.0 {
            is_pressed.store(true, Relaxed);
        }
    }
}

/// Whether the process was started so that Ctrl-C shall not reach it, as a script's shell starts `npy append … &`. Only Linux
/// tells without unsafe code.
fn is_ignored() -> bool {
    // Heard by us already, the signal is no longer ignored.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (SIGINT - 1) & 1 == 1
}

/// In this order: what notes the first must not be what ends the process by the same.
fn listen() -> io::Result<Arc<AtomicBool>> {
    let is_pressed = Arc::new(AtomicBool::new(true));
    flag::register_conditional_default(SIGINT, is_pressed.clone())?;
    flag::register(SIGINT, is_pressed.clone())?;
    Ok(is_pressed)
}
