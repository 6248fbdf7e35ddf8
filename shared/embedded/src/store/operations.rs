//! The rows that belong to nobody: the wheel's tick, the circuits, the branch keys.

use mm_engine::ports::{Family, WrappedKey};
use mm_model::{AttemptId, Circuit, Minute, ProviderId};
use rusqlite::{Row, params};

use super::{
    fault::Fault,
    query::{self, Fields},
    writer::Unit,
};

/// The last minute whose nudges were all sent.
pub(super) fn tick(sql: &rusqlite::Connection) -> Result<Option<Minute>, Fault> {
    query::first(sql, "SELECT minute FROM tick", [], |row| {
        Ok(Minute::new(Fields::new(row, "tick", 0).need("minute", Fields::number)?))
    })
}

/// Notes that minute; never back.
pub(super) fn advance_tick(unit: &mut Unit<'_>, minute: Minute) -> Result<(), Fault> {
    let number = query::integer(minute.number(), "tick", &"tick", "minute")?;
    let text = "INSERT INTO tick (id, minute) VALUES (1, ?1) \
                ON CONFLICT (id) DO UPDATE SET minute = excluded.minute WHERE excluded.minute > minute";
    let advanced = query::execute(unit.sql, text, [number])? > 0;
    unit.tally.writes += u64::from(advanced);
    unit.tally.refused += u64::from(!advanced);
    Ok(())
}

/// A provider's circuit.
pub(super) fn circuit(sql: &rusqlite::Connection, provider: &ProviderId) -> Result<Circuit, Fault> {
    let text = "SELECT provider, probe, until, trips FROM circuits WHERE provider = ?1";
    Ok(query::first(sql, text, [provider.as_str()], decode_circuit)?.unwrap_or_default())
}

/// Replaces a circuit that still is `old`; says whether it was.
pub(super) fn swap_circuit(
    unit: &mut Unit<'_>,
    provider: &ProviderId,
    old: Circuit,
    new: Circuit,
) -> Result<bool, Fault> {
    if circuit(unit.sql, provider)? != old {
        unit.tally.refused += 1;
        return Ok(false);
    }
    let (probe, until, trips) = match new {
        Circuit::Closed => {
            query::execute(unit.sql, "DELETE FROM circuits WHERE provider = ?1", [provider.as_str()])?;
            unit.tally.writes += 1;
            return Ok(true);
        }
        Circuit::Open { until, trips } => (None, until, trips),
        Circuit::Probing { probe, until, trips } => (Some(probe), until, trips),
    };
    let until = query::integer(until.unix(), "circuits", provider, "until")?;
    let text = "INSERT INTO circuits (provider, probe, until, trips) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (provider) \
                DO UPDATE SET probe = excluded.probe, until = excluded.until, trips = excluded.trips";
    let probe = probe.as_ref().map(AttemptId::as_bytes);
    query::execute(unit.sql, text, params![provider.as_str(), probe, until, trips])?;
    unit.tally.writes += 1;
    Ok(true)
}

fn decode_circuit(row: &Row<'_>) -> Result<Circuit, Fault> {
    let mut fields = Fields::new(row, "circuits", 1);
    fields.take::<String>("provider")?;
    let probe = fields.take::<Option<_>>("probe")?.map(AttemptId::from_bytes);
    let until = fields.need("until", Fields::time)?;
    let trips = fields.take("trips")?;
    Ok(match probe {
        Some(probe) => Circuit::Probing { probe, until, trips },
        None => Circuit::Open { until, trips },
    })
}

/// A family's branch keys, the oldest first. There are as many as an operator made: a handful.
pub(super) fn branch_keys(sql: &rusqlite::Connection, family: Family) -> Result<Vec<WrappedKey>, Fault> {
    let text = "SELECT family, number, wrapped, created_at FROM branch_keys WHERE family = ?1 ORDER BY number";
    query::all(sql, text, [family.as_str()], |row| {
        let mut fields = Fields::new(row, "branch_keys", 2);
        fields.take::<String>("family")?;
        Ok(WrappedKey {
            number: fields.take("number")?,
            wrapped: fields.take("wrapped")?,
            created_at: fields.need("createdAt", Fields::time)?,
        })
    })
}

/// Adds a branch key; says whether its number was free. Never writes over one: every token sealed under it would be lost.
pub(super) fn add_branch_key(unit: &mut Unit<'_>, family: Family, key: &WrappedKey) -> Result<bool, Fault> {
    let row = format!("{}/{}", family.as_str(), key.number);
    let created_at = query::integer(key.created_at.unix(), "branch_keys", &row, "createdAt")?;
    if key.number == 0 {
        return Err(Fault::Impossible { table: "branch_keys", row, field: "number", rule: "at least one" });
    }
    let text = "INSERT INTO branch_keys (family, number, wrapped, created_at) VALUES (?1, ?2, ?3, ?4) \
                ON CONFLICT (family, number) DO NOTHING";
    let added = query::execute(unit.sql, text, params![family.as_str(), key.number, key.wrapped, created_at])? > 0;
    unit.tally.writes += u64::from(added);
    unit.tally.refused += u64::from(!added);
    Ok(added)
}
