-- Every statement of the PostgreSQL store, by name. `{schema}` is the schema, quoted.

-- name: append
SELECT refused, culprit FROM {schema}.append(
  %(space)s, %(arns)s::text[], %(changes)s::jsonb, %(bodies)s::bytea[]
)

-- name: begin_step
-- What is set holds for this very transaction. To set it is no query, so that the code of the step
-- may still say how isolated it wants to be. Should this machine be gone, the server finds out
-- before a lease is over, and lets go of what the step has locked.
BEGIN; SET LOCAL durably.step = 'open';
SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 4;
SET LOCAL tcp_keepalives_count = 3; SET LOCAL tcp_user_timeout = 20000

-- name: append_in_step
-- One message, which the server has whole or not at all: no lock is held until another one comes.
-- As whoever opened the connection, since the code may have changed who it is.
RESET ROLE; SELECT {schema}.append_in_step(
  %(space)s, %(arns)s::text[], %(changes)s::jsonb, %(bodies)s::bytea[]
); COMMIT

-- name: undo_step
ROLLBACK

-- name: forget_step
DISCARD ALL

-- name: written
-- Which of these changes are stored: their first fact is where it belongs, and is theirs.
SELECT wanted.place
FROM unnest(%(arns)s::text[], %(positions)s::integer[], %(bodies)s::bytea[]) WITH ORDINALITY
  AS wanted (arn, position, body, place)
JOIN {schema}.executions AS held ON held.namespace_id = %(space)s AND held.arn = wanted.arn
JOIN {schema}.facts ON facts.execution_id = held.id AND facts.position = wanted.position
WHERE facts.body = wanted.body

-- name: claim
-- An epoch is not only a new one: should the database lose this transaction, as one does that
-- takes over from another without everything, the next owner must not get the same epoch.
WITH due AS (
  SELECT one.id, one.owner IS NOT NULL AS is_takeover, functions.name
  FROM unnest(%(functions)s::text[], %(versions)s::text[]) AS wanted (name, version)
  JOIN {schema}.functions
    ON functions.namespace_id = %(space)s AND functions.name = wanted.name
  CROSS JOIN LATERAL (
    SELECT id, owner, wake_at FROM {schema}.executions
    WHERE function_id = functions.id AND version = wanted.version AND wake_at <= %(now)s
    ORDER BY wake_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
  ) AS one
  ORDER BY one.wake_at, one.id LIMIT %(limit)s
), before AS (
  SELECT id, wake_at FROM {schema}.executions WHERE id IN (SELECT id FROM due)
)
UPDATE {schema}.executions AS held
SET owner = %(worker)s, epoch = epoch + 1 + (random() * 1000000)::bigint,
  timeline = (SELECT {schema}.timeline()), wake_at = %(ends_at)s
FROM due JOIN before USING (id)
WHERE held.id = due.id
RETURNING held.arn, due.name, held.epoch, due.is_takeover, before.wake_at, held.id

-- name: extend
SELECT {schema}.extend(
  %(space)s, %(worker)s, %(arns)s::text[], %(epochs)s::bigint[], %(until)s
)

-- name: next_wake_at
SELECT min(due.wake_at)
FROM unnest(%(functions)s::text[], %(versions)s::text[]) AS wanted (name, version)
JOIN {schema}.functions ON functions.namespace_id = %(space)s AND functions.name = wanted.name
CROSS JOIN LATERAL (
  SELECT wake_at FROM {schema}.executions
  WHERE function_id = functions.id AND version = wanted.version AND wake_at IS NOT NULL
  ORDER BY wake_at, id LIMIT 1
) AS due

-- name: find
-- One statement, so that all of it is of one moment.
SELECT held.id, held.arn, functions.name, held.name, parent_arn, status, parked_reason,
  started_at, ended_at, delete_at, wake_at,
  owner IS NOT NULL AND timeline = (SELECT {schema}.timeline()), held.version, epoch, fact_count,
  rows.*
FROM unnest(%(arns)s::text[]) AS wanted (arn)
JOIN {schema}.executions AS held ON held.namespace_id = %(space)s AND held.arn = wanted.arn
JOIN {schema}.functions ON functions.id = held.function_id
CROSS JOIN LATERAL (
  SELECT array_agg(position ORDER BY position), array_agg(amount ORDER BY position),
    array_agg(checksum ORDER BY position), array_agg(body ORDER BY position)
  FROM {schema}.facts WHERE execution_id = held.id
) AS rows

-- name: find_by_name
SELECT held.arn FROM {schema}.executions AS held
JOIN {schema}.functions ON functions.id = held.function_id
WHERE functions.namespace_id = %(space)s AND functions.name = %(function)s AND held.name = %(name)s

-- name: find_by_callback
SELECT held.arn FROM {schema}.callbacks
JOIN {schema}.executions AS held ON held.id = callbacks.execution_id
WHERE callbacks.namespace_id = %(space)s AND callbacks.id = %(id)s

-- name: list
SELECT held.id, held.arn, functions.name, held.name, parent_arn, status, parked_reason,
  started_at, ended_at, delete_at, wake_at, owner IS NOT NULL, held.version
FROM {schema}.executions AS held
JOIN {schema}.functions ON functions.id = held.function_id
WHERE held.namespace_id = %(space)s

-- name: list_function_name
AND held.function_id = (
  SELECT id FROM {schema}.functions WHERE namespace_id = %(space)s AND name = %(function_name)s
)

-- name: list_execution_name
AND held.name = %(execution_name)s

-- name: list_statuses
AND status = ANY (%(statuses)s)

-- name: list_started_after
AND started_at > %(started_after)s

-- name: list_started_before
AND started_at < %(started_before)s

-- name: list_parent_arn
AND parent_arn = %(parent_arn)s

-- name: list_parked
AND parked_reason IS NOT NULL

-- name: list_not_parked
AND parked_reason IS NULL

-- name: list_newer
AND (started_at, held.id) > (%(after_start)s, %(after_id)s)

-- name: list_older
AND (started_at, held.id) < (%(after_start)s, %(after_id)s)

-- name: list_oldest_first
ORDER BY started_at, held.id LIMIT %(limit)s

-- name: list_newest_first
ORDER BY started_at DESC, held.id DESC LIMIT %(limit)s

-- name: census
-- A row for each status, and one for those that are parked and what is due next. Only the index
-- has the order that is asked for, so that nothing is read that is not counted.
SELECT one, (
  SELECT count(*) FROM (
    SELECT FROM {schema}.executions
    WHERE namespace_id = %(space)s AND status BETWEEN one AND one
    ORDER BY status, started_at, id LIMIT %(limit)s
  ) AS found
), NULL::bigint
FROM unnest(%(statuses)s::text[]) AS one
UNION ALL
SELECT NULL, (
  SELECT count(*) FROM (
    SELECT FROM {schema}.executions
    WHERE namespace_id = %(space)s AND parked_reason IS NOT NULL
    ORDER BY started_at, id LIMIT %(limit)s
  ) AS found
), (
  SELECT min((
    SELECT min(due.wake_at) FROM {schema}.executions AS due
    WHERE due.function_id = kinds.function_id AND due.version = kinds.version
      AND due.wake_at IS NOT NULL
  )) FROM {schema}.kinds(%(space)s) AS kinds
)

-- name: delete
WITH gone AS (
  DELETE FROM {schema}.executions
  WHERE namespace_id = %(space)s AND arn = %(arn)s AND fact_count = %(version)s AND owner IS NULL
  RETURNING id
), facts AS (
  DELETE FROM {schema}.facts WHERE execution_id IN (SELECT id FROM gone)
), callbacks AS (
  DELETE FROM {schema}.callbacks WHERE execution_id IN (SELECT id FROM gone)
)
SELECT count(*) FROM gone, {schema}.write_settings()

-- name: delete_expired
WITH expired AS (
  SELECT id FROM {schema}.executions
  WHERE namespace_id = %(space)s AND delete_at <= %(now)s
  ORDER BY delete_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM {schema}.executions WHERE id IN (SELECT id FROM expired) RETURNING id
), facts AS (
  DELETE FROM {schema}.facts WHERE execution_id IN (SELECT id FROM gone)
), callbacks AS (
  DELETE FROM {schema}.callbacks WHERE execution_id IN (SELECT id FROM gone)
)
SELECT count(*) FROM gone

-- name: outlines
SELECT arn, fact_count,
  CASE WHEN owner IS NOT NULL AND timeline = (SELECT {schema}.timeline()) THEN epoch END,
  ended_at IS NOT NULL OR parked_reason IS NOT NULL
FROM {schema}.executions
WHERE namespace_id = %(space)s AND arn = ANY (%(arns)s)

-- name: announce
SELECT {schema}.announce(
  %(space)s, %(worker)s, %(functions)s::text[], %(max_concurrency)s::integer, %(started_at)s::bigint,
  %(lease)s::bigint, %(is_draining)s::boolean
)

-- name: withdraw
DELETE FROM {schema}.workers WHERE namespace_id = %(space)s AND id = %(worker)s RETURNING id

-- name: offers
SELECT name FROM {schema}.offers WHERE namespace_id = %(space)s

-- name: workers
-- What is claimed is due when the lease ends, so what is held stands early in the order of waking.
WITH known AS (
  SELECT *, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS instant
  FROM {schema}.workers WHERE namespace_id = %(space)s
), held AS (
  SELECT one.owner, count(*) AS amount
  FROM {schema}.kinds(%(space)s) AS kinds
  JOIN {schema}.executions AS one
    ON one.function_id = kinds.function_id AND one.version = kinds.version
  WHERE one.owner IS NOT NULL AND one.wake_at <= (SELECT max(instant + lease) FROM known)
  GROUP BY one.owner
)
SELECT known.id, functions, max_concurrency, started_at, lease, is_draining, seen_at,
  seen_at + lease >= instant,
  coalesce(held.amount, 0)
FROM known LEFT JOIN held ON held.owner = known.id
ORDER BY started_at, known.id

-- name: backlogs
-- Nobody needs to know more exactly how many a great many are, and to count them takes long.
SELECT kinds.name, kinds.version, count(*), min(due.wake_at)
FROM {schema}.kinds(%(space)s) AS kinds
CROSS JOIN LATERAL (
  SELECT wake_at FROM {schema}.executions
  WHERE function_id = kinds.function_id AND version = kinds.version
    AND wake_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  ORDER BY wake_at, id LIMIT %(limit)s
) AS due
GROUP BY kinds.name, kinds.version
ORDER BY kinds.name, kinds.version

-- name: listen
SELECT {schema}.listen(%(space)s)

-- name: hint
-- Nobody relies on a hint, so nothing waits for it to be on the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify({schema}.channel(%(space)s), '')

-- name: instant
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: has_schema
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS space ON space.oid = relnamespace
  WHERE space.nspname = {schema_text} AND relname = 'store'
)

-- name: schema_version
SELECT version FROM {schema}.store

-- name: lock_schema
SELECT pg_advisory_xact_lock(hashtextextended({schema_text}, 0))

-- name: begin_schema
-- To make a schema takes longer than a statement of every day, and others wait for it; but not for
-- somebody who is gone.
BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = '1min'

-- name: commit_schema
COMMIT

-- name: make_schema
CREATE SCHEMA IF NOT EXISTS {schema}

-- name: namespace
SELECT id FROM {schema}.namespaces WHERE name = %(name)s

-- name: make_namespace
INSERT INTO {schema}.namespaces (name, keys) VALUES (%(name)s, ARRAY[%(key)s]::bytea[])
ON CONFLICT DO NOTHING RETURNING id

-- name: keys
SELECT keys FROM {schema}.namespaces WHERE id = %(space)s

-- name: add_key
-- The same a second time is none the more of it: the answer to the first may have been lost.
UPDATE {schema}.namespaces
SET keys = CASE WHEN keys[1] = %(key)s THEN keys ELSE ARRAY[%(key)s, keys[1]]::bytea[] END,
  keyed_at = CASE WHEN keys[1] = %(key)s THEN keyed_at ELSE clock.instant END
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS instant) AS clock,
  {schema}.write_settings()
WHERE id = %(space)s AND (keys[1] = %(key)s OR keyed_at <= clock.instant - %(after)s::bigint)
RETURNING id
