//! The volume against a plain run of bytes, and against a power that fails at every point.
#![allow(clippy::unwrap_used)]

use crate::chip::{Chip, PAGE};
use crate::volume::Volume;
use crate::{ROW, Sample, dump, open};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use npygrow::storage::Storage;
use npygrow::{Appender, Durability, ErrorKind, MAX_HEADER_SIZE, Reader, Result};

fn row(number: u64) -> [u8; ROW] {
    let at = number as u32;
    Sample { time: at, accel: [at as i16, -1, 1000], temp: 2150 }.to_row()
}

fn rows(numbers: core::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(row).collect()
}

/// The rows that the file on `chip` counts, every one compared.
#[track_caller]
fn count(chip: &Chip) -> u64 {
    let reader = Reader::on(Box::new(Volume::mount(chip.clone()).unwrap()), MAX_HEADER_SIZE).unwrap();
    let mut bytes = vec![0; reader.len() as usize * ROW];
    reader.read_into(0..reader.len(), &mut bytes).unwrap();
    assert!(bytes == rows(0..reader.len()));
    reader.len()
}

#[test]
fn the_image_is_laid_out_as_documented() {
    let chip = Chip::default();
    let mut log = open(chip.clone(), 100).unwrap();
    for number in 0..1000 {
        log.append_bytes(&row(number)).unwrap();
    }
    log.sync().unwrap();
    let mut image = Vec::new();
    dump(chip, |bytes| image.extend_from_slice(bytes)).unwrap();
    let mut expected = b"\x93NUMPY\x01\0\xb6\0{'descr': [('time', '<u4'), ('accel', '<i2', (3,)), ('temp', '<i2')], \
        'fortran_order': False, 'shape': ("
        .to_vec();
    expected.resize(144 - 4, b' ');
    expected.extend_from_slice(b"1000,), }");
    expected.resize(192 - 1, b' ');
    expected.push(b'\n');
    expected.extend(rows(0..1000));
    assert!(image == expected, "{}", image[..192].escape_ascii());
}

/// Appends up to `count` rows and syncs now and then; `safe` is how many are promised to survive.
fn write(chip: &Chip, durability: Durability, count: u64, safe: &mut u64) -> Result<()> {
    let volume = Volume::mount(chip.clone())?;
    let options = Appender::options().dtype(crate::DTYPE.parse()?).row_shape([]).durability(durability);
    let mut log = options.buffering(7 * ROW).on(Box::new(volume))?;
    while log.len() < count {
        log.append_bytes(&row(log.len()))?;
        if durability == Durability::Power {
            *safe = log.committed();
        } else if log.len() % 17 == 0 {
            log.sync()?;
            *safe = log.len();
        }
    }
    log.sync()?;
    *safe = count;
    Ok(())
}

/// Cuts the power at every program and erase of a run that crosses blocks of rows and goes round the ring.
#[track_caller]
fn check_power_cuts(durability: Durability, rows: u64) {
    for operation in 1.. {
        let chip = Chip::default();
        // An earlier run, so that there is something to lose.
        let mut safe = 0;
        write(&chip, durability, 30, &mut safe).unwrap();
        chip.fail_at(operation);
        let done = write(&chip, durability, rows, &mut safe);
        chip.switch_on();
        let survived = count(&chip);
        assert!(survived >= safe, "operation {operation}: {survived} rows survived, {safe} were promised");
        if done.is_ok() {
            assert!(chip.wear().take(16).all(|erased| erased > 0) && chip.wear().skip(16).sum::<u32>() > 1);
            return;
        }
        write(&chip, durability, rows, &mut safe).unwrap();
        assert_eq!(count(&chip), rows, "operation {operation}");
    }
}

#[test]
fn a_power_cut_leaves_what_was_synced() {
    check_power_cuts(Durability::Process, 1450);
}

#[test]
fn a_power_cut_leaves_every_committed_row() {
    check_power_cuts(Durability::Power, 400);
}

#[test]
fn a_full_chip_leaves_the_file_as_it_was() {
    let chip = Chip::default();
    let mut log = open(chip.clone(), 0).unwrap();
    let error = loop {
        if let Err(error) = log.append_bytes(&rows(log.len()..log.len() + 1000)) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("the chip is full: the file takes 98"), "{error}");
    assert!(error.to_string().ends_with("nothing was appended, the file is as before"), "{error}");
    log.sync().unwrap();
    assert_eq!(count(&chip), log.len());
    // The blocks that this frees are still the last record's, until the next.
    log.truncate(1000).unwrap();
    log.sync().unwrap();
    log.append_bytes(&rows(1000..2000)).unwrap();
    log.sync().unwrap();
    assert_eq!(count(&chip), 2000);
}

#[test]
fn the_blocks_wear_alike() {
    let chip = Chip::default();
    let mut log = open(chip.clone(), 0).unwrap();
    for number in 0..4000 {
        log.append_bytes(&row(number)).unwrap();
        log.sync().unwrap();
    }
    let (least, most) = chip.wear().take(16).fold((u32::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
    assert!(most <= least + 1, "the ring: {least} to {most}");
    assert_eq!(chip.wear().skip(16).max(), Some(1));
}

/// A volume and a vector, through the same thousands of operations.
#[test]
fn like_a_run_of_bytes() {
    let chip = Chip::default();
    let mut volume = Volume::mount(chip.clone()).unwrap();
    let (mut model, mut sealed) = (Vec::new(), Vec::new());
    let mut state = 7_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for step in 0..4000 {
        match random(20) {
            0..12 => {
                let bytes: Vec<u8> = (0..random(900)).map(|_| random(256) as u8).collect();
                volume.write_all_at(model.len() as u64, &bytes).unwrap();
                model.extend(bytes);
            }
            12..14 => {
                let len = model.len() - random(model.len().min(6000) + 1);
                volume.set_len(len as u64).unwrap();
                model.truncate(len);
            }
            14 => {
                let len = model.len() + random(1000);
                volume.set_len(len as u64).unwrap();
                model.resize(len, 0);
            }
            15 if model.len() > PAGE => {
                volume.commit_at(80, &[step as u8; 8], false).unwrap();
                model[80..88].fill(step as u8);
            }
            16..18 => {
                volume.sync().unwrap();
                sealed = model.clone();
            }
            18 => {
                volume = Volume::mount(chip.clone()).unwrap();
                model = sealed.clone();
            }
            _ if model.len() > 100_000 => {
                volume.set_len(1000).unwrap();
                model.truncate(1000);
            }
            _ => {}
        }
        let from = random(model.len() + 1);
        let mut buf = vec![0; random(2000)];
        let got = volume.read_at(from as u64, &mut buf).unwrap();
        assert_eq!(got, buf.len().min(model.len() - from));
        assert!(buf[..got] == model[from..from + got], "step {step}: {got} bytes at {from} of {}", model.len());
    }
    let mut all = vec![0; model.len() + 1];
    assert_eq!(volume.read_up_to(0, &mut all).unwrap(), model.len());
    assert!(all[..model.len()] == model);
}

#[test]
fn a_page_between_first_and_last_is_refused() {
    let mut volume = Volume::mount(Chip::default()).unwrap();
    volume.set_len(2000).unwrap();
    let error = volume.write_all_at(300, b"x").unwrap_err();
    assert_eq!(error.to_string(), "cannot write at 300: only the first page and the end at 2000 change");
}

#[test]
fn the_chip_programs_a_page_once() {
    let chip = Chip::default();
    let page = [0; PAGE];
    let refused = "page 3 was programmed before: expected an erased one";
    assert_eq!(chip.program(3, &page).unwrap_err().to_string(), refused);
    chip.erase(0).unwrap();
    chip.program(3, &page).unwrap();
    assert_eq!(chip.program(3, &page).unwrap_err().to_string(), refused);
}

#[test]
fn a_record_that_rotted_is_passed_over() {
    for byte in [7, PAGE + 7, 2 * PAGE + 8, 2 * PAGE + 12, 2 * PAGE + 16, 3 * PAGE - 1] {
        let chip = Chip::default();
        let mut log = open(chip.clone(), 0).unwrap();
        for end in [10, 20] {
            log.append_bytes(&rows(end - 10..end)).unwrap();
            log.sync().unwrap();
        }
        let mut ring = [[0; PAGE]; 6];
        chip.read(0, ring.as_flattened_mut()).unwrap();
        ring.as_flattened_mut()[3 * PAGE + byte] ^= 1;
        chip.erase(0).unwrap();
        for (page, bytes) in ring.iter().enumerate() {
            chip.program(page, bytes).unwrap();
        }
        assert_eq!(count(&chip), 10, "byte {byte}");
    }
}
