use mm_engine::testing::ManualClock;
use tempfile::TempDir;

use super::*;

struct Fixture {
    directory: TempDir,
    clock: Arc<dyn Clock>,
}

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix(1_000_000)));
        Self { directory: TempDir::new().unwrap(), clock }
    }

    /// A writer that the test runs by hand.
    fn writer(&self) -> Writer {
        let shared = Arc::new(Shared::default());
        let (_, jobs) = mpsc::channel(1);
        Writer::open(self.directory.path(), Limits::default(), Arc::clone(&self.clock), shared, jobs).unwrap()
    }

    /// The bodies that the next start finds.
    fn found(&self) -> Vec<String> {
        self.writer().shared.groups().entries().iter().map(|entry| entry.body.to_string()).collect()
    }
}

/// Puts the bodies in one group and gives what each was answered.
fn put(writer: &mut Writer, bodies: &[&str]) -> Vec<Result<(), LaneError>> {
    let (jobs, answers): (Vec<_>, Vec<_>) = bodies
        .iter()
        .map(|body| {
            let (done, answer) = oneshot::channel();
            let job = Job::Put { group: "a".into(), deduplication_id: (*body).into(), body: (*body).into(), done };
            (job, answer)
        })
        .unzip();
    writer.carry_out(jobs);
    answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
}

#[test]
fn a_put_that_a_failing_disk_did_not_take_is_refused_and_may_be_repeated() {
    let f = Fixture::new();
    let mut writer = f.writer();
    assert!(put(&mut writer, &["one"])[0].is_ok());
    writer.file.fail_writes().unwrap();
    for refused in put(&mut writer, &["two", "two", "three"]) {
        assert!(matches!(refused, Err(LaneError::Storage(_))));
    }
    assert_eq!(writer.shared.groups().len(), 1, "nobody sees what is not on the disk");
    let again = put(&mut writer, &["two", "three"]);
    assert!(again.iter().all(Result::is_ok), "the journal was written anew");
    drop(writer);
    assert_eq!(f.found(), ["one", "two", "three"]);
}

#[test]
fn a_deletion_that_a_failing_disk_did_not_take_is_made_good() {
    let f = Fixture::new();
    let mut writer = f.writer();
    assert!(put(&mut writer, &["one", "two"]).iter().all(Result::is_ok));
    let received = writer.shared.groups().take(writer.clock.elapsed());
    assert!(writer.shared.groups().delete(received[0].receipt, writer.clock.elapsed()));
    writer.file.fail_writes().unwrap();
    writer.carry_out(vec![Job::Delete { id: received[0].receipt.id, done: None }]);
    assert!(put(&mut writer, &["three"])[0].is_ok());
    drop(writer);
    assert_eq!(f.found(), ["two", "three"]);
}

#[test]
fn puts_that_come_together_are_written_together_and_in_order() {
    let f = Fixture::new();
    let mut writer = f.writer();
    let before = writer.file.used();
    assert!(put(&mut writer, &["1", "2", "1", "3"]).iter().all(Result::is_ok));
    let bytes: usize = writer.shared.groups().entries().iter().map(Entry::record_bytes).sum();
    assert_eq!(writer.file.used() - before, u64::try_from(bytes).unwrap());
    drop(writer);
    assert_eq!(f.found(), ["1", "2", "3"]);
}

#[test]
fn ids_are_forgotten_when_they_are_too_many() {
    let mut remembered = Remembered::default();
    let now = Timestamp::from_unix(1_000_000);
    for number in 0..=REMEMBERED_MAX {
        remembered.add(number.to_string().into(), now, now);
    }
    assert!(!remembered.contains("0", now), "the oldest");
    assert!(remembered.contains(&REMEMBERED_MAX.to_string(), now));
    assert!(remembered.put_at.len() <= REMEMBERED_MAX && remembered.order.len() <= REMEMBERED_MAX);
}
