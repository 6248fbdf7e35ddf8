use std::{
    error::Error as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::Connection as Sql;
use tempfile::TempDir;

use super::fixture::{connect, read, store};
use crate::store::{OpenError, SqliteStore, schema};

fn database(directory: &TempDir) -> PathBuf {
    directory.path().join("multimusic.db")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refused(directory: &Path) -> OpenError {
    SqliteStore::open(directory).expect_err("must not open")
}

#[tokio::test]
async fn what_it_makes_is_for_its_owner_only() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("a/b");
    let store = SqliteStore::open(&directory).unwrap();
    connect(&store, "ann", 1).await;
    assert_eq!(mode(&directory), 0o700);
    let names = ["multimusic.db", "multimusic.db-wal", "multimusic.db-shm", "multimusic.lock"];
    assert_eq!(names.map(|name| mode(&directory.join(name))), [0o600; 4]);
}

#[tokio::test]
async fn a_directory_belongs_to_one_store_at_a_time() {
    let (directory, store) = store();
    connect(&store, "ann", 1).await;
    let line = refused(directory.path()).to_string();
    let expected = format!(
        "{} is in use by another process (pid {}): stop it, or choose another DATA_DIR",
        directory.path().display(),
        std::process::id()
    );
    assert_eq!(line, expected);
    drop(store);
    let store = SqliteStore::open(directory.path()).unwrap();
    assert!(read(&store, "ann").await.is_some());
}

#[tokio::test]
async fn closing_folds_the_log_into_the_file() {
    let (directory, store) = store();
    connect(&store, "ann", 1).await;
    drop(store);
    let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["multimusic.db", "multimusic.lock"]);
}

#[test]
fn the_file_says_whose_it_is_and_how_new() {
    let (directory, store) = store();
    drop(store);
    let sql = Sql::open(database(&directory)).unwrap();
    let number = |pragma| sql.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((number("application_id"), number("user_version")), (0x4D4D_7573, 1));
}

#[test]
fn a_file_of_a_newer_build_is_left_alone() {
    let (directory, store) = store();
    drop(store);
    let sql = Sql::open(database(&directory)).unwrap();
    sql.pragma_update(None, "user_version", 7).unwrap();
    drop(sql);
    let before = fs::read(database(&directory)).unwrap();
    let line = refused(directory.path()).to_string();
    assert!(
        line.ends_with(
            "has schema version 7 and this build knows up to 1: start the newer build, or choose another DATA_DIR"
        ),
        "{line}"
    );
    assert!(fs::read(database(&directory)).unwrap() == before);
}

#[test]
fn a_negative_version_is_no_older_build() {
    let (directory, store) = store();
    drop(store);
    Sql::open(database(&directory)).unwrap().pragma_update(None, "user_version", -1).unwrap();
    assert!(matches!(refused(directory.path()), OpenError::Newer { found: -1, .. }));
}

#[test]
fn another_programs_database_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let sql = Sql::open(database(&directory)).unwrap();
    sql.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    drop(sql);
    let before = fs::read(database(&directory)).unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert!(fs::read(database(&directory)).unwrap() == before);
}

#[test]
fn what_is_no_database_is_said_to_be_none() {
    let directory = TempDir::new().unwrap();
    fs::write(database(&directory), "not a database, but long enough to look like one ".repeat(100)).unwrap();
    let error = refused(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("is damaged or not a database: restore a copy"), "{error}");
    assert!(error.source().is_some_and(|source| source.to_string().contains("not a database")));
}

#[test]
fn a_directory_that_cannot_be_is_an_error_with_its_remedy() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for directory in [file.clone(), file.join("below")] {
        let line = refused(&directory).to_string();
        let expected =
            format!("cannot use {}: DATA_DIR must be a directory that this process may write", directory.display());
        assert_eq!(line, expected);
    }
}

#[test]
fn a_directory_where_the_database_should_be_is_an_error() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(database(&directory)).unwrap();
    let error = refused(directory.path());
    assert!(matches!(&error, OpenError::Inaccessible { path, .. } if *path == database(&directory)), "{error:?}");
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_an_error_for_all_but_root() {
    let (directory, store) = store();
    drop(store);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
    for name in ["multimusic.db", "multimusic.lock"] {
        fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(0o400)).unwrap();
    }
    match SqliteStore::open(directory.path()) {
        Err(error) => assert!(matches!(error, OpenError::Inaccessible { .. }), "{error:?}"),
        // Root may write anywhere; then the store has to work.
        Ok(store) => assert_eq!(connect(&store, "ann", 1).await.key, read(&store, "ann").await.unwrap().key),
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_migration_that_fails_leaves_no_trace() {
    let directory = TempDir::new().unwrap();
    let mut sql = Sql::open(database(&directory)).unwrap();
    schema::migrate(&mut sql, "CREATE TABLE one (a TEXT); CREATE TABLE one (b TEXT)", 1).unwrap_err();
    let number = |pragma| sql.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((number("application_id"), number("user_version")), (0, 0));
    let objects: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(objects, 0);
}

#[tokio::test]
async fn connections_are_set_up_as_the_design_wants() {
    let (_directory, store) = store();
    let pragmas = ["journal_mode", "synchronous", "foreign_keys", "trusted_schema", "query_only"];
    let ask = move |sql: &Sql| {
        pragmas.map(|pragma| {
            sql.pragma_query_value(None, pragma, |row| {
                Ok(row.get::<_, String>(0).or_else(|_| row.get::<_, i64>(0).map(|n| n.to_string())))
            })
            .unwrap()
            .unwrap()
        })
    };
    let writer = store.writer.write("look", move |unit| Ok(ask(unit.sql))).await.unwrap();
    assert_eq!(writer, ["wal", "2", "1", "0", "0"]);
    let reader = store.read_inline("look", |sql| Ok(ask(sql))).unwrap();
    assert_eq!((reader[0].as_str(), reader[3].as_str(), reader[4].as_str()), ("wal", "0", "1"));
}
