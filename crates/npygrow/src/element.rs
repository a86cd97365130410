//! Which Rust type is which dtype.
#![allow(unsafe_code)]

use crate::error::{Result, error};
use crate::format::Dtype;
use alloc::vec::Vec;

/// A Rust type whose memory is an item of a dtype, in this machine's byte order.
///
/// ```
/// use npygrow::Element;
/// assert_eq!(f32::dtype(), "<f4".parse()?);
/// assert_eq!((<[u8; 3]>::dtype(), <[u8; 3]>::shape()), ("|u1".parse()?, vec![3]));
/// # Ok::<(), npygrow::Error>(())
/// ```
///
/// # Safety
///
/// The type has no padding, so that all its bytes may be read, and [`valid`](Element::valid) is true only of bytes that
/// are a value of it. Its size is that of the items of [`dtype`](Element::dtype) that [`shape`](Element::shape) holds.
pub unsafe trait Element: Copy + 'static {
    /// The dtype of its items.
    fn dtype() -> Dtype;

    /// The shape of one value: `[]`, but for arrays.
    fn shape() -> Vec<u64> {
        Vec::new()
    }

    /// Whether `bytes`, a whole number of values long, hold values of this type.
    fn valid(bytes: &[u8]) -> bool {
        let _ = bytes;
        true
    }
}

macro_rules! elements {
    ($($type:ty = $kind:literal),+ $(,)?) => {$(
        // SAFETY: a primitive number has no padding, and every bit pattern is a value.
        unsafe impl Element for $type {
            fn dtype() -> Dtype {
                Dtype::native($kind, size_of::<$type>() as u64)
            }
        }
    )+};
}

elements!(i8 = 'i', i16 = 'i', i32 = 'i', i64 = 'i', u8 = 'u', u16 = 'u', u32 = 'u', u64 = 'u', f32 = 'f', f64 = 'f');

// SAFETY: a bool is one byte, and only the bytes 0 and 1 pass as valid.
unsafe impl Element for bool {
    fn dtype() -> Dtype {
        Dtype::native('b', 1)
    }

    fn valid(bytes: &[u8]) -> bool {
        bytes.iter().all(|&byte| byte <= 1)
    }
}

// SAFETY: an array is its items one after another, without padding of its own.
unsafe impl<T: Element, const N: usize> Element for [T; N] {
    fn dtype() -> Dtype {
        T::dtype()
    }

    fn shape() -> Vec<u64> {
        let mut shape = alloc::vec![N as u64];
        shape.extend(T::shape());
        shape
    }

    fn valid(bytes: &[u8]) -> bool {
        T::valid(bytes)
    }
}

/// The memory of `values`.
pub(crate) fn bytes_of<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: `Element` promises that `T` has no padding, so that all `size_of_val` bytes are initialised.
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// `len` values whose bytes `fill` writes.
///
/// # Errors
///
/// What `fill` gives; `OverLimit` where they do not fit into memory; `Malformed` for bytes that are no value of `T`.
pub(crate) fn values<T: Element>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Vec<T>> {
    let size = len.checked_mul(size_of::<T>());
    let mut values: Vec<T> = Vec::new();
    if size.is_none() || values.try_reserve_exact(len).is_err() {
        return Err(error!(OverLimit, "{len} values of {} bytes do not fit into memory", size_of::<T>()));
    }
    let size = size.unwrap_or(0);
    // SAFETY: the capacity is at least `len` values, `size` bytes; zeroing initialises them all.
    let bytes = unsafe {
        core::ptr::write_bytes(values.as_mut_ptr().cast::<u8>(), 0, size);
        core::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), size)
    };
    fill(bytes)?;
    if !T::valid(bytes) {
        let name = core::any::type_name::<T>();
        return Err(error!(Malformed, "the file holds bytes that are no {name}"));
    }
    // SAFETY: all `len` values are initialised, and `valid` found their bytes to be values of `T`.
    unsafe { values.set_len(len) };
    Ok(values)
}

/// The values that `bytes` are, where they are aligned for `T`, a whole number of them, and valid.
pub(crate) fn cast<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    let size = size_of::<T>();
    if size == 0 || !bytes.len().is_multiple_of(size) || !bytes.as_ptr().cast::<T>().is_aligned() || !T::valid(bytes) {
        return None;
    }
    // SAFETY: aligned, a whole number of values, and valid as checked above; the lifetime is that of `bytes`.
    Some(unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size) })
}

/// Refuses `T` where the file holds another dtype.
pub(crate) fn check<T: Element>(dtype: &Dtype) -> Result<()> {
    let given = T::dtype();
    if given == *dtype {
        return Ok(());
    }
    let name = core::any::type_name::<T>();
    Err(error!(Mismatch, "expected values of dtype {dtype}, found {given} ({name}): convert them first"))
}
