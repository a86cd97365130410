//! What a growing file must hold, by the plainest means: vectors.

/// A file and the appender that has it open.
#[derive(Clone, Debug)]
pub struct Model {
    /// The bytes of the rows that readers see.
    pub committed: Vec<u8>,
    /// The bytes of those that wait.
    pub buffered: Vec<u8>,
    row_size: usize,
    buffering: usize,
}

impl Model {
    /// A file without rows, open with a buffer of `buffering` bytes.
    #[must_use]
    pub fn new(row_size: usize, buffering: usize) -> Self {
        assert!(row_size > 0);
        Model { committed: Vec::new(), buffered: Vec::new(), row_size, buffering }
    }

    /// The rows that readers see.
    #[must_use]
    pub fn committed_rows(&self) -> u64 {
        (self.committed.len() / self.row_size) as u64
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.committed_rows() + (self.buffered.len() / self.row_size) as u64
    }

    /// An append that returned; says whether it published.
    pub fn append(&mut self, rows: &[u8]) -> bool {
        self.buffered.extend(rows);
        let full = self.buffered.len() >= self.buffering;
        if full {
            self.publish();
        }
        full
    }

    /// `commit`, `sync` or `close`.
    pub fn publish(&mut self) {
        self.committed.append(&mut self.buffered);
    }

    /// `truncate`.
    pub fn truncate(&mut self, rows: u64) {
        self.publish();
        self.committed.truncate(rows as usize * self.row_size);
    }

    /// The end of the process.
    pub fn die(&mut self) {
        self.buffered.clear();
    }

    /// Makes the whole rows of a tail rows, and with `fill` also a torn one; says how many.
    pub fn keep(&mut self, tail: &[u8], fill: bool) -> u64 {
        let whole = tail.len() / self.row_size * self.row_size;
        let before = self.committed_rows();
        self.committed.extend(&tail[..whole]);
        if fill && whole < tail.len() {
            self.committed.extend(&tail[whole..]);
            self.committed.resize((before as usize + whole / self.row_size + 1) * self.row_size, 0);
        }
        self.committed_rows() - before
    }
}
