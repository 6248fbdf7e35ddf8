//! The file's settings, and its way from any older form to the present one.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, config::DbConfig};

use super::open::OpenError;

/// Marks the file as ours in its header: "MMus".
const APPLICATION_ID: i32 = 0x4D4D_7573;

/// Each takes the file one version further; `user_version` counts those done. Numbered files, never changed once
/// released.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// How long a connection waits for a lock. Within one process nothing but a recovery after a crash holds one for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Page cache of each connection in KiB: the inner pages of every index for a hundred thousand connections.
const CACHE_KIB: i64 = 8 * 1024;

/// Size in bytes to which the log is cut after a checkpoint, so that one burst does not keep the disk.
const LOG_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// Prepared statements that a connection keeps: more than the store has.
const STATEMENTS_MAX: usize = 64;

/// Settings of every connection.
fn configure(sql: &Connection) -> Result<(), rusqlite::Error> {
    sql.busy_timeout(BUSY_TIMEOUT)?;
    sql.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // A file that somebody else prepared must not run code in us: no functions in its schema, no edits of the schema.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // A plan must not depend on what is bound: with partial indices in the table SQLite would otherwise plan the query for
    // one person's rows anew at each read, which costs five times what the read does.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    sql.pragma_update(None, "cell_size_check", true)?;
    sql.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // No temporary files beside the data: they would have the umask's mode.
    sql.pragma_update(None, "temp_store", "MEMORY")
}

/// Settings of a reader.
pub(super) fn configure_reader(sql: &Connection) -> Result<(), rusqlite::Error> {
    configure(sql)?;
    sql.pragma_update(None, "query_only", true)
}

/// Settings of the writer. The file is known to be ours: the first of them changes it.
fn configure_writer(sql: &Connection) -> Result<(), rusqlite::Error> {
    let mode: String = sql.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let refused = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let message = format!("write-ahead logging is not possible here (journal mode {mode}): use a local disk");
        return Err(rusqlite::Error::SqliteFailure(refused, Some(message)));
    }
    sql.pragma_update(None, "synchronous", "FULL")?;
    // Where fsync does not reach the medium (macOS), this does.
    sql.pragma_update(None, "fullfsync", true)?;
    sql.pragma_update(None, "foreign_keys", true)?;
    sql.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    // Deleted tokens and verifiers are overwritten wherever that costs no page of its own.
    sql.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))
}

/// Makes the writer's connection ready: the file is new or ours, of a version that we know, and brought up to date.
pub(super) fn prepare(sql: &mut Connection, file: &Path) -> Result<(), OpenError> {
    let failed = |doing| move |source: rusqlite::Error| OpenError::sqlite(file, doing, source);
    configure(sql).map_err(failed("configure"))?;
    let number = |pragma| sql.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let application = number("application_id").map_err(failed("read"))?;
    let version = number("user_version").map_err(failed("read"))?;
    let objects: i64 =
        sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed("read"))?;
    let new = application == 0 && version == 0 && objects == 0;
    if !new && application != APPLICATION_ID {
        return Err(OpenError::Foreign { file: file.to_owned() });
    }
    let known = MIGRATIONS.len();
    let done = usize::try_from(version).ok().filter(|done| *done <= known);
    let Some(done) = done else {
        return Err(OpenError::Newer { file: file.to_owned(), found: version, known });
    };
    configure_writer(sql).map_err(failed("configure"))?;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        migrate(sql, migration, index + 1).map_err(failed("migrate"))?;
    }
    Ok(())
}

/// One migration, whole or not at all: the version number is part of the transaction.
pub(super) fn migrate(sql: &mut Connection, migration: &str, version: usize) -> Result<(), rusqlite::Error> {
    let transaction = sql.transaction()?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))?;
    transaction.commit()
}
