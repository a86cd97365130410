//! A view's file, followed by a reader.

use crate::error::Result;
use crate::read::Reader;
use crate::view::View;
use alloc::boxed::Box;

impl View {
    /// A reader of the same rows of the same file, whatever its name is by now: to [`wait`](Reader::wait) for more and to copy
    /// them, while the view stays as it is.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("pose.npy");
    /// let mut writer = npygrow::Appender::open(&path)?;
    /// writer.append(&[1.0f32, 2.0])?;
    /// let pose = npygrow::View::open(&path, npygrow::MAX_HEADER_SIZE)?;
    /// writer.append(&[3.0f32])?;
    /// assert_eq!(pose.reader()?.wait(None)?, 2..3);
    /// assert_eq!(pose.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `Io` when the path cannot be made absolute.
    pub fn reader(&self) -> Result<Reader> {
        let rows = self.rows();
        Reader::over(Box::new(self.window().clone()), rows.clone(), self.path()).map_err(|error| rows.named(error))
    }
}
