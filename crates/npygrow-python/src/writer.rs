//! Which of the crate's appenders a Python appender drives.

use npygrow::{Appender, Background, Dropped, Dtype, Limits, Order};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyTuple};
use std::borrow::Cow;
use std::ops::Range;
use std::process;
use std::sync::Arc;

use crate::errors::raise;

#[expect(clippy::large_enum_variant, reason = "one for each open file, in a box with the rest")]
pub(crate) enum Writer {
    Here(Appender),
    Behind(Behind),
}

/// An appender with a thread, and what publishes at the interpreter's exit: then the thread may be in the middle of it.
pub(crate) struct Behind {
    pub(crate) background: Arc<Background>,
    at_exit: Py<PyCFunction>,
}

/// What became of an append.
pub(crate) enum Taken<'a> {
    Told(Option<Range<u64>>),
    /// The queue may be full: it is for the caller to wait, without the object's lock.
    Waits(Arc<Background>, u64, Cow<'a, [u8]>),
}

impl Behind {
    pub(crate) fn start(py: Python<'_>, appender: Appender, limits: Limits) -> PyResult<Self> {
        let background = Arc::new(Background::start(appender, limits).map_err(raise)?);
        let (here, process) = (Arc::downgrade(&background), process::id());
        let publish = move |arguments: &Bound<'_, PyTuple>, _: Option<&Bound<'_, _>>| {
            let open = |background: &Arc<Background>| process == process::id() && !background.is_closed();
            let Some(background) = here.upgrade().filter(open) else { return Ok(()) };
            arguments.py().detach(|| background.commit()).map(drop).map_err(raise)
        };
        let at_exit = PyCFunction::new_closure(py, None, None, publish)?;
        py.import("atexit")?.call_method1("register", (&at_exit,))?;
        Ok(Self { background, at_exit: at_exit.unbind() })
    }

    /// Rows that are copied in no time are taken in attached, unless that would have to wait.
    pub(crate) fn take<'a>(&self, count: u64, bytes: Cow<'a, [u8]>) -> npygrow::Result<Taken<'a>> {
        const SMALL: usize = 64 << 10;
        if bytes.len() <= SMALL
            && let Some(numbers) = self.background.try_append_rows(count, &bytes)?
        {
            return Ok(Taken::Told(Some(numbers)));
        }
        Ok(Taken::Waits(self.background.clone(), count, bytes))
    }

    pub(crate) fn forget_exit(&self, py: Python<'_>) -> PyResult<()> {
        py.import("atexit")?.call_method1("unregister", (&self.at_exit,)).map(drop)
    }
}

impl Writer {
    pub(crate) fn dtype(&self) -> Option<&Dtype> {
        match self {
            Self::Here(appender) => appender.dtype(),
            Self::Behind(behind) => behind.background.dtype(),
        }
    }

    pub(crate) fn row_shape(&self) -> Option<&[u64]> {
        match self {
            Self::Here(appender) => appender.row_shape(),
            Self::Behind(behind) => behind.background.row_shape(),
        }
    }

    pub(crate) fn row_size(&self) -> Option<u64> {
        match self {
            Self::Here(appender) => appender.row_size(),
            Self::Behind(behind) => behind.background.row_size(),
        }
    }

    pub(crate) fn order(&self) -> Order {
        match self {
            Self::Here(appender) => appender.order(),
            Self::Behind(behind) => behind.background.order(),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Here(appender) => appender.len(),
            Self::Behind(behind) => behind.background.len(),
        }
    }

    pub(crate) fn dropped(&self) -> Dropped {
        match self {
            Self::Here(appender) => appender.dropped(),
            Self::Behind(behind) => behind.background.dropped(),
        }
    }

    pub(crate) fn define(&mut self, py: Python<'_>, dtype: &Dtype, row_shape: &[u64]) -> npygrow::Result<()> {
        match self {
            Self::Here(appender) => appender.define(dtype, row_shape),
            Self::Behind(behind) => py.detach(|| behind.background.define(dtype, row_shape)),
        }
    }
}
