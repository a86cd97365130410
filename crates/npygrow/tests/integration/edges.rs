//! Where two things meet: a file changed by others at a bad moment, a batch that goes on after its failure, numbers at
//! their ends.

use crate::support::{Disk, NAME, fails, ours};
use npygrow::Options;
use npygrow_testkit::faulty::{Call, Fault};

#[test]
fn a_batch_that_failed_counts_nothing() {
    for file in [None, Some(ours(&[1]))] {
        let disk = Disk::new(file.as_deref());
        let mut appender = disk.open(Options::default()).unwrap();
        appender.define(&"<u4".parse().unwrap(), &[]).unwrap();
        let mut batch = appender.begin(1).unwrap();
        disk.faults.arm(Some(Call::Write), 0, Fault::Fails(28));
        batch.write(&[2, 0, 0, 0]).unwrap_err();
        fails(batch.commit(), "Mismatch: this append failed before: begin a new one");
        assert_eq!(disk.shared.get(NAME), file);
    }
}
