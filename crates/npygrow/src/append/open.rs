//! An appender on a caller's own storage.

use super::{Appender, State, unknown_dtype};
#[cfg(feature = "std")]
use crate::create::{hold, wait};
use crate::error::{Result, error};
use crate::format::Order;
use crate::grow::Growing;
use crate::open::{Spec, find};
use crate::options::{Mode, Options};
use crate::storage::Storage;
#[cfg(feature = "std")]
use crate::storage::acquire;
use crate::tail::Dropped;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Options {
    /// Appends to `storage`; where it is empty, a header goes in first, which needs a dtype.
    ///
    /// ```
    /// use npygrow::{Appender, storage::Memory};
    /// let mut log = Appender::options().dtype("<f4".parse()?).on(Box::new(Memory::new()))?;
    /// log.append(&[1.0f32, 2.0])?;
    /// assert_eq!(log.into_storage()?.len()?, 128 + 8);
    /// # Ok::<(), npygrow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Locked` when another appender holds it; `NeedsRecovery` when it is broken; `NotAppendable` when its header has no
    /// room; `Mismatch` when it is not what the options ask for, or they ask for turns or a mode; `NotNpy`, `Malformed`,
    /// `Unsupported`, `OverLimit` when it is no file for us; `Io` for the rest.
    pub fn on(self, mut storage: Box<dyn Storage>) -> Result<Appender> {
        if self.turns || self.mode != Mode::Append {
            return Err(error!(
                Mismatch,
                "a caller's own storage is continued, by one appender: expected neither turns nor a mode"
            ));
        }
        lock(&mut *storage, &self)?;
        let (growing, dropped) = if storage.len()? == 0 {
            let dtype = self.dtype.clone().ok_or_else(unknown_dtype)?;
            let row_shape = self.row_shape.clone().unwrap_or_default();
            let spec = Spec { dtype, order: self.order.unwrap_or(Order::C), row_shape };
            let (header, layout) = spec.header(0, self.header_limit())?;
            storage.write_all_at(0, &header.bytes)?;
            (Growing::made(storage, spec, header, layout, 0, self.durability)?, Dropped::default())
        } else {
            let found = find(&*storage, self.header_limit())?;
            self.check(&found.spec)?;
            Growing::resume(storage, found, self.durability, self.on_tail)?
        };
        Ok(Appender::new(self, State::Growing(Box::new(growing)), dropped))
    }
}

#[cfg(feature = "std")]
fn lock(storage: &mut dyn Storage, options: &Options) -> Result<()> {
    acquire(storage, &wait(options), hold(options))
}

/// Without a clock there is no waiting.
#[cfg(not(feature = "std"))]
fn lock(storage: &mut dyn Storage, _options: &Options) -> Result<()> {
    if storage.try_lock()? { Ok(()) } else { Err(error!(Locked, "locked by another appender: close it first")) }
}

impl Appender {
    pub(super) fn new(options: Options, state: State, dropped: Dropped) -> Self {
        let mut this = Appender {
            state,
            buffer: Vec::new(),
            buffered: 0,
            asked: options.clone(),
            options,
            dropped,
            accepted: None,
            keeps_turn: false,
            #[cfg(feature = "std")]
            place: None,
        };
        if let State::Growing(growing) = &this.state {
            let spec = growing.spec().clone();
            this.remember(&spec);
        }
        this
    }
}
