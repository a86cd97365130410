//! Appending what is not yet the file's own bytes.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyIterator, PyTuple};

use crate::appender::Appender;
use crate::dtype::order_name;
use crate::state::Open;
use crate::writer::{Behind, Taken, Writer};

impl Appender {
    /// Rows that are not yet the file's own bytes: checked as a whole, then cast and written block by block.
    pub(crate) fn append_checked(&self, open: &mut Open, rows: &Bound<'_, PyAny>) -> PyResult<Taken<'static>> {
        static PREPARE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = rows.py();
        let raise = |error| self.interrupt.raise(error);
        let dtype = open.dtype(py, self.path())?;
        let writer = &mut open.writer;
        let row_shape = writer.row_shape().map(|shape| PyTuple::new(py, shape)).transpose()?;
        let arguments = (rows, self.path(), dtype, row_shape, order_name(writer.order()), self.exact);
        let (count, descr, row_shape, blocks): (u64, String, Vec<u64>, Bound<'_, PyIterator>) =
            PREPARE.import(py, "npygrow._rows", "prepare")?.call1(arguments)?.extract()?;
        if open.fit.is_none() {
            let dtype = writer.dtype().map_or_else(|| descr.parse(), |dtype| Ok(dtype.clone())).map_err(raise)?;
            writer.define(py, &dtype, &row_shape).map_err(raise)?;
        }
        match writer {
            Writer::Here(appender) => {
                let mut batch = py.detach(|| appender.begin(count)).map_err(raise)?;
                self.feed(&blocks, |bytes| py.detach(|| batch.write(bytes)))?;
                py.detach(|| batch.commit()).map(Taken::Told).map_err(raise)
            }
            Writer::Behind(behind) => self.append_converted(behind, count, &blocks),
        }
    }

    fn feed(
        &self,
        blocks: &Bound<'_, PyIterator>,
        mut write: impl FnMut(&[u8]) -> npygrow::Result<()>,
    ) -> PyResult<()> {
        for block in blocks {
            let block = block?.extract::<PyReadonlyArray1<'_, u8>>()?;
            write(block.as_slice()?).map_err(|error| self.interrupt.raise(error))?;
            blocks.py().check_signals()?;
        }
        Ok(())
    }

    /// Rows are converted into memory, as far as the queue holds them; more go to the appender itself, block by block.
    fn append_converted(
        &self,
        behind: &Behind,
        count: u64,
        blocks: &Bound<'_, PyIterator>,
    ) -> PyResult<Taken<'static>> {
        let (py, background) = (blocks.py(), &behind.background);
        let raise = |error| self.raise(background, error);
        let size = background.row_size().and_then(|size| usize::try_from(size.checked_mul(count)?).ok());
        if let Some(size) = size.filter(|&size| size <= background.max_queue()) {
            let mut bytes = Vec::with_capacity(size);
            self.feed(blocks, |block| {
                bytes.extend_from_slice(block);
                Ok(())
            })?;
            return behind.take(count, bytes.into()).map_err(raise);
        }
        let (blocks, mut raised) = (blocks.clone().unbind(), None);
        let written = py.detach(|| {
            background.with_appender(|appender| {
                let mut batch = appender.begin(count)?;
                let fed = Python::attach(|py| self.feed(blocks.bind(py), |bytes| py.detach(|| batch.write(bytes))));
                if let Err(error) = fed {
                    raised = Some(error);
                    return Ok(None); // The batch that is dropped here undoes it.
                }
                batch.commit()
            })
        });
        raised.map_or_else(|| written.map(Taken::Told).map_err(raise), Err)
    }
}
