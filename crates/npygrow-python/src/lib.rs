//! The Python module `npygrow._native`: convert, detach, call, map errors. What the verbs mean is decided in the crate
//! `npygrow`; what Python's own objects need beyond that is in the package beside this module.

mod appender;
mod arguments;
mod array;
mod arrow;
mod batches;
mod checked;
mod concat;
mod convert;
mod dataset;
mod dataset_appender;
mod dtype;
mod errors;
mod folder;
mod follow;
mod functions;
mod gather;
mod guard;
mod import;
mod ragged;
mod ragged_appender;
mod sequence;
mod state;
mod writer;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::appender::Appender;
    #[pymodule_export]
    use crate::array::{_reopen, Array, open};
    #[pymodule_export]
    use crate::arrow::Arrow;
    #[pymodule_export]
    use crate::batches::Batches;
    #[pymodule_export]
    use crate::concat::concat;
    #[pymodule_export]
    use crate::dataset::{_reopen_columns, Columns};
    #[pymodule_export]
    use crate::dataset_appender::DatasetAppender;
    #[pymodule_export]
    use crate::functions::{ensure_appendable, inspect, is_appendable, main, needs_recovery, recover};
    #[pymodule_export]
    use crate::ragged::{_reopen_items, _split, _spread, Items, Waiter};
    #[pymodule_export]
    use crate::ragged_appender::RaggedAppender;
    #[pymodule_export]
    use crate::sequence::{_reopen_sequence, Sequence, open_sequence};
}
