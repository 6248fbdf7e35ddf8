//! The table as it is on disk, read past every layer of the product.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use rusqlite::{Connection, OpenFlags, types::ValueRef};

/// What a login can change, `pending_logins` first.
const TABLES: [&str; 6] = ["pending_logins", "connections", "identities", "users", "changes", "events"];

/// The rows of each table, in order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows(BTreeMap<&'static str, Vec<Row>>);

/// One row: columns as text, blobs in hexadecimal digits.
pub(crate) type Row = BTreeMap<String, String>;

impl Rows {
    pub(super) fn of(data_dir: &Path) -> Self {
        let file = data_dir.join("multimusic.db");
        let sql = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        Self(TABLES.into_iter().map(|table| (table, read(&sql, table))).collect())
    }

    /// The rows of one table.
    pub(crate) fn table(&self, table: &str) -> &[Row] {
        self.0.get(table).expect("a table that is read")
    }

    /// A column of every row of a table.
    pub(crate) fn column(&self, table: &str, column: &str) -> Vec<&str> {
        self.table(table).iter().map(|row| row[column].as_str()).collect()
    }

    /// Everything but the logins under way, which every callback takes.
    pub(crate) fn written(&self) -> Self {
        let mut rows = self.clone();
        rows.0.remove("pending_logins");
        rows
    }

    /// `provider account user` of every identity.
    pub(crate) fn identities(&self) -> Vec<String> {
        let row = |row: &Row| format!("{} {} {}", row["provider"], row["provider_account_id"], row["user_id"]);
        self.table("identities").iter().map(row).collect()
    }

    /// `user provider account status` of every connection.
    pub(crate) fn connections(&self) -> Vec<String> {
        let row = |row: &Row| {
            format!("{} {} {} {}", row["user_id"], row["provider"], row["provider_account_id"], row["status"])
        };
        self.table("connections").iter().map(row).collect()
    }
}

fn read(sql: &Connection, table: &str) -> Vec<Row> {
    let mut statement = sql.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let rows = statement.query_map([], |row| {
        names.iter().enumerate().map(|(index, name)| Ok((name.clone(), text(row.get_ref(index)?)))).collect()
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        }),
    }
}
