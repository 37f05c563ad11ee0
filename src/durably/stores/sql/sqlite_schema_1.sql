-- Version 1. Times are whole microseconds since 1970.

PRAGMA application_id = 1685418593; -- "dura"
PRAGMA user_version = 1;

CREATE TABLE store (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  secret BLOB NOT NULL -- what tokens are signed with
) STRICT;

CREATE TABLE functions (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE executions (
  id INTEGER PRIMARY KEY,
  arn TEXT NOT NULL UNIQUE,
  function_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  parent_arn TEXT,
  status TEXT NOT NULL,
  parked_reason TEXT,
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  delete_at INTEGER,
  wake_at INTEGER, -- when somebody must look at it next; while claimed, when the lease ends
  owner TEXT, -- the worker that has claimed it and not released it
  epoch INTEGER NOT NULL, -- counts claims
  UNIQUE (function_id, name)
) STRICT;

CREATE INDEX executions_to_wake ON executions (function_id, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX executions_to_delete ON executions (delete_at) WHERE delete_at IS NOT NULL;
CREATE INDEX executions_claimed ON executions (id) WHERE owner IS NOT NULL;
CREATE INDEX executions_by_start ON executions (started_at);
CREATE INDEX executions_by_function ON executions (function_id, started_at);
CREATE INDEX executions_by_status ON executions (status, started_at);
CREATE INDEX executions_by_parent ON executions (parent_arn, started_at)
  WHERE parent_arn IS NOT NULL;
CREATE INDEX executions_parked ON executions (started_at) WHERE parked_reason IS NOT NULL;

-- A row holds the facts of one change, or of several that were written together. Rows are in the
-- order of writing, so that a group of appends by many executions dirties few pages.
CREATE TABLE facts (
  id INTEGER PRIMARY KEY,
  execution_id INTEGER NOT NULL,
  position INTEGER NOT NULL, -- how many facts the execution had before
  amount INTEGER NOT NULL, -- how many facts are in the row
  checksum INTEGER NOT NULL, -- the CRC-32 of body
  body BLOB NOT NULL, -- a MessagePack array of byte strings
  UNIQUE (execution_id, position)
) STRICT;

CREATE TABLE callbacks (
  id TEXT PRIMARY KEY,
  execution_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX callbacks_by_execution ON callbacks (execution_id);
