//! Arrow's C data interface: structs that a library takes with all that they point to, and releases when it likes, on any
//! thread, also when there is no interpreter any more. So nothing in them belongs to Python: they hold the mapping itself.
//!
//! What the fields mean: <https://arrow.apache.org/docs/format/CDataInterface.html>.
#![allow(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use super::{Buffer, Column};

/// Any column may have nulls, as those of Arrow's own libraries, or two tables would not go together.
const NULLABLE: i64 = 2;

/// `struct ArrowSchema`.
#[repr(C)]
pub(super) struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray`.
#[repr(C)]
pub(super) struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

/// `struct ArrowArrayStream`.
#[repr(C)]
pub(super) struct Stream {
    get_schema: unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int,
    get_next: unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int,
    get_last_error: unsafe extern "C" fn(*mut Stream) -> *const c_char,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

// SAFETY: what they point to is in the boxes of their `private_data`, which nobody else has, and in columns, which are
// `Send` and `Sync` and never change.
unsafe impl Send for Schema {}
// SAFETY: as above.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Send for Stream {}

/// What the pointers of a [`Schema`] lead to.
struct SchemaParts {
    format: CString,
    name: CString,
    children: Vec<*mut Schema>,
}

/// What the pointers of an [`Array`] lead to, but for its children's own.
struct ArrayParts {
    _column: Arc<Column>,
    buffers: Vec<*const c_void>,
    children: Vec<*mut Array>,
}

/// What a [`Stream`] has left to give: one array.
struct StreamParts {
    column: Arc<Column>,
    is_given: bool,
}

impl Schema {
    pub(super) fn of(column: &Column) -> Self {
        let children = column.children.iter().map(|child| Box::into_raw(Box::new(Schema::of(child)))).collect();
        // From here on the parts are moved no more: pointers into them stay good.
        let parts =
            Box::leak(Box::new(SchemaParts { format: column.format.clone(), name: column.name.clone(), children }));
        Schema {
            format: parts.format.as_ptr(),
            name: parts.name.as_ptr(),
            metadata: ptr::null(),
            flags: NULLABLE,
            n_children: parts.children.len() as i64,
            children: parts.children.as_mut_ptr(),
            dictionary: ptr::null_mut(),
            release: Some(release_schema),
            private_data: ptr::from_mut(parts).cast(),
        }
    }
}

impl Array {
    pub(super) fn of(column: &Arc<Column>) -> Self {
        let children: Vec<_> = column.children.iter().map(|child| Box::into_raw(Box::new(Array::of(child)))).collect();
        let buffers = column.buffers.iter().map(|buffer| buffer.as_ref().map_or(ptr::null(), address)).collect();
        let parts = Box::leak(Box::new(ArrayParts { _column: column.clone(), buffers, children }));
        Array {
            length: column.len,
            null_count: column.nulls,
            offset: 0,
            n_buffers: parts.buffers.len() as i64,
            n_children: parts.children.len() as i64,
            buffers: parts.buffers.as_mut_ptr(),
            children: parts.children.as_mut_ptr(),
            dictionary: ptr::null_mut(),
            release: Some(release_array),
            private_data: ptr::from_mut(parts).cast(),
        }
    }
}

impl Stream {
    pub(super) fn of(column: Arc<Column>) -> Self {
        Stream {
            get_schema,
            get_next,
            get_last_error,
            release: Some(release_stream),
            private_data: Box::into_raw(Box::new(StreamParts { column, is_given: false })).cast(),
        }
    }
}

/// Where a buffer is; of an empty one a place that is aligned for anything, for libraries that look at the address first.
fn address(buffer: &Buffer) -> *const c_void {
    #[repr(align(64))]
    struct Aligned([u8; 64]);
    static EMPTY: Aligned = Aligned([0; 64]);
    match buffer {
        Buffer::Mapped(view, start) => match view.bytes().get(*start..) {
            None | Some([]) => EMPTY.0.as_ptr().cast(),
            Some(bytes) => bytes.as_ptr().cast(),
        },
        Buffer::Made(words) => words.as_ptr().cast(),
    }
}

/// # Safety
///
/// As the interface has it: of a schema that is not released, once.
unsafe extern "C" fn release_schema(schema: *mut Schema) {
    // SAFETY: the caller's struct, made by `Schema::of` or moved from such a one; its parts are a box that was leaked there.
    let parts = unsafe { Box::from_raw((*schema).private_data.cast::<SchemaParts>()) };
    // SAFETY: the caller's struct, which nobody else touches meanwhile.
    unsafe { (*schema).release = None };
    for child in parts.children {
        // SAFETY: boxed by `Schema::of`. Who took the child itself has left it marked as released, so that the drop does nothing.
        drop(unsafe { Box::from_raw(child) });
    }
}

/// # Safety
///
/// As [`release_schema`].
unsafe extern "C" fn release_array(array: *mut Array) {
    // SAFETY: as in `release_schema`.
    let parts = unsafe { Box::from_raw((*array).private_data.cast::<ArrayParts>()) };
    // SAFETY: the caller's struct, which nobody else touches meanwhile.
    unsafe { (*array).release = None };
    for child in parts.children {
        // SAFETY: as in `release_schema`. A child that was taken keeps its own column.
        drop(unsafe { Box::from_raw(child) });
    }
}

/// # Safety
///
/// As [`release_schema`].
unsafe extern "C" fn release_stream(stream: *mut Stream) {
    // SAFETY: as in `release_schema`.
    let parts = unsafe { Box::from_raw((*stream).private_data.cast::<StreamParts>()) };
    // SAFETY: the caller's struct, which nobody else touches meanwhile.
    unsafe { (*stream).release = None };
    drop(parts);
}

/// # Safety
///
/// As the interface has it: a stream that is not released, and room for a schema.
unsafe extern "C" fn get_schema(stream: *mut Stream, out: *mut Schema) -> c_int {
    // SAFETY: the parts of a stream that is not released are there, and nobody else calls it meanwhile.
    let parts = unsafe { &*(*stream).private_data.cast::<StreamParts>() };
    // SAFETY: `out` is to be written to; what is in it is not read.
    unsafe { out.write(Schema::of(&parts.column)) };
    0
}

/// # Safety
///
/// As [`get_schema`].
unsafe extern "C" fn get_next(stream: *mut Stream, out: *mut Array) -> c_int {
    // SAFETY: as in `get_schema`.
    let parts = unsafe { &mut *(*stream).private_data.cast::<StreamParts>() };
    let mut array = Array::of(&parts.column);
    if parts.is_given {
        // SAFETY: just made. One that is released says that there is no more.
        unsafe { release_array(&raw mut array) };
    }
    parts.is_given = true;
    // SAFETY: as in `get_schema`.
    unsafe { out.write(array) };
    0
}

/// # Safety
///
/// As [`get_schema`].
unsafe extern "C" fn get_last_error(_stream: *mut Stream) -> *const c_char {
    ptr::null()
}

macro_rules! released_by_drop {
    ($($name:ident),+) => {$(
        /// For what nobody took.
        impl Drop for $name {
            fn drop(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: whoever takes or releases it leaves `None` there: it is ours, and not released.
                    unsafe { release(self) };
                }
            }
        }
    )+};
}

released_by_drop!(Schema, Array, Stream);

pub(super) fn schema_capsule<'py>(py: Python<'py>, column: &Column) -> PyResult<Bound<'py, PyCapsule>> {
    PyCapsule::new_with_value(py, Schema::of(column), c"arrow_schema")
}

pub(super) fn array_capsule<'py>(py: Python<'py>, column: &Arc<Column>) -> PyResult<Bound<'py, PyCapsule>> {
    PyCapsule::new_with_value(py, Array::of(column), c"arrow_array")
}

pub(super) fn stream_capsule(py: Python<'_>, column: Arc<Column>) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, Stream::of(column), c"arrow_array_stream")
}
