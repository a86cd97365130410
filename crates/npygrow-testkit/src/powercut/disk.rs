//! What a power cut may leave.

use super::{Event, Image, Names};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A disk that followed a log up to some point.
#[derive(Default)]
pub struct Disk {
    files: Vec<Content>,
    names: Versions<Names>,
}

/// What may be there after a cut: the durable one first, the newest last. Never empty.
struct Versions<T>(Vec<T>);

impl<T: Clone + PartialEq> Versions<T> {
    fn newest(&self) -> &T {
        &self.0[self.0.len() - 1]
    }

    fn add(&mut self, version: T) {
        if *self.newest() != version {
            self.0.push(version);
        }
    }

    fn sync(&mut self) {
        self.0.drain(..self.0.len() - 1);
    }

    fn pick(&self, choose: &mut dyn FnMut(usize) -> usize) -> &T {
        if let [only] = &self.0[..] { only } else { &self.0[choose(self.0.len())] }
    }
}

impl<T: Default> Default for Versions<T> {
    fn default() -> Self {
        Versions(vec![T::default()])
    }
}

#[derive(Default)]
struct Content {
    size: Versions<usize>,
    sectors: Vec<Versions<Sector>>,
}

/// With the hash of its bytes: images are told apart by it, and most of an image is the same as in the one before.
#[derive(Clone, PartialEq)]
struct Sector {
    bytes: Vec<u8>,
    hash: u64,
}

impl Sector {
    fn new(bytes: Vec<u8>) -> Self {
        Sector { hash: hash(&bytes), bytes }
    }
}

/// The hash of a value, the same in every run.
pub fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Content {
    fn sector(&mut self, index: usize) -> &mut Versions<Sector> {
        while self.sectors.len() <= index {
            self.sectors.push(Versions(vec![Sector::new(vec![0; SECTOR])]));
        }
        &mut self.sectors[index]
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        let mut at = offset;
        while at < end {
            let sector = self.sector(at / SECTOR);
            let mut version = sector.newest().bytes.clone();
            let start = at % SECTOR;
            let len = (SECTOR - start).min(end - at);
            version[start..start + len].copy_from_slice(&bytes[at - offset..at - offset + len]);
            sector.add(Sector::new(version));
            at += len;
            // A file grows piece by piece under a long write.
            let size = *self.size.newest();
            self.size.add(size.max(at));
        }
    }

    fn set_len(&mut self, len: usize) {
        for (index, sector) in self.sectors.iter_mut().enumerate() {
            let keep = len.saturating_sub(index * SECTOR).min(SECTOR);
            let mut version = sector.newest().bytes.clone();
            version[keep..].fill(0);
            sector.add(Sector::new(version));
        }
        self.size.add(len);
    }

    fn sync(&mut self) {
        self.size.sync();
        self.sectors.iter_mut().for_each(Versions::sync);
    }

    fn cut(&self, choose: &mut dyn FnMut(usize) -> usize, hasher: &mut DefaultHasher) -> Vec<u8> {
        let size = *self.size.pick(choose);
        let mut bytes = Vec::with_capacity(size.next_multiple_of(SECTOR));
        size.hash(hasher);
        for sector in self.sectors.iter().take(size.div_ceil(SECTOR)) {
            let sector = sector.pick(choose);
            let seen = (size - bytes.len()).min(SECTOR);
            hasher.write_u64(if seen == SECTOR { sector.hash } else { hash(&sector.bytes[..seen]) });
            bytes.extend_from_slice(&sector.bytes);
        }
        bytes.resize(size, 0);
        bytes
    }
}

impl Disk {
    /// What happens next.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Write { file, offset, bytes } => self.file(*file).write(*offset as usize, bytes),
            Event::SetLen { file, len } => self.file(*file).set_len(*len as usize),
            Event::Sync { file } => self.file(*file).sync(),
            Event::SyncSector { file, offset } => self.file(*file).sector(*offset as usize / SECTOR).sync(),
            Event::Names(names) => self.names.add(names.clone()),
            Event::SyncNames => self.names.sync(),
        }
    }

    fn file(&mut self, file: usize) -> &mut Content {
        while self.files.len() <= file {
            self.files.push(Content::default());
        }
        &mut self.files[file]
    }

    /// What a power cut leaves now, and its hash. `choose` is asked which of `n` versions of something is there: 0 is the
    /// durable one, `n - 1` the newest.
    pub fn cut(&self, choose: &mut dyn FnMut(usize) -> usize) -> (Image, u64) {
        let (empty, mut hasher) = (Content::default(), DefaultHasher::new());
        let mut image = Image::new();
        for (name, file) in self.names.pick(choose) {
            (name, file).hash(&mut hasher);
            let content = self.files.get(*file).unwrap_or(&empty);
            image.insert(name.clone(), (*file, content.cut(choose, &mut hasher)));
        }
        (image, hasher.finish())
    }
}

/// Choices, one set after the other.
#[derive(Default)]
pub struct Walk {
    /// What was chosen, and out of how many.
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Walk {
    /// The next choice of this set, out of `n`.
    pub fn choose(&mut self, n: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, n));
        }
        self.at += 1;
        self.path[self.at - 1].0
    }

    /// Goes on to the next set of choices; `false` when there is none.
    pub fn next_set(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, n)) = self.path.pop() {
            if chosen + 1 < n {
                self.path.push((chosen + 1, n));
                return true;
            }
        }
        false
    }
}

/// Random numbers that a seed brings back: splitmix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// Below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) % n as u64) as usize
    }
}
