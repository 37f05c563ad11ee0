-- Every statement of the SQLite store, by name. Where a statement takes many rows, its one
-- parenthesis of parameters is repeated, see `sqlite_statements.py`.

-- name: begin
BEGIN IMMEDIATE

-- name: commit
COMMIT

-- name: load_keys
SELECT secret, secret_before FROM store

-- name: insert_key
INSERT INTO store (only_row, secret) VALUES (1, ?)

-- name: add_key
UPDATE store SET secret_before = secret, secret = ?

-- name: void_claims
UPDATE executions SET wake_at = 0, epoch = epoch + 1 WHERE owner IS NOT NULL

-- name: last_ids
SELECT (SELECT max(id) FROM executions), (SELECT max(id) FROM functions)

-- name: function_id
SELECT id FROM functions WHERE name = ?

-- name: insert_function
INSERT INTO functions (id, name) VALUES (?, ?)

-- name: head
SELECT arn, id, function_id, wake_at, owner, epoch, coalesce((
  SELECT position + amount FROM facts
  WHERE execution_id = executions.id ORDER BY position DESC LIMIT 1
), 1) FROM executions WHERE arn = ?

-- name: taken
SELECT 1 FROM executions WHERE arn = ?1
UNION ALL
SELECT 1 FROM executions WHERE name = ?3
  AND function_id = (SELECT id FROM functions WHERE name = ?2)

-- name: insert_executions
INSERT INTO executions (
  id, arn, function_id, name, parent_arn, status, parked_reason, started_at, ended_at, delete_at,
  wake_at, owner, epoch
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_facts
INSERT INTO facts (execution_id, position, amount, checksum, body) VALUES (?, ?, ?, ?, ?)

-- name: insert_callbacks
INSERT OR IGNORE INTO callbacks (id, execution_id) VALUES (?, ?)

-- name: update_wakes
UPDATE executions SET wake_at = new.column2, owner = new.column3, epoch = new.column4
FROM (VALUES (?, ?, ?, ?)) AS new WHERE executions.id = new.column1

-- name: update_summaries
UPDATE executions SET status = new.column2, parked_reason = new.column3, ended_at = new.column4,
  delete_at = new.column5
FROM (VALUES (?, ?, ?, ?, ?)) AS new WHERE executions.id = new.column1

-- name: due
-- Of each function only as many as are asked for are looked at.
SELECT arn, executions.id, function_id, wake_at, owner, epoch, coalesce((
  SELECT position + amount FROM facts
  WHERE execution_id = executions.id ORDER BY position DESC LIMIT 1
), 1), functions.name FROM functions CROSS JOIN executions ON executions.id IN (
  SELECT id FROM executions
  WHERE function_id = functions.id AND wake_at <= ?2 ORDER BY wake_at, id LIMIT ?3
) WHERE functions.name IN (SELECT value FROM json_each(?1))

-- name: next_wake_at
SELECT min((
  SELECT min(wake_at) FROM executions WHERE function_id = functions.id AND wake_at IS NOT NULL
)) FROM functions WHERE name IN (SELECT value FROM json_each(?))

-- name: expired
SELECT arn, id FROM executions WHERE delete_at <= ? ORDER BY delete_at LIMIT ?

-- name: delete_facts
DELETE FROM facts WHERE execution_id IN (SELECT value FROM json_each(?))

-- name: delete_callbacks
DELETE FROM callbacks WHERE execution_id IN (SELECT value FROM json_each(?))

-- name: delete_executions
DELETE FROM executions WHERE id IN (SELECT value FROM json_each(?))

-- name: find_facts
SELECT position, amount, checksum, body FROM facts WHERE execution_id = ? ORDER BY position

-- name: find_by_name
SELECT arn FROM executions
WHERE name = ?2 AND function_id = (SELECT id FROM functions WHERE name = ?1)

-- name: find_by_callback
SELECT arn FROM executions WHERE id = (SELECT execution_id FROM callbacks WHERE id = ?)

-- name: find
SELECT executions.id, executions.arn, functions.name, executions.name, parent_arn, status,
  parked_reason, started_at, ended_at, delete_at, wake_at, owner, epoch
FROM executions JOIN functions ON functions.id = executions.function_id
WHERE arn = ?

-- name: list
SELECT executions.id, executions.arn, functions.name, executions.name, parent_arn, status,
  parked_reason, started_at, ended_at, delete_at, wake_at, owner, epoch
FROM executions JOIN functions ON functions.id = executions.function_id
WHERE TRUE

-- name: list_function_name
AND executions.function_id = (SELECT id FROM functions WHERE name = :function_name)

-- name: list_execution_name
AND executions.name = :execution_name

-- name: list_status
AND status = :status

-- name: list_statuses
AND +status IN (SELECT value FROM json_each(:statuses))

-- name: list_started_after
AND started_at > :started_after

-- name: list_started_before
AND started_at < :started_before

-- name: list_parent_arn
AND parent_arn = :parent_arn

-- name: list_parked
AND parked_reason IS NOT NULL

-- name: list_not_parked
AND parked_reason IS NULL

-- name: list_newer
AND (started_at, executions.id) > (:after_start, :after_id)

-- name: list_older
AND (started_at, executions.id) < (:after_start, :after_id)

-- name: list_oldest_first
ORDER BY started_at, executions.id LIMIT :limit

-- name: list_newest_first
ORDER BY started_at DESC, executions.id DESC LIMIT :limit

-- name: census
-- A row for each status, and one for those that are parked and what is due next.
SELECT one.value, (
  SELECT count(*) FROM (SELECT 1 FROM executions WHERE status = one.value LIMIT :limit)
), NULL
FROM json_each(:statuses) AS one
UNION ALL
SELECT NULL, (
  SELECT count(*) FROM (SELECT 1 FROM executions WHERE parked_reason IS NOT NULL LIMIT :limit)
), (
  SELECT min((
    SELECT min(wake_at) FROM executions WHERE function_id = functions.id AND wake_at IS NOT NULL
  )) FROM functions
)
