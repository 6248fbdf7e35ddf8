//! Data directories that cannot be used: a clear line, and nothing in them is touched.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use reqwest::StatusCode;

use crate::{disk::Mount, person::Person, product::Plan};

/// Every file under a directory, with its content.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directory_is_refused_while_the_first_goes_on() {
    let plan = Plan::developer().flag("--speed").flag("60").flag("--token-lifetime").flag("60");
    let mut first = plan.start().await;
    let person = Person::at(&plan.url());
    person.connect_by_forms("soundcloud", "alice").await;
    let token_id = person.token("soundcloud").await["token_id"].clone();

    let second = Plan::developer().data_dir(&plan.data_dir);
    let ended = second.refused().await;
    ended.assert_failed(&["in use by another process", &format!("pid {}", first.pid()), "choose another DATA_DIR"]);
    assert!(ended.took < Duration::from_secs(5), "{ended:?}");

    assert!(first.is_running());
    let refreshed = async {
        while person.token("soundcloud").await["token_id"] == token_id {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refreshed).await.expect("the first goes on refreshing");
}

#[tokio::test]
async fn a_file_in_the_directorys_place_is_named_and_left_alone() {
    let plan = Plan::developer();
    fs::write(&plan.data_dir, "somebody's notes").unwrap();
    let ended = plan.refused().await;
    ended.assert_misconfigured(&[&plan.data_dir.display().to_string(), "DATA_DIR"]);
    assert_eq!(fs::read_to_string(&plan.data_dir).unwrap(), "somebody's notes");
}

#[tokio::test]
async fn a_damaged_database_is_named_and_left_alone() {
    type Damage = fn(&mut Vec<u8>);
    let cases: [(&str, Damage); 4] = [
        ("no database at all", |bytes| *bytes = b"these are not the pages you are looking for".repeat(100)),
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2 + 13)),
        ("its head overwritten", |bytes| bytes[..512].fill(0xff)),
        ("its schema overwritten", |bytes| bytes[512..4096].fill(0x5a)),
    ];
    for (name, damage) in cases {
        let plan = Plan::developer();
        let product = plan.start().await;
        product.signal("TERM");
        assert_eq!(product.ended().await.code, Some(0));
        let database = plan.sandbox_dir().join("multimusic.db");
        let mut bytes = fs::read(&database).unwrap();
        damage(&mut bytes);
        fs::write(&database, &bytes).unwrap();
        let key = fs::read(plan.sandbox_dir().join("key")).unwrap();
        let ended = plan.refused().await;
        ended.assert_failed(&[&database.display().to_string(), "damaged", "restore a copy"]);
        assert!(fs::read(&database).unwrap() == bytes, "{name}: it was written to");
        assert_eq!(fs::read(plan.sandbox_dir().join("key")).unwrap(), key, "{name}");
    }
}

#[tokio::test]
async fn a_damaged_memory_of_the_sandbox_is_named_and_left_alone() {
    let plan = Plan::developer();
    fs::create_dir_all(plan.sandbox_dir()).unwrap();
    let state = plan.sandbox_dir().join("sandbox.json");
    fs::write(&state, "{\"format\":1,").unwrap();
    plan.refused().await.assert_failed(&[&state.display().to_string(), "delete it to start afresh"]);
    assert_eq!(fs::read_to_string(&state).unwrap(), "{\"format\":1,");
}

#[tokio::test]
#[ignore = "needs the right to mount a tmpfs"]
async fn a_directory_that_cannot_be_written_is_named_and_left_alone() {
    let mount = Mount::new("size=8m");
    let plan = Plan::developer().data_dir(&mount.path().join("data"));
    let product = plan.start().await;
    product.signal("TERM");
    assert_eq!(product.ended().await.code, Some(0));
    let before = contents(&plan.data_dir);
    mount.remount("ro");
    plan.refused().await.assert_misconfigured(&[&plan.data_dir.display().to_string(), "DATA_DIR"]);
    assert!(contents(&plan.data_dir) == before);
    mount.remount("rw");
    let _product = plan.start().await;
    assert_eq!(Person::at(&plan.url()).get("/health").await.status, StatusCode::OK, "healed by hand, it starts");
}

#[tokio::test]
async fn what_a_start_makes_is_its_owners_alone() {
    use std::os::unix::fs::MetadataExt as _;
    let plan = Plan::developer();
    let _product = plan.start().await;
    for directory in [&plan.data_dir, &plan.sandbox_dir()] {
        assert_eq!(fs::metadata(directory).unwrap().mode() & 0o777, 0o700, "{}", directory.display());
    }
    for name in ["key", "multimusic.db", "lane.journal"] {
        assert_eq!(fs::metadata(plan.sandbox_dir().join(name)).unwrap().mode() & 0o077, 0, "{name}");
    }
}
