//! Rows out of SQLite, one field after the other, each checked for being what it claims to be.

use std::{fmt::Display, str::FromStr};

use mm_model::Timestamp;
use rusqlite::{Connection, Params, Row, types::FromSql, types::ValueRef};
use serde::{Deserialize, Serialize, de::IntoDeserializer};

use super::fault::Fault;

/// The first row, decoded; `None` if there is none.
pub(super) fn first<T>(
    sql: &Connection,
    text: &str,
    params: impl Params,
    decode: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = sql.prepare_cached(text)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(decode).transpose()
}

/// Every row, decoded. The statement carries its own limit where the table has none.
pub(super) fn all<T>(
    sql: &Connection,
    text: &str,
    params: impl Params,
    mut decode: impl FnMut(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = sql.prepare_cached(text)?;
    let mut rows = statement.query(params)?;
    let mut decoded = Vec::new();
    while let Some(row) = rows.next()? {
        decoded.push(decode(row)?);
    }
    Ok(decoded)
}

/// Runs a statement that returns nothing; says how many rows it changed.
pub(super) fn execute(sql: &Connection, text: &str, params: impl Params) -> Result<usize, Fault> {
    Ok(sql.prepare_cached(text)?.execute(params)?)
}

/// A row's fields, read from left to right.
pub(super) struct Fields<'r> {
    row: &'r Row<'r>,
    next: usize,
    table: &'static str,
    key_columns: usize,
}

impl<'r> Fields<'r> {
    /// The fields of a row of `table` whose first `key_columns` columns are its key; none where the key is not to be
    /// shown or there is but one row.
    pub(super) const fn new(row: &'r Row<'r>, table: &'static str, key_columns: usize) -> Self {
        Self { row, next: 0, table, key_columns }
    }

    /// The next field, of SQLite's own types.
    pub(super) fn take<T: FromSql>(&mut self, field: &'static str) -> Result<T, Fault> {
        let index = self.next;
        self.next += 1;
        self.row.get(index).map_err(|error| match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..) => self.impossible(field, "of its column's type and range"),
            other => Fault::Sqlite(other),
        })
    }

    /// The next field, read as `read` says, which must be there.
    pub(super) fn need<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, Fault>,
    ) -> Result<T, Fault> {
        read(self, field)?.ok_or_else(|| self.impossible(field, "present"))
    }

    /// The next field as a point in time, if it is there.
    pub(super) fn time(&mut self, field: &'static str) -> Result<Option<Timestamp>, Fault> {
        Ok(self.number(field)?.map(Timestamp::from_unix))
    }

    /// The next field as a count or a number of seconds, if it is there.
    pub(super) fn number(&mut self, field: &'static str) -> Result<Option<u64>, Fault> {
        let number: Option<i64> = self.take(field)?;
        number.map(|number| u64::try_from(number).map_err(|_| self.impossible(field, "not negative"))).transpose()
    }

    /// The next field as an identifier or another text with a grammar, if it is there.
    pub(super) fn parsed<T: FromStr>(&mut self, field: &'static str) -> Result<Option<T>, Fault> {
        let text: Option<String> = self.take(field)?;
        text.map(|text| text.parse().map_err(|_| self.impossible(field, "well-formed"))).transpose()
    }

    /// The next field as one of an enum's words, if it is there.
    pub(super) fn word<T: for<'de> Deserialize<'de>>(&mut self, field: &'static str) -> Result<Option<T>, Fault> {
        let text: Option<String> = self.take(field)?;
        text.map(|text| {
            let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
                text.as_str().into_deserializer();
            T::deserialize(deserializer).map_err(|_| self.impossible(field, "one of the known words"))
        })
        .transpose()
    }

    /// The next field as JSON, if it is there. The error never quotes it.
    pub(super) fn json<T: for<'de> Deserialize<'de>>(&mut self, field: &'static str) -> Result<Option<T>, Fault> {
        let text: Option<String> = self.take(field)?;
        text.map(|text| serde_json::from_str(&text).map_err(|_| self.impossible(field, "JSON of its shape")))
            .transpose()
    }

    /// The fields named, which must all be absent.
    pub(super) fn absent(&mut self, fields: &[&'static str], rule: &'static str) -> Result<(), Fault> {
        for field in fields {
            let index = self.next;
            self.next += 1;
            if self.row.get_ref(index)? != ValueRef::Null {
                return Err(self.impossible(field, rule));
            }
        }
        Ok(())
    }

    /// The error about a field of this row.
    pub(super) fn impossible(&self, field: &'static str, rule: &'static str) -> Fault {
        let part = |index| match self.row.get_ref(index) {
            Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Ok(ValueRef::Integer(number)) => number.to_string(),
            _ => "?".to_owned(),
        };
        let row = match self.key_columns {
            0 => "…".to_owned(),
            columns => (0..columns).map(part).collect::<Vec<_>>().join("/"),
        };
        Fault::Impossible { table: self.table, row, field, rule }
    }
}

/// An enum's word, as serde spells it: rows, messages and responses share one vocabulary.
pub(super) fn word<T: Serialize>(
    value: T,
    table: &'static str,
    row: &dyn Display,
    field: &'static str,
) -> Result<String, Fault> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(Fault::Impossible { table, row: row.to_string(), field, rule: "a plain word" }),
    }
}

/// A number as SQLite's integers hold it.
pub(super) fn integer(number: u64, table: &'static str, row: &dyn Display, field: &'static str) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::Impossible { table, row: row.to_string(), field, rule: "below 2^63" })
}
