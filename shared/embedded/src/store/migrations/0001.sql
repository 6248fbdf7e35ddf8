-- Columns are the attributes of a connection, in snake_case. What a scan reads stands before the sealed tokens, so that
-- it never follows a row into its overflow pages.
CREATE TABLE connections (
    user_id             TEXT    NOT NULL,
    provider            TEXT    NOT NULL,
    status              TEXT    NOT NULL CHECK (status IN ('active', 'reauthorization_required', 'disconnected')),
    seat                TEXT,
    next_refresh_at     INTEGER,
    soon                INTEGER,
    lease_owner         BLOB    CHECK (length(lease_owner) = 16),
    lease_expires_at    INTEGER,
    purge_at            INTEGER,
    version             BLOB    NOT NULL CHECK (length(version) = 16),
    reason              TEXT,
    since               INTEGER,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    event               TEXT,
    expires_at          INTEGER,
    lifetime            INTEGER,
    misfits             INTEGER,
    unknown_outcomes    INTEGER,
    attempts            INTEGER,
    last_error          TEXT,
    seen_at             INTEGER,
    grant_issued_at     INTEGER,
    grant_expires_at    INTEGER,
    warned_days         INTEGER,
    provider_account_id TEXT    NOT NULL,
    issuer              TEXT    NOT NULL,
    scope               TEXT,
    to_revoke           TEXT,
    access_token        BLOB,
    refresh_token       BLOB,
    PRIMARY KEY (user_id, provider)
) STRICT;

-- The wheel: only awake connections are in it, and it alone answers which keys sit in a seat.
CREATE INDEX wheel ON connections (seat, user_id, provider) WHERE seat IS NOT NULL;

-- Tombstones by the end of their time.
CREATE INDEX tombstones ON connections (purge_at) WHERE purge_at IS NOT NULL;

CREATE TABLE users (
    user_id         TEXT    NOT NULL PRIMARY KEY,
    created_at      INTEGER NOT NULL,
    ended_sessions  TEXT    NOT NULL,
    sessions_end_at INTEGER,
    last_logout_at  INTEGER,
    forced_minute   INTEGER,
    forced_count    INTEGER,
    forced_last     BLOB    CHECK (length(forced_last) = 16)
) STRICT, WITHOUT ROWID;

-- An account belongs to one person, and a person has one account at a provider; it cannot outlive the connection.
CREATE TABLE identities (
    provider            TEXT NOT NULL,
    provider_account_id TEXT NOT NULL,
    user_id             TEXT NOT NULL,
    PRIMARY KEY (provider, provider_account_id),
    UNIQUE (user_id, provider),
    FOREIGN KEY (user_id, provider) REFERENCES connections (user_id, provider)
) STRICT, WITHOUT ROWID;

CREATE TABLE pending_logins (
    state_hash    BLOB    NOT NULL PRIMARY KEY CHECK (length(state_hash) = 32),
    provider      TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    session_id    BLOB    CHECK (length(session_id) = 16),
    browser       BLOB    NOT NULL,
    code_verifier TEXT    NOT NULL,
    redirect_uri  TEXT    NOT NULL,
    return_to     TEXT    NOT NULL,
    intent        TEXT    NOT NULL,
    reconsent     INTEGER NOT NULL CHECK (reconsent IN (0, 1)),
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_logins_by_age ON pending_logins (created_at);

CREATE TABLE tick (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    minute INTEGER NOT NULL
) STRICT;

-- A closed circuit has no row.
CREATE TABLE circuits (
    provider TEXT    NOT NULL PRIMARY KEY,
    probe    BLOB    CHECK (length(probe) = 16),
    until    INTEGER NOT NULL,
    trips    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE branch_keys (
    family     TEXT    NOT NULL,
    number     INTEGER NOT NULL CHECK (number > 0),
    wrapped    BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (family, number)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number that was told is never given again, even after everything was pruned.
CREATE TABLE changes (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     TEXT    NOT NULL,
    provider    TEXT    NOT NULL,
    version     BLOB    NOT NULL CHECK (length(version) = 16),
    at          INTEGER NOT NULL,
    event       TEXT,
    soon        INTEGER,
    -- Versions of 16 bytes, one after the other, the oldest first.
    revocations BLOB    CHECK (length(revocations) > 0 AND length(revocations) % 16 = 0),
    CHECK (event IS NOT NULL OR soon IS NOT NULL)
) STRICT;

CREATE TABLE stream_cursor (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    told INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT    NOT NULL UNIQUE,
    kind     TEXT    NOT NULL,
    user_id  TEXT    NOT NULL,
    provider TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
