//! `readers npyz|ndarray-npy FILE...`: of each file a line with its name, its shape and its values, or why it was refused.
//!
//! Values are hexadecimal: items in C order, the fields of an item one behind the other, numbers in little-endian.

#![allow(mixed_script_confusables, reason = "a name outside latin-1 is what is read")]

use ndarray::{ArrayD, ShapeBuilder};
use ndarray_npy::{ReadNpyError, ReadableElement, read_npy};
use npyz::{DType, NpyFile, Order};
use num_complex::Complex;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

type Array = (Vec<usize>, Vec<u8>);

/// How an item is told.
trait Item {
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Item for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
        }
    )*};
}

numbers!(f64 f32 i64 i32 u8 u32);

impl Item for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Item for Complex<f64> {
    fn put(&self, out: &mut Vec<u8>) {
        self.re.put(out);
        self.im.put(out);
    }
}

/// Text: readers cut the padding off, which is put back.
struct Padded<T>(Vec<T>, usize);

impl<T: Item + Default + Clone> Item for Padded<T> {
    fn put(&self, out: &mut Vec<u8>) {
        let mut items = self.0.clone();
        items.resize(self.1, T::default());
        items.iter().for_each(|item| item.put(out));
    }
}

#[derive(npyz::Deserialize)]
struct Sample {
    t: f64,
    id: i32,
}

impl Item for Sample {
    fn put(&self, out: &mut Vec<u8>) {
        self.t.put(out);
        self.id.put(out);
    }
}

#[derive(npyz::Deserialize)]
struct Named {
    π: f64,
    n: i32,
}

impl Item for Named {
    fn put(&self, out: &mut Vec<u8>) {
        self.π.put(out);
        self.n.put(out);
    }
}

type Npy = NpyFile<BufReader<File>>;

fn with_npyz(path: &Path) -> Result<Array, Box<dyn Error>> {
    let npy = NpyFile::new(BufReader::new(File::open(path)?))?;
    let dtype = npy.dtype();
    match dtype.descr().trim_matches('\'') {
        "<f8" => told(npy, |item: f64| item),
        "<f4" => told(npy, |item: f32| item),
        ">i4" | "<i4" => told(npy, |item: i32| item),
        "<i8" | "<M8[ns]" => told(npy, |item: i64| item),
        "|u1" => told(npy, |item: u8| item),
        "|b1" => told(npy, |item: bool| item),
        "<c16" => told(npy, |item: Complex<f64>| item),
        "|S5" => told(npy, |item: Vec<u8>| Padded(item, 5)),
        "<U7" => told(npy, |item: Vec<u32>| Padded(item, 7)),
        _ => match dtype {
            DType::Record(fields) if fields.iter().any(|field| field.name == "id") => told(npy, |item: Sample| item),
            DType::Record(_) => told(npy, |item: Named| item),
            other => Err(format!("no type for {}", other.descr()).into()),
        },
    }
}

fn told<T: npyz::Deserialize, I: Item>(npy: Npy, item: impl Fn(T) -> I) -> Result<Array, Box<dyn Error>> {
    let shape: Vec<usize> = npy.shape().iter().map(|&axis| usize::try_from(axis)).collect::<Result<_, _>>()?;
    let is_fortran = npy.order() == Order::Fortran;
    let items: Vec<I> = npy.data::<T>()?.map(|found| found.map(&item)).collect::<Result<_, _>>()?;
    let array = ArrayD::from_shape_vec(shape.clone().set_f(is_fortran), items)?;
    Ok((shape, bytes(&array)))
}

fn with_ndarray_npy(path: &Path) -> Result<Array, Box<dyn Error>> {
    let readers = [
        read_as::<f64>,
        read_as::<f32>,
        read_as::<i32>,
        read_as::<i64>,
        read_as::<u8>,
        read_as::<bool>,
        read_as::<Complex<f64>>,
    ];
    let mut refusal = None;
    for read in readers {
        match read(path) {
            Err(ReadNpyError::WrongDescriptor(found)) => refusal = Some(ReadNpyError::WrongDescriptor(found)),
            done => return Ok(done?),
        }
    }
    Err(refusal.map_or_else(|| "no type".into(), Into::into))
}

fn read_as<T: Item + ReadableElement>(path: &Path) -> Result<Array, ReadNpyError> {
    let array: ArrayD<T> = read_npy(path)?;
    Ok((array.shape().to_vec(), bytes(&array)))
}

fn bytes<T: Item>(array: &ArrayD<T>) -> Vec<u8> {
    let mut out = Vec::new();
    array.iter().for_each(|item| item.put(&mut out));
    out
}

fn main() -> Result<(), String> {
    let mut given = std::env::args().skip(1);
    let read = match given.next().as_deref() {
        Some("npyz") => with_npyz,
        Some("ndarray-npy") => with_ndarray_npy,
        _ => return Err("expected npyz or ndarray-npy, then files".into()),
    };
    for file in given {
        match read(Path::new(&file)) {
            Ok((shape, values)) => {
                let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
                let values: String = values.iter().map(|byte| format!("{byte:02x}")).collect();
                println!("{file}\t{}\t{values}", shape.join(","));
            }
            Err(error) => println!("{file}\trefused\t{}", error.to_string().replace(['\n', '\t'], " ")),
        }
    }
    Ok(())
}
