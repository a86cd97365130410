//! Prints `testdata/hostile/errors.txt`: what the library says of every hostile file now.

use npygrow_testkit::golden::{Answer, hostile};

fn main() {
    for file in hostile() {
        println!("{}", Answer::of(&file).line());
    }
}
