//! The journal's records as bytes.
//!
//! ```text
//! length  u32   bytes of the payload; 0 ends the journal
//! crc32   u32   of length and payload
//! payload       kind u8, then
//!   put      1  id u64, put_at u64, group (u16 + bytes), deduplication id (u16 + bytes), body (the rest)
//!   deleted  2  id u64
//!   seen     3  put_at u64, deduplication id (the rest)
//! ```
//! Numbers are little-endian. The checksum covers the length, so that a damaged length is not taken for a long record.

use std::sync::Arc;

use mm_engine::ports::LANE_MESSAGE_BYTES_MAX;
use mm_model::Timestamp;

/// Length and checksum.
pub(super) const HEADER_BYTES: usize = 8;

/// Longest group or deduplication id in bytes. A connection's key is under 300, a version 22.
pub(super) const NAME_BYTES_MAX: usize = 512;

/// Longest payload in bytes: a message of the largest size with its names and numbers.
const PAYLOAD_BYTES_MAX: usize = LANE_MESSAGE_BYTES_MAX + 2 * NAME_BYTES_MAX + 32;

/// Bytes of a whole `deleted` record.
pub(super) const DELETED_BYTES: usize = HEADER_BYTES + 1 + 8;

const PUT: u8 = 1;
const DELETED: u8 = 2;
const SEEN: u8 = 3;

/// One record.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A message was put.
    Put(Entry),
    /// The message with this id is done.
    Deleted(u64),
    /// A deduplication id whose message is gone.
    Seen {
        /// When its message was put.
        put_at: Timestamp,
        /// The id.
        deduplication_id: Arc<str>,
    },
}

/// A message as it was put.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its place in the order of all messages.
    pub(super) id: u64,
    pub(super) put_at: Timestamp,
    /// Whose lane it is on.
    pub(super) group: Arc<str>,
    pub(super) deduplication_id: Arc<str>,
    pub(super) body: Arc<str>,
}

/// What stands at a place in the journal.
pub(super) enum Decoded {
    /// A record of this many bytes.
    Record(Record, usize),
    /// Nothing more.
    End,
    /// Something that is no record: torn or damaged.
    Bad,
}

impl Entry {
    /// How many bytes its record takes.
    pub(super) fn record_bytes(&self) -> usize {
        HEADER_BYTES + 1 + 8 + 8 + 2 + self.group.len() + 2 + self.deduplication_id.len() + self.body.len()
    }
}

/// Appends the record. Names longer than [`NAME_BYTES_MAX`] and longer bodies than the port allows are the caller's to
/// refuse: what is written here must be readable.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; HEADER_BYTES]);
    match record {
        Record::Put(entry) => {
            out.push(PUT);
            out.extend(entry.id.to_le_bytes());
            out.extend(entry.put_at.unix().to_le_bytes());
            for name in [&entry.group, &entry.deduplication_id] {
                out.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            out.extend_from_slice(entry.body.as_bytes());
        }
        Record::Deleted(id) => {
            out.push(DELETED);
            out.extend(id.to_le_bytes());
        }
        Record::Seen { put_at, deduplication_id } => {
            out.push(SEEN);
            out.extend(put_at.unix().to_le_bytes());
            out.extend_from_slice(deduplication_id.as_bytes());
        }
    }
    let length = u32::try_from(out.len() - start - HEADER_BYTES).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = checksum(length, &out[start + HEADER_BYTES..]).to_le_bytes();
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + HEADER_BYTES].copy_from_slice(&checksum);
}

/// Reads the record at the start of `bytes`.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let mut rest = bytes;
    let (Some(length), Some(expected)) = (take(&mut rest).map(u32::from_le_bytes), take(&mut rest)) else {
        return if bytes.iter().all(|byte| *byte == 0) { Decoded::End } else { Decoded::Bad };
    };
    let expected = u32::from_le_bytes(expected);
    if length == 0 {
        return if expected == 0 { Decoded::End } else { Decoded::Bad };
    }
    let payload = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX);
    let Some(payload) = payload.and_then(|length| rest.get(..length)) else { return Decoded::Bad };
    if checksum(length.to_le_bytes(), payload) != expected {
        return Decoded::Bad;
    }
    match decode_payload(payload) {
        Some(record) => Decoded::Record(record, HEADER_BYTES + payload.len()),
        None => Decoded::Bad,
    }
}

fn decode_payload(payload: &[u8]) -> Option<Record> {
    let (kind, mut rest) = payload.split_first()?;
    match *kind {
        PUT => {
            let id = u64::from_le_bytes(take(&mut rest)?);
            let put_at = Timestamp::from_unix(u64::from_le_bytes(take(&mut rest)?));
            let group = name(&mut rest)?;
            let deduplication_id = name(&mut rest)?;
            Some(Record::Put(Entry { id, put_at, group, deduplication_id, body: text(rest) }))
        }
        DELETED => {
            let id = u64::from_le_bytes(take(&mut rest)?);
            rest.is_empty().then_some(Record::Deleted(id))
        }
        SEEN => {
            let put_at = Timestamp::from_unix(u64::from_le_bytes(take(&mut rest)?));
            Some(Record::Seen { put_at, deduplication_id: text(rest) })
        }
        _ => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn name(rest: &mut &[u8]) -> Option<Arc<str>> {
    let length = u16::from_le_bytes(take(rest)?);
    let (name, after) = rest.split_at_checked(usize::from(length))?;
    *rest = after;
    Some(text(name))
}

/// Everything written was text, and the checksum says that this is what was written.
fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// What a journal's bytes say.
pub(super) struct Scan {
    /// The readable records in order.
    pub(super) records: Vec<Record>,
    /// Where the last readable record ends.
    pub(super) end: usize,
    /// Whether what follows `end` is anything but zeros: a torn write, or remains of an interrupted reset.
    pub(super) torn: bool,
    /// Whether readable records follow unreadable bytes: the file was damaged after it was written.
    pub(super) damaged: bool,
}

/// Reads a journal.
///
/// A write that a crash tore leaves a bad record at the end, and nothing readable behind it. Where readable records do follow,
/// bytes that were already safe have changed; then everything that can still be read is kept.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan { records: Vec::new(), end: 0, torn: false, damaged: false };
    loop {
        match decode(&bytes[scan.end..]) {
            Decoded::Record(record, length) => {
                scan.records.push(record);
                scan.end += length;
            }
            Decoded::End => break,
            Decoded::Bad => match next_record(bytes, scan.end + 1) {
                Some(next) => {
                    scan.damaged = true;
                    scan.end = next;
                }
                None => break,
            },
        }
    }
    scan.torn = bytes[scan.end..].iter().any(|byte| *byte != 0);
    scan
}

fn next_record(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|start| matches!(decode(&bytes[*start..]), Decoded::Record(..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(id: u64, body: &str) -> Record {
        Record::Put(Entry {
            id,
            put_at: Timestamp::from_unix(7),
            group: "user/spotify".into(),
            deduplication_id: "d".into(),
            body: body.into(),
        })
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in records {
            encode(record, &mut bytes);
        }
        bytes
    }

    fn every_kind() -> Vec<Record> {
        vec![
            put(1, "one"),
            Record::Deleted(1),
            Record::Seen { put_at: Timestamp::from_unix(9), deduplication_id: "d".into() },
        ]
    }

    #[test]
    fn every_kind_of_record_survives_its_bytes() {
        let bytes = written(&every_kind());
        let scan = scan(&bytes);
        assert!(scan.records == every_kind());
        assert_eq!((scan.end, scan.torn, scan.damaged), (bytes.len(), false, false));
    }

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let Record::Put(entry) = put(1, "one") else { unreachable!() };
        assert_eq!(entry.record_bytes(), written(&[put(1, "one")]).len());
        assert_eq!(DELETED_BYTES, written(&[Record::Deleted(u64::MAX)]).len());
    }

    #[test]
    fn a_record_torn_at_any_byte_is_cut_and_those_before_it_stay() {
        let whole = written(&[put(1, "one"), put(2, "two")]);
        let first = written(&[put(1, "one")]).len();
        for cut in first..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(whole.len() + 64, 0);
            let scan = scan(&bytes);
            assert!(scan.records == [put(1, "one")], "cut at {cut}");
            assert_eq!((scan.end, scan.damaged), (first, false), "cut at {cut}");
            assert_eq!(scan.torn, cut > first, "cut at {cut}");
        }
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let whole = written(&[put(1, "one")]);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(scan(&bytes).records.is_empty(), "bit {bit}");
        }
    }

    #[test]
    fn damage_in_the_middle_costs_the_damaged_record_only() {
        let mut bytes = written(&[put(1, "one"), put(2, "two"), put(3, "three")]);
        let middle = written(&[put(1, "one")]).len() + HEADER_BYTES + 3;
        bytes[middle] ^= 0xff;
        let scan = scan(&bytes);
        assert!(scan.records == [put(1, "one"), put(3, "three")]);
        assert!(scan.damaged);
    }
}
