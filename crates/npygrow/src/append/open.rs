//! Opening an appender: what is at the path decides what it goes on with.

use super::{Appender, State, unknown_dtype};
#[cfg(feature = "std")]
use crate::create::{Place, Room, Standing};
use crate::error::Result;
#[cfg(feature = "std")]
use crate::error::error;
use crate::format::Order;
use crate::grow::{Dropped, Growing};
#[cfg(feature = "std")]
use crate::grow::{Durability, tears};
#[cfg(feature = "std")]
use crate::open::{Growth, Health};
use crate::open::{Spec, find};
#[cfg(feature = "std")]
use crate::options::Mode;
use crate::options::Options;
use crate::storage::Storage;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Options {
    /// Opens `path` for appending; symlinks are followed. A path where nothing is, or an empty file, becomes a file at the
    /// first append, or at once when dtype and row shape are given.
    ///
    /// # Errors
    ///
    /// `Locked` when another appender holds the file; `NeedsRecovery` when it is broken; `NotAppendable` when its header
    /// has no room; `Mismatch` when it is not what the options ask for; `NotNpy`, `Malformed`, `Unsupported`, `OverLimit`
    /// when it is no file for us; `Io` for the rest.
    #[cfg(feature = "std")]
    pub fn open(self, path: impl AsRef<std::path::Path>) -> Result<Appender> {
        let path = path.as_ref();
        let open = || Appender::at(self, Place::resolve(path)?);
        open().map_err(|error| error.at(path.display()))
    }

    /// As [`open`](Options::open), in any [`Folder`](crate::storage::Folder).
    ///
    /// # Errors
    ///
    /// As [`open`](Options::open).
    #[cfg(feature = "std")]
    pub fn open_in(
        self,
        folder: alloc::sync::Arc<dyn crate::storage::Folder>,
        name: &std::ffi::OsStr,
    ) -> Result<Appender> {
        let path = folder.path(name);
        Appender::at(self, Place::new(folder, name)).map_err(|error| error.at(path.display()))
    }

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
    /// As [`Appender::options`]' other ways to open.
    pub fn on(self, mut storage: Box<dyn Storage>) -> Result<Appender> {
        let (growing, dropped) = if storage.len()? == 0 {
            let dtype = self.dtype.clone().ok_or_else(unknown_dtype)?;
            let row_shape = self.row_shape.clone().unwrap_or_default();
            let spec = Spec { dtype, order: self.order.unwrap_or(Order::C), row_shape };
            let (header, layout) = spec.header(0, self.header_limit())?;
            storage.write_all_at(0, &header.bytes)?;
            (Growing::made(storage, spec, header, layout, 0, self.durability)?, Dropped::default())
        } else {
            let found = find(&*storage, self.header_limit())?;
            Growing::resume(storage, found, self.durability, self.on_tail)?
        };
        self.check(growing.spec())?;
        Ok(Appender::new(self, State::Growing(Box::new(growing)), dropped))
    }
}

impl Appender {
    fn new(options: Options, state: State, dropped: Dropped) -> Self {
        let mut this = Appender {
            state,
            buffer: Vec::new(),
            buffered: 0,
            options,
            dropped,
            accepted: None,
            #[cfg(feature = "std")]
            place: None,
        };
        if let State::Growing(growing) = &this.state {
            let spec = growing.spec().clone();
            this.settle(&spec);
        }
        this
    }

    #[cfg(feature = "std")]
    fn at(options: Options, place: Place) -> Result<Self> {
        if options.turns && options.mode == Mode::Write {
            return Err(error!(Mismatch, "turns go with mode \"a\" or \"x\": replacing a file is one appender's work"));
        }
        let standing = place.look(&options)?;
        let replaces = matches!(standing, Standing::Replaceable(_));
        let keeps_old = replaces && options.mode == Mode::Write;
        let mut this = Appender::new(options, State::Pending { replaces: None }, Dropped::default());
        this.place = Some(place);
        this.stand(standing)?;
        if this.options.spec().is_some() && matches!(this.state, State::Pending { .. }) && !keeps_old {
            let target = this.start(0, 0)?;
            this.complete(target, 0)?;
        }
        this.unlock()?;
        Ok(this)
    }

    /// Goes on with what was found at the place.
    #[cfg(feature = "std")]
    pub(super) fn stand(&mut self, standing: Standing) -> Result<()> {
        match standing {
            Standing::Missing => self.state = State::Pending { replaces: None },
            Standing::Replaceable(old) => self.state = State::Pending { replaces: Some(old) },
            Standing::Whole(mut storage, mut found) => {
                self.options.check(&found.spec)?;
                let durable = self.options.durability != Durability::Process;
                let tears = matches!(&found.growth, Growth::Adoptable(ours) if tears(&found.bytes, &ours.bytes));
                if let Some(place) = self.place.as_ref().filter(|_| durable && tears && found.health == Health::Clean) {
                    storage = place.give_room(storage, &found, Room::Auto, self.options.header_limit())?;
                    *found = find(&*storage, self.options.header_limit())?;
                }
                let spec = found.spec.clone();
                let (growing, dropped) =
                    Growing::resume(storage, *found, self.options.durability, self.options.on_tail)?;
                self.state = State::Growing(Box::new(growing));
                self.drop_also(dropped);
                self.settle(&spec);
            }
        }
        Ok(())
    }
}
