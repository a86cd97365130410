//! The folder that is made, or goes on.

use super::FolderJoined;
use super::inputs::{Input, Joining, Wants};
use crate::concat::{ConcatOptions, OnExists, stands};
use crate::create::{missing, wait};
use crate::dataset::{Kind, columns_in, file_name, is_items};
use crate::error::{Error, ErrorKind, Result, error};
use crate::group::{OFFSETS, VALUES};
use crate::grow::Durability;
use crate::options::Options;
use crate::storage::{Folder, Hold, Storage, acquire, beside};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// Where the output is, and how to make it.
pub(super) struct Output {
    pub(super) around: Arc<dyn Folder>,
    pub(super) name: OsString,
    pub(super) options: ConcatOptions,
}

/// What is there.
pub(super) enum Standing {
    /// Nothing, or an empty folder.
    New,
    /// A folder that will be replaced.
    Old(Arc<dyn Folder>, Option<Input>),
    /// A folder that goes on.
    Rows(Arc<dyn Folder>, Input),
}

impl Output {
    pub(super) fn look(&self) -> Result<Standing> {
        let Some(folder) = self.around.folder(&self.name, false)? else {
            if self.around.identity(&self.name)?.is_some() {
                return Err(Error::of_kind(
                    io::ErrorKind::NotADirectory,
                    "expected a folder, or none yet, found a file",
                ));
            }
            return Ok(Standing::New);
        };
        if !is_items(&*folder)? && columns_in(&*folder)?.is_empty() {
            return match folder.names()?.first() {
                None => Ok(Standing::New),
                Some(name) => Err(error!(
                    Mismatch,
                    "expected a folder of columns, an empty one or none yet, found {} in it",
                    name.display()
                )),
            };
        }
        let limit = self.options.appender.header_limit();
        let shown = self.around.path(&self.name);
        match self.options.on_exists {
            OnExists::Error => Err(stands("folder")),
            OnExists::Append => Ok(Standing::Rows(folder.clone(), Input::of(&shown, &folder, limit)?)),
            OnExists::Replace => {
                check_columns_alone(&*folder)?;
                // One that cannot be read is replaced as well, but is no input then.
                let found = Input::of(&shown, &folder, limit).ok();
                Ok(Standing::Old(folder, found))
            }
        }
    }

    /// Makes a new folder under another name, and gives it its own once all of it is on the disk.
    pub(super) fn make(
        &self,
        standing: &Standing,
        wants: &Wants,
        fill: impl FnOnce(&mut Joining) -> Result<FolderJoined>,
    ) -> Result<FolderJoined> {
        let temp = beside(&self.name, "npygrow-joining");
        let (folder, mut joining) = self.begin(&temp, wants)?;
        let filled = fill(&mut joining).and_then(|done| {
            joining.group().sync()?;
            Ok(done)
        });
        let filled = filled.and_then(|done| Ok((done, self.lock_old(standing)?)));
        // Until the folder has its name, or is gone, nobody else may look for abandoned ones: once closed, it looks like one.
        let _alone = self.around.lock()?;
        let closed = joining.close();
        let made = filled.and_then(|(done, _old)| {
            closed?;
            for name in wants.folders() {
                folder.folder(OsStr::new(name), false)?.ok_or_else(missing)?.sync()?;
            }
            folder.sync()?;
            self.place(&temp, standing)?;
            Ok(done)
        });
        if made.is_err() {
            let _ = self.around.remove_folder(&temp);
        }
        let done = made?;
        let durable = self.around.sync();
        durable.map_err(|error| error.and("the folder is there and whole, but a power cut may take its name"))?;
        if matches!(standing, Standing::Old(..)) {
            // Tidying up: the next one does it, if need be.
            let _ = self.around.remove_folder(&temp);
        }
        Ok(done)
    }

    /// Begins the new folder, which nobody else is making: its files are locked before others may look.
    fn begin(&self, temp: &OsStr, wants: &Wants) -> Result<(Arc<dyn Folder>, Joining)> {
        let _alone = self.around.lock()?;
        if let Some(abandoned) = self.around.folder(temp, false)? {
            let locks = lock_all(&*abandoned, &Options::default()).map_err(|error| match error.kind() {
                ErrorKind::Locked => error!(Locked, "another concat into it is under way"),
                _ => error,
            })?;
            drop(locks);
            self.around.remove_folder(temp)?;
        }
        let begin = || {
            let folder = self.around.folder(temp, true)?.ok_or_else(missing)?;
            // All of it is synced before it has its name, and until then nobody needs any of it.
            let joining = wants.open(folder.clone(), self.options.appender.clone().durability(Durability::Process))?;
            Ok((folder, joining))
        };
        begin().inspect_err(|_| drop(self.around.remove_folder(temp)))
    }

    /// Whoever appends to the old one would go on in a folder that is removed.
    fn lock_old(&self, standing: &Standing) -> Result<Vec<Box<dyn Storage>>> {
        match standing {
            Standing::Old(old, _) => lock_all(&**old, &self.options.appender),
            _ => Ok(Vec::new()),
        }
    }

    fn place(&self, temp: &OsStr, standing: &Standing) -> Result<()> {
        let Standing::Old(old, _) = standing else {
            return if self.around.place_folder(temp, &self.name)? { Ok(()) } else { Err(stands("folder")) };
        };
        // Again: joining may take hours.
        check_columns_alone(&**old)?;
        self.around.swap_folders(temp, &self.name).map_err(|error| match error.io_kind() {
            Some(io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
                error.and("this system swaps no folders: remove the old one first")
            }
            _ => error,
        })
    }
}

/// The locks of all files in a folder and those inside.
fn lock_all(folder: &dyn Folder, options: &Options) -> Result<Vec<Box<dyn Storage>>> {
    let mut locks = Vec::new();
    for name in folder.names()? {
        if let Some(inside) = folder.folder(&name, false)? {
            locks.extend(lock_all(&*inside, options)?);
        } else if let Some(mut storage) = folder.open(&name, true)? {
            acquire(&mut *storage, &wait(options), Hold::Turn)
                .map_err(|error| error.at(folder.path(&name).display()))?;
            locks.push(storage);
        }
    }
    Ok(locks)
}

/// Refuses a folder with anything in it that would go with it unsaid.
fn check_columns_alone(folder: &dyn Folder) -> Result<()> {
    let only = |folder: &dyn Folder, around: &Path, known: &dyn Fn(&OsStr) -> bool| match folder
        .names()?
        .iter()
        .find(|name| !known(name))
    {
        None => Ok(()),
        Some(name) => Err(error!(
            Mismatch,
            "expected nothing but columns in the folder that is to be replaced, found {}",
            around.join(name).display()
        )),
    };
    let is_item_file = |name: &OsStr| name == VALUES || name == OFFSETS;
    if is_items(folder)? {
        return only(folder, Path::new(""), &is_item_file);
    }
    let columns = columns_in(folder)?;
    for (name, _) in columns.iter().filter(|(_, kind)| **kind == Kind::Ragged) {
        let inside = folder.folder(OsStr::new(name), false)?.ok_or_else(missing)?;
        only(&*inside, Path::new(name), &is_item_file)?;
    }
    only(folder, Path::new(""), &|found| {
        columns.iter().any(|(name, kind)| match kind {
            Kind::Plain => file_name(name) == found,
            Kind::Ragged => OsStr::new(name) == found,
        })
    })
}
