use std::{
    fs,
    future::Future,
    os::unix::fs::PermissionsExt as _,
    pin::pin,
    task::{Context, Poll, Waker},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use mm_engine::{ports::Family, testing::SeededRng};
use tempfile::TempDir;

use super::*;

fn rng(seed: u64) -> Arc<dyn Rng> {
    Arc::new(SeededRng::new(seed))
}

fn context() -> KeyContext {
    KeyContext { table: "multimusic-tokens".to_owned(), family: Family::Refresh, number: 3 }
}

/// Nothing here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("waits"),
    }
}

fn wrap(keys: &KeyFile) -> Vec<u8> {
    now(keys.wrap(&context(), &BranchKey([0x5a; 32]))).unwrap()
}

fn unwraps(keys: &KeyFile, context: &KeyContext, wrapped: &[u8]) -> bool {
    match now(keys.unwrap(context, wrapped)) {
        Ok(key) => {
            assert_eq!(key.0, [0x5a; 32]);
            true
        }
        Err(refused) => {
            assert!(matches!(refused, KeyError::Refused { family, number }
                if family == context.family && number == context.number));
            false
        }
    }
}

fn file_of(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("key")
}

#[test]
fn a_wrapped_key_opens_under_its_context_alone() {
    let keys = KeyFile::from_text(&"ab".repeat(32), rng(1)).unwrap();
    let wrapped = wrap(&keys);
    assert_eq!(wrapped.len(), WRAPPED_BYTES);
    assert!(unwraps(&keys, &context(), &wrapped));
    for other in [
        KeyContext { table: "multimusic-token".to_owned(), ..context() },
        KeyContext { family: Family::Access, ..context() },
        KeyContext { number: 4, ..context() },
    ] {
        assert!(!unwraps(&keys, &other, &wrapped), "{other:?}");
    }
}

#[test]
fn a_wrapped_key_with_any_bit_flipped_or_byte_missing_does_not_open() {
    let keys = KeyFile::from_text(&"ab".repeat(32), rng(1)).unwrap();
    let wrapped = wrap(&keys);
    for bit in 0..wrapped.len() * 8 {
        let mut tampered = wrapped.clone();
        tampered[bit / 8] ^= 1 << (bit % 8);
        assert!(!unwraps(&keys, &context(), &tampered), "bit {bit}");
    }
    for length in 0..wrapped.len() {
        assert!(!unwraps(&keys, &context(), &wrapped[..length]), "{length} bytes");
    }
    assert!(!unwraps(&keys, &context(), &[&wrapped[..], &[0]].concat()));
}

#[test]
fn the_same_key_is_never_wrapped_to_the_same_bytes() {
    let keys = KeyFile::from_text(&"ab".repeat(32), rng(1)).unwrap();
    assert_ne!(wrap(&keys), wrap(&keys));
}

#[test]
fn the_first_start_makes_a_key_file_that_every_later_start_reads() {
    let directory = TempDir::new().unwrap();
    let wrapped = wrap(&KeyFile::open_or_create(directory.path(), true, rng(1)).unwrap());
    let written = fs::read(file_of(&directory)).unwrap();
    assert_eq!(fs::metadata(file_of(&directory)).unwrap().permissions().mode() & 0o7777, 0o600);
    for may_create in [true, false] {
        let again = KeyFile::open_or_create(directory.path(), may_create, rng(2)).unwrap();
        assert!(unwraps(&again, &context(), &wrapped));
    }
    assert_eq!(fs::read(file_of(&directory)).unwrap(), written, "never written to again");
}

#[test]
fn a_data_directory_that_is_missing_is_made_for_its_owner() {
    let directory = TempDir::new().unwrap();
    let inner = directory.path().join("a/data");
    KeyFile::open_or_create(&inner, true, rng(1)).unwrap();
    assert_eq!(fs::metadata(inner).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn a_missing_key_file_is_not_replaced_once_keys_depend_on_it() {
    let directory = TempDir::new().unwrap();
    let missing = KeyFile::open_or_create(directory.path(), false, rng(1)).unwrap_err();
    assert!(matches!(&missing, KeyFileError::Missing { path } if *path == file_of(&directory)), "{missing}");
    assert!(!file_of(&directory).exists());
}

#[test]
fn another_key_is_refused_at_unwrapping() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let wrapped = wrap(&KeyFile::open_or_create(one.path(), true, rng(1)).unwrap());
    let other = KeyFile::open_or_create(two.path(), true, rng(2)).unwrap();
    assert!(!unwraps(&other, &context(), &wrapped));
}

#[test]
fn a_key_file_open_to_others_is_refused_with_the_remedy() {
    let directory = TempDir::new().unwrap();
    KeyFile::open_or_create(directory.path(), true, rng(1)).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(file_of(&directory), fs::Permissions::from_mode(mode)).unwrap();
        let refused = KeyFile::open_or_create(directory.path(), true, rng(1)).unwrap_err().to_string();
        let path = file_of(&directory).display().to_string();
        assert_eq!(refused, format!("{path} is open to others (mode {mode:o}): chmod 600 {path}"));
    }
    fs::set_permissions(file_of(&directory), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(KeyFile::open_or_create(directory.path(), true, rng(1)).is_ok(), "read-only for the owner is fine");
}

#[test]
fn a_key_file_without_a_whole_key_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    KeyFile::open_or_create(directory.path(), true, rng(1)).unwrap();
    let whole = fs::read_to_string(file_of(&directory)).unwrap();
    let key = whole.lines().last().unwrap();
    for content in ["", &whole[..20], &whole[..whole.len() - 2], key, &format!("# something else\n{key}\n")] {
        fs::write(file_of(&directory), content).unwrap();
        let refused = KeyFile::open_or_create(directory.path(), true, rng(1)).unwrap_err();
        assert!(matches!(refused, KeyFileError::Unusable { .. }), "{refused}");
        assert!(!refused.to_string().contains(key));
        assert_eq!(fs::read_to_string(file_of(&directory)).unwrap(), content);
    }
}

#[test]
fn a_key_is_read_from_each_of_its_spellings() {
    // Bytes whose base64 uses the characters in which the alphabets differ.
    let key: [u8; 32] = std::array::from_fn(|at| 0xff - u8::try_from(at).unwrap());
    let wrapped = wrap(&KeyFile::from_text(&STANDARD.encode(key), rng(1)).unwrap());
    let hexadecimal = key.map(|byte| format!("{byte:02x}")).concat();
    for text in [
        STANDARD_NO_PAD.encode(key),
        URL_SAFE.encode(key),
        URL_SAFE_NO_PAD.encode(key),
        hexadecimal.to_uppercase(),
        format!("  {hexadecimal}\n"),
    ] {
        assert!(unwraps(&KeyFile::from_text(&text, rng(2)).unwrap(), &context(), &wrapped), "{text}");
    }
}

#[test]
fn what_is_no_key_is_refused_without_being_quoted() {
    let short = STANDARD.encode([1; 31]);
    let long = STANDARD.encode([1; 33]);
    let almost = format!("{}g", "a".repeat(63));
    for text in ["", "canary password", &short, &long, &almost, &"a".repeat(62), &"ab".repeat(33), "ü"] {
        let refused = KeyFile::from_text(text, rng(1)).unwrap_err().to_string();
        assert!(!refused.contains('\n') && refused.contains("openssl rand -base64 32"), "{refused}");
        assert!(text.is_empty() || !refused.contains(text));
    }
}

#[test]
fn what_is_shown_of_a_key_is_nothing() {
    assert_eq!(format!("{:?}", KeyFile::from_text(&"ab".repeat(32), rng(1)).unwrap()), "KeyFile(…)");
}
