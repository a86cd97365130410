//! Ctrl-C while rows come in: what came is published and counted, which a process that is ended cannot do.

use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

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
        let is_pressed = IS_OURS.load(Relaxed).then(|| &**IS_PRESSED.get_or_init(|| listen().unwrap_or_default()));
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

/// In this order: what notes the first must not be what ends the process by the same.
fn listen() -> io::Result<Arc<AtomicBool>> {
    let is_pressed = Arc::new(AtomicBool::new(true));
    flag::register_conditional_default(SIGINT, is_pressed.clone())?;
    flag::register(SIGINT, is_pressed.clone())?;
    Ok(is_pressed)
}
