//! What a ragged append costs beside a plain one of the same bytes, and a gather of items beside one of rows: medians of
//! interleaved rounds. Run with `--release`.

#![allow(clippy::unwrap_used)]

use npygrow::{Appender, MAX_HEADER_SIZE, Ragged, View};
use std::hint::black_box;
use std::time::{Duration, Instant};

const ITEM: usize = 1024;
const APPENDS: usize = 20_000;
const ROUNDS: usize = 21;

fn time(work: impl FnOnce() -> npygrow::Result<()>) -> npygrow::Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    for buffering in [0, 1 << 20] {
        let (mut plain, mut ragged) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (a, b) = (folder.path().join(format!("{round}.npy")), folder.path().join(format!("{round}")));
            let options = || Appender::options().dtype("|u1".parse().unwrap()).buffering(buffering);
            let mut rows = options().row_shape([ITEM as u64]).open(&a)?;
            let mut items = options().row_shape([]).open_ragged(&b)?;
            let item = [7_u8; ITEM];
            plain.push(time(|| {
                (0..APPENDS).try_for_each(|_| rows.append_rows(1, black_box(&item)).map(drop))?;
                rows.commit().map(drop)
            })?);
            ragged.push(time(|| {
                (0..APPENDS).try_for_each(|_| items.append_bytes(ITEM as u64, black_box(&item)).map(drop))?;
                items.commit().map(drop)
            })?);
            drop((rows, items));
            std::fs::remove_file(a)?;
            std::fs::remove_dir_all(b)?;
        }
        let (plain, ragged) = (median(plain), median(ragged));
        let per = |time: Duration| time.as_nanos() as f64 / APPENDS as f64;
        println!(
            "append 1 KiB, buffering {buffering}: plain {:.0} ns, ragged {:.0} ns: {:.2}x",
            per(plain),
            per(ragged),
            per(ragged) / per(plain)
        );
    }
    const SIZE: usize = 4096;
    let (a, b) = (folder.path().join("rows.npy"), folder.path().join("items"));
    let options = || Appender::options().dtype("|u1".parse().unwrap()).buffering(1 << 20);
    let mut rows = options().row_shape([SIZE as u64]).open(&a)?;
    let mut items = options().row_shape([]).open_ragged(&b)?;
    let bytes = [7_u8; 2 * SIZE];
    for item in 0..50_000_usize {
        rows.append_rows(1, &bytes[..SIZE])?;
        let len = SIZE - 512 + item * 7919 % 1024;
        items.append_bytes(len as u64, &bytes[..len])?;
    }
    rows.close()?;
    items.close()?;
    let (rows, items) = (View::open(&a, MAX_HEADER_SIZE)?, Ragged::open(&b, MAX_HEADER_SIZE)?);
    let wanted: Vec<u64> = (0..4096).map(|at| at * 7919 % 50_000).collect();
    let (mut fixed, mut varied) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        fixed.push(time(|| {
            let mut out = vec![0; wanted.len() * SIZE];
            rows.gather_into(&wanted, &mut out).map(|()| drop(black_box(out)))
        })?);
        varied.push(time(|| {
            let mut out = vec![0; items.sizes(&wanted)?.iter().sum()];
            items.gather_into(&wanted, &mut out).map(|()| drop(black_box(out)))
        })?);
    }
    let (fixed, varied) = (median(fixed), median(varied));
    println!(
        "gather 4,096 of 4 KiB, warm: rows {fixed:?}, items {varied:?}: {:.2}x",
        varied.as_secs_f64() / fixed.as_secs_f64()
    );
    Ok(())
}
