//! One opaque error. Its kind answers "what do I do now", its text names the path, what was expected, what was found and
//! what to call.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system or the storage failed; [`Error::raw_os_error`] has its number.
    Io,
    /// Not an `.npy` file at all.
    NotNpy,
    /// An `.npy` file whose header breaks the format.
    Malformed,
    /// Valid, but not something this crate handles: object arrays, for one.
    Unsupported,
    /// Past a named limit, which the caller may be able to raise.
    OverLimit,
    /// The rows or options given do not fit the file.
    Mismatch,
    /// The file is whole, but its header has no room to grow: call `ensure_appendable`.
    NotAppendable,
    /// The file is broken: call `recover`.
    NeedsRecovery,
    /// Another appender holds the file.
    Locked,
    /// An earlier failure left this handle unusable: open the file again.
    Latched,
}

/// What went wrong: a [kind](ErrorKind), and a text that a user can act on.
///
/// ```
/// let error = "<f8,".parse::<npygrow::Dtype>().unwrap_err();
/// assert_eq!(error.kind(), npygrow::ErrorKind::Malformed);
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    path: Option<String>,
    detail: Cow<'static, str>,
    os: Option<Os>,
}

/// The operating system's part of an error: its number where it has one, and its words.
struct Os {
    errno: Option<i32>,
    #[cfg(feature = "std")]
    kind: std::io::ErrorKind,
    words: String,
}

impl Error {
    /// An error of `kind`; `detail` says what was expected, what was found and what to call.
    ///
    /// Public for those who write a [`Storage`](crate::storage::Storage) of their own.
    pub fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner { kind, path: None, detail: detail.into(), os: None }))
    }

    /// An [`Io`](ErrorKind::Io) error: `action` says what could not be done, `error` why.
    #[cfg(feature = "std")]
    pub fn io(action: impl Into<Cow<'static, str>>, error: &std::io::Error) -> Self {
        let mut this = Error::new(ErrorKind::Io, action);
        this.0.os = Some(Os { errno: error.raw_os_error(), kind: error.kind(), words: error.to_string() });
        this
    }

    /// An [`Io`](ErrorKind::Io) error that the system has a kind for, and `detail` all the words.
    #[cfg(feature = "std")]
    pub(crate) fn of_kind(kind: std::io::ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut this = Error::new(ErrorKind::Io, detail);
        this.0.os = Some(Os { errno: None, kind, words: String::new() });
        this
    }

    /// The same error, about the file at `path`, unless it names one already.
    #[must_use]
    pub fn at(mut self, path: impl fmt::Display) -> Self {
        self.0.path.get_or_insert_with(|| path.to_string());
        self
    }

    /// The same error with `more` after its text.
    #[must_use]
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.0.detail = alloc::format!("{}; {more}", self.detail()).into();
        if let Some(os) = &mut self.0.os {
            os.words.clear();
        }
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file it is about.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The text without the path.
    #[must_use]
    pub fn detail(&self) -> String {
        match &self.0.os {
            Some(os) if !os.words.is_empty() => alloc::format!("{}: {}", self.0.detail, os.words),
            _ => self.0.detail.to_string(),
        }
    }

    /// The operating system's error number (`errno`), where there is one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.os.as_ref().and_then(|os| os.errno)
    }

    /// The operating system's kind of error, where there is one.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.0.os.as_ref().map(|os| os.kind)
    }
}

impl fmt::Display for Error {
    /// Path, text and cause, once: `source()` is empty, so that a report does not print the cause again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.0.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.detail())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl core::error::Error for Error {}

/// "1 row", "2 rows".
pub(crate) fn count(n: u64, what: &str) -> String {
    alloc::format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Builds an [`Error`] of a kind from a format string.
macro_rules! error {
    ($kind:ident, $($arg:tt)+) => {
        $crate::error::Error::new($crate::error::ErrorKind::$kind, alloc::format!($($arg)+))
    };
}
pub(crate) use error;
