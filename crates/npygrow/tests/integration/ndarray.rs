//! Arrays of every layout become the same rows.

use crate::support::{Disk, fails, le};
use ndarray::{Array, Array1, Array2, Array3, ArrayView3, Axis, arr0, s};
use npygrow::{Options, Order};
use npygrow_testkit::faulty::{Call, Fault};

/// The values in the order of the file, by index alone.
fn expected(array: ArrayView3<'_, u32>, order: Order) -> Vec<u8> {
    let (a, b, c) = array.dim();
    let mut values = Vec::new();
    match order {
        Order::C => (0..a).for_each(|i| (0..b).for_each(|j| (0..c).for_each(|k| values.push(array[[i, j, k]])))),
        Order::F => (0..c).for_each(|k| (0..b).for_each(|j| (0..a).for_each(|i| values.push(array[[i, j, k]])))),
    }
    le(&values)
}

#[test]
fn layouts() {
    let plain = Array3::from_shape_fn((4, 3, 2), |(i, j, k)| (100 * i + 10 * j + k) as u32);
    let fortran = plain.clone().reversed_axes().as_standard_layout().into_owned().reversed_axes();
    let wide = Array3::from_shape_fn((8, 6, 4), |(i, j, k)| (i * j + k) as u32);
    let one = plain.slice(s![..1, .., ..1]);
    let views = [
        plain.view(),
        fortran.view(),
        plain.slice(s![..;-1, .., ..;-1]),
        wide.slice(s![..;2, 1..4, ..;2]),
        one.broadcast((4, 3, 2)).unwrap(),
        plain.slice(s![..0, .., ..]),
        plain.slice(s![.., .., ..0]),
    ];
    for order in [Order::C, Order::F] {
        for buffering in [0, 1000] {
            for view in &views {
                let shape: Vec<u64> = view.shape().iter().map(|&n| n as u64).collect();
                let rows = if order == Order::C { shape[0] } else { shape[2] };
                let disk = Disk::new(None);
                let mut appender = disk.open(Options::default().order(order).buffering(buffering)).unwrap();
                assert_eq!(appender.append_array(view).unwrap(), Some(0..rows));
                assert_eq!(appender.append_array(view).unwrap(), Some(rows..2 * rows));
                appender.commit().unwrap();
                let twice = expected(*view, order).repeat(2);
                assert_eq!(disk.bytes()[128..], twice, "{order} {view:?}");
            }
        }
    }
}

#[test]
fn more_than_a_block() {
    // Six MiB, transposed: written in blocks of four.
    let array = Array2::from_shape_fn((3, 500_001), |(i, j)| (i + 3 * j) as u32);
    let disk = Disk::new(None);
    disk.open(Options::default()).unwrap().append_array(&array.t()).unwrap();
    assert!(disk.bytes()[128..].chunks(4).map(|value| u32::from_le_bytes(value.try_into().unwrap())).eq(0..1_500_003));
}

#[test]
fn elements_that_are_arrays() {
    for order in [Order::C, Order::F] {
        let disk = Disk::new(None);
        let mut appender = disk.open(Options::default().order(order)).unwrap();
        let array = if order == Order::C {
            Array::from_shape_fn((2, 3), |(i, j)| [(6 * i + 2 * j) as u32, (6 * i + 2 * j + 1) as u32])
        } else {
            Array::from_shape_fn((3, 2), |(j, i)| [(6 * i + 2 * j) as u32, (6 * i + 2 * j + 1) as u32])
        };
        appender.append_array(&array).unwrap();
        assert_eq!(appender.shape(), Some(vec![2, 3, 2]));
        assert_eq!(disk.bytes()[128..], le(&Vec::from_iter(0..12)), "{order}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let disk = Disk::new(None);
    let mut appender = disk.open(Options::default()).unwrap();
    fails(
        appender.append_array(&arr0(1_u32)),
        "Mismatch: expected rows, found an array without axes: append an array of one row",
    );
    appender.append_array(&Array2::<u32>::zeros((2, 3))).unwrap();
    let before = disk.bytes();
    fails(
        appender.append_array(&Array1::<u32>::zeros(3)),
        "Mismatch: expected rows of shape (3,), found rows of shape ()",
    );
    fails(
        appender.append_array(&Array2::<u32>::zeros((3, 2))),
        "Mismatch: expected rows of shape (3,), found rows of shape (2,)",
    );
    fails(
        appender.append_array(&Array2::<f32>::zeros((1, 3))),
        "Mismatch: expected values of dtype <u4, found <f4 (f32): convert them first",
    );
    disk.faults.arm(Some(Call::Write), 0, Fault::FailsTorn(28));
    appender.append_array(&Array2::<u32>::ones((4, 6)).slice(s![.., ..;2])).unwrap_err();
    assert_eq!(disk.bytes(), before);
    appender.append_array(&Array1::<u32>::ones(3).insert_axis(Axis(0))).unwrap();
    assert_eq!(appender.shape(), Some(vec![3, 3]));
}

#[test]
fn a_first_array_that_fails_settles_nothing() {
    let disk = Disk::new(None);
    let mut appender = disk.open(Options::default()).unwrap();
    disk.faults.arm(Some(Call::CreateTemp), 0, Fault::Fails(28));
    appender.append_array(&Array2::<u32>::zeros((2, 3))).unwrap_err();
    assert_eq!(appender.append_array(&Array1::<u32>::zeros(2)).unwrap(), Some(0..2));
}
