"""The tables of the state database, as migrations: each makes its version of the one before."""

from __future__ import annotations

from typing import Final

__all__ = ["MIGRATIONS"]

_SANDBOXES_AND_EVENTS: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('event_log', lower(hex(randomblob(8))));

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    runtime TEXT NOT NULL,
    request TEXT NOT NULL,              -- JSON
    idempotency_key TEXT NOT NULL,      -- empty for none
    state TEXT NOT NULL,                -- as the service core names it, or 'removing'
    created TEXT,                       -- JSON: what the runtime returned; NULL until the start is complete
    created_at REAL NOT NULL,           -- seconds of Unix time, as all times
    expires_at REAL NOT NULL DEFAULT 0, -- 0 for never
    exit_code INTEGER,                  -- NULL until the main process has ended by itself
    log BLOB NOT NULL DEFAULT x'',      -- last output of the main process, once its processes have ended
    log_dropped INTEGER NOT NULL DEFAULT 0,
    ended_at REAL NOT NULL DEFAULT 0    -- 0 for one that was not removed
);
CREATE INDEX sandboxes_by_end ON sandboxes (ended_at);

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    at REAL NOT NULL,
    detail TEXT NOT NULL
);
"""

_ENDED_SANDBOXES: Final = """
ALTER TABLE sandboxes ADD COLUMN info TEXT NOT NULL DEFAULT '';  -- JSON: what is told of one that has ended
CREATE INDEX ended_sandboxes ON sandboxes (created_at, id) WHERE ended_at > 0;
"""

_SNAPSHOTS: Final = """
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,                 -- empty for none
    labels TEXT NOT NULL,               -- JSON
    file TEXT NOT NULL UNIQUE,          -- name in the directory of snapshots
    runtime TEXT NOT NULL,
    image TEXT NOT NULL,
    image_digest TEXT NOT NULL,
    created_at REAL NOT NULL,
    bytes_elsewhere INTEGER NOT NULL,   -- kept by the runtime, outside of that directory
    files TEXT NOT NULL,                -- JSON: size and SHA-256 by name
    details TEXT NOT NULL,              -- JSON: what the runtime needs to start from it
    start TEXT NOT NULL                 -- JSON: what a start from it asks for where it says nothing
);
CREATE UNIQUE INDEX snapshots_by_name ON snapshots (name) WHERE name <> '';
"""

_VOLUMES: Final = """
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    directory TEXT NOT NULL UNIQUE,     -- name in the directory of volumes
    created_at REAL NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS: Final = (_SANDBOXES_AND_EVENTS, _ENDED_SANDBOXES, _SNAPSHOTS, _VOLUMES)
"""SQL by version: the first makes version 1. One that was released never changes."""
