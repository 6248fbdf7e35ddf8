//! Who sits in a seat.

use mm_engine::ports::SeatPage;
use mm_model::{ConnectionKey, Seat};
use rusqlite::params;

use super::{
    fault::Fault,
    query::{self, Fields},
};

/// Keys in one page: a read of some 100 µs, and few pages even where a minute holds thousands.
pub(super) const SEAT_PAGE_MAX: usize = 500;

/// `INDEXED BY` makes a plan that reads anything but the index an error.
pub(super) const SEATED: &str = "SELECT user_id, provider FROM connections INDEXED BY wheel \
     WHERE seat = ?1 AND (user_id, provider) > (?2, ?3) ORDER BY user_id, provider LIMIT ?4";

/// A page of the seat's connections after `cursor`, the last key of the page before.
pub(super) fn seated(sql: &rusqlite::Connection, seat: Seat, cursor: Option<&str>) -> Result<SeatPage, Fault> {
    // Neither id can contain the slash, and every key is greater than two empty texts.
    let (user, provider) = match cursor.map(|cursor| cursor.split_once('/')) {
        None => ("", ""),
        Some(Some(parts)) => parts,
        Some(None) => {
            let row = seat.to_string();
            return Err(Fault::Impossible {
                table: "wheel",
                row,
                field: "cursor",
                rule: "one that this store gave out",
            });
        }
    };
    let limit = i64::try_from(SEAT_PAGE_MAX).unwrap_or(i64::MAX);
    let keys = query::all(sql, SEATED, params![seat.to_string(), user, provider, limit], |row| {
        let mut fields = Fields::new(row, "wheel", 2);
        Ok(ConnectionKey {
            user: fields.need("userId", Fields::parsed)?,
            provider: fields.need("platform", Fields::parsed)?,
        })
    })?;
    let next = keys.last().filter(|_| keys.len() == SEAT_PAGE_MAX).map(ToString::to_string);
    Ok(SeatPage { keys, next })
}
