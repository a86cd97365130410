//! Protocols that are wrong on purpose, written by hand: what catches nothing proves nothing.

use crate::mounts::{Result, cannot};
use crate::rows::{Handle, Kind, State, bytes};
use crate::run::{Promise, Run};
use npygrow::Durability;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What a protocol does, step by step, to append rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Rows,
    Count,
    Sync,
}
use Act::{Count, Rows, Sync};

/// A protocol, and as what it is judged.
pub(crate) struct Control {
    pub(crate) name: &'static str,
    acts: &'static [Act],
    pub(crate) judged: Durability,
    /// File systems that never let it be seen: they put what one sync covers on the disk as one.
    pub(crate) hidden_by: &'static [&'static str],
}

pub(crate) const CONTROLS: [Control; 3] = [
    Control {
        name: "count, sync, rows, sync",
        acts: &[Count, Sync, Rows, Sync],
        judged: Durability::Ordered,
        hidden_by: &[],
    },
    Control {
        name: "rows, count, sync",
        acts: &[Rows, Count, Sync],
        judged: Durability::Ordered,
        hidden_by: &["ext4 data=journal", "btrfs"],
    },
    Control { name: "rows, count, no sync", acts: &[Rows, Count], judged: Durability::Power, hidden_by: &[] },
];

/// Appends by a wrong protocol.
pub(crate) fn append(run: &mut Run, control: &Control) -> Result<()> {
    let io = |what| cannot::<std::io::Error>(what);
    let path = run.path("rows.npy");
    let made = Handle::open(Kind::File, 1, &path, run.options()).and_then(Handle::close);
    made.map_err(|error| format!("{error:?}"))?;
    let mut rows = run.begin("rows.npy", Kind::File, State::Rows(0), 1).map_err(io("begin"))?;
    let file = File::options().read(true).write(true).open(&path).map_err(io("open"))?;
    let mut header = [0; 128];
    file.read_exact_at(&mut header, 0).map_err(io("read"))?;
    let count_end = count_end(&header).ok_or("no count in the header")?;
    for _ in 0..12 {
        let first = rows.rows;
        rows.rows += 1 + run.random.below(2500);
        let fresh = bytes(1, first..rows.rows);
        let count = format!("{:>16}", rows.rows);
        let at = 128 + bytes(1, 0..1).len() as u64 * first;
        let act = |act: &Act| match act {
            Rows => file.write_all_at(&fresh, at),
            Count => file.write_all_at(count.as_bytes(), count_end - 16),
            Sync => file.sync_data(),
        };
        let append = || control.acts.iter().try_for_each(act).map_err(|why| npygrow::Error::io("cannot append", &why));
        run.step(&rows, Promise::Counted, append).map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

fn count_end(header: &[u8]) -> Option<u64> {
    let shape = header.windows(9).position(|text| text == b"'shape': ")?;
    let comma = header[shape..].iter().position(|&byte| byte == b',')?;
    Some((shape + comma) as u64)
}
