-- Version 1. Times are whole microseconds since 1970. `{schema}` is the schema, quoted.

CREATE TABLE {schema}.store (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version integer NOT NULL -- of this schema
);
INSERT INTO {schema}.store (version) VALUES (1);

CREATE TABLE {schema}.namespaces (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  keys bytea[] NOT NULL, -- what the tokens of this namespace are made with, newest first
  keyed_at bigint NOT NULL DEFAULT 0 -- when the newest was added to the one before
);

CREATE TABLE {schema}.functions (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace_id integer NOT NULL,
  name text COLLATE "C" NOT NULL,
  UNIQUE (namespace_id, name)
);

-- Its rows are updated with every append: room on the page keeps the updates off the indexes.
CREATE TABLE {schema}.executions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace_id integer NOT NULL,
  arn text COLLATE "C" NOT NULL,
  function_id integer NOT NULL, -- of this namespace
  version text COLLATE "C" NOT NULL, -- of the function
  name text COLLATE "C" NOT NULL,
  parent_arn text COLLATE "C",
  status text COLLATE "C" NOT NULL,
  parked_reason text,
  started_at bigint NOT NULL,
  ended_at bigint,
  delete_at bigint,
  wake_at bigint, -- when somebody must look at it next; while claimed, when the lease ends
  owner text, -- the worker that has claimed it and not released it
  epoch bigint NOT NULL DEFAULT 0, -- counts claims
  timeline bigint NOT NULL DEFAULT 0, -- of the database when it was claimed; see timeline()
  fact_count integer NOT NULL,
  UNIQUE (namespace_id, arn),
  UNIQUE (function_id, name)
) WITH (
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX executions_to_wake ON {schema}.executions (function_id, version, wake_at, id)
  WHERE wake_at IS NOT NULL;
CREATE INDEX executions_to_delete ON {schema}.executions (namespace_id, delete_at)
  WHERE delete_at IS NOT NULL;
CREATE INDEX executions_by_start ON {schema}.executions (namespace_id, started_at, id);
CREATE INDEX executions_by_function ON {schema}.executions (function_id, started_at, id);
CREATE INDEX executions_by_status ON {schema}.executions (namespace_id, status, started_at, id);
CREATE INDEX executions_by_parent ON {schema}.executions (namespace_id, parent_arn, started_at, id)
  WHERE parent_arn IS NOT NULL;
CREATE INDEX executions_parked ON {schema}.executions (namespace_id, started_at, id)
  WHERE parked_reason IS NOT NULL;

-- A row holds the facts of one change.
CREATE TABLE {schema}.facts (
  execution_id bigint NOT NULL,
  position integer NOT NULL, -- how many facts the execution had before
  amount integer NOT NULL, -- how many facts are in the row
  checksum bigint NOT NULL, -- the CRC-32 of body
  body bytea NOT NULL, -- a MessagePack array of byte strings
  PRIMARY KEY (execution_id, position)
);
ALTER TABLE {schema}.facts ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE {schema}.callbacks (
  namespace_id integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  execution_id bigint NOT NULL,
  PRIMARY KEY (namespace_id, id)
);
CREATE INDEX callbacks_by_execution ON {schema}.callbacks (execution_id);

-- Which versions of functions workers claim, or have ever claimed: executions can wait for them.
CREATE TABLE {schema}.offers (
  namespace_id integer NOT NULL,
  name text COLLATE "C" NOT NULL, -- FUNCTION, or FUNCTION:VERSION
  PRIMARY KEY (namespace_id, name)
);

-- Who works on a namespace, and what each says of itself, again and again.
CREATE TABLE {schema}.workers (
  namespace_id integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  functions text[] NOT NULL, -- the names that it claims by
  max_concurrency integer NOT NULL,
  started_at bigint NOT NULL,
  seen_at bigint NOT NULL,
  lease bigint NOT NULL, -- without a word for so long, it counts as dead
  is_draining boolean NOT NULL,
  PRIMARY KEY (namespace_id, id)
);

-- Say which history of the database this is: one that takes over from another, or comes back from a
-- backup, begins a new one. What was claimed in another one counts for nothing: whoever claimed it may
-- have heard of things that this one has lost. 0 where a server does not say, such as a standby.
CREATE FUNCTION {schema}.timeline() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
EXCEPTION WHEN object_not_in_prerequisite_state OR feature_not_supported THEN
  RETURN 0;
END
$$;

-- Of which functions and versions there is something to do, some time. One look into the index for
-- each, however many executions sleep.
CREATE FUNCTION {schema}.kinds(space integer)
RETURNS TABLE (function_id integer, name text, version text) LANGUAGE sql STABLE AS $$
  WITH RECURSIVE found AS (
    SELECT id, functions.name, (
      SELECT min(one.version) FROM {schema}.executions AS one
      WHERE one.function_id = functions.id AND wake_at IS NOT NULL
    ) AS version
    FROM {schema}.functions WHERE namespace_id = space
    UNION ALL
    SELECT id, found.name, (
      SELECT min(one.version) FROM {schema}.executions AS one
      WHERE one.function_id = found.id AND wake_at IS NOT NULL AND one.version > found.version
    )
    FROM found WHERE found.version IS NOT NULL
  )
  SELECT found.id, found.name, found.version FROM found WHERE found.version IS NOT NULL
$$;

-- Note that a worker is there. Those that have been silent for a day are forgotten.
CREATE FUNCTION {schema}.announce(
  space integer, worker text, claims text[], at_once integer, since bigint, lasts bigint,
  drains boolean
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  instant bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
  day CONSTANT bigint := 86400000000;
BEGIN
  INSERT INTO {schema}.workers VALUES (
    space, worker, claims, at_once, since, instant, lasts, drains
  ) ON CONFLICT (namespace_id, id) DO UPDATE SET
    functions = excluded.functions, seen_at = excluded.seen_at, is_draining = excluded.is_draining;
  INSERT INTO {schema}.offers SELECT space, one FROM unnest(claims) AS one ORDER BY one
  ON CONFLICT DO NOTHING;
  DELETE FROM {schema}.workers
  WHERE namespace_id = space AND seen_at < instant - day AND seen_at + lease < instant;
END
$$;

-- Have what this transaction writes on the disk before it is answered, and wait long for no row.
CREATE FUNCTION {schema}.write_settings() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  IF current_setting('lock_timeout') = '0' THEN
    PERFORM set_config('lock_timeout', '2s', true);
  END IF;
END
$$;

-- Add a group of changes: each call is taken whole or refused whole, and the others are none the
-- worse for it. One call of this function is one transaction and one round trip.
--
-- `changes` is a JSON array in the order of handing in; those of one call stand together, have its
-- number from 0, say how many they are, and whether nobody waits for it (`is_soon`). `bodies` has the
-- facts of each, in the same order. Answers with a row for each call that was refused: its number,
-- and the arn that it was refused for.
--
-- Every query in here is for one row, by its key. A session plans it once, perhaps while the tables are
-- so small that to read all of one is cheapest: they grow, so that must never be the plan.
CREATE FUNCTION {schema}.append(space integer, arns text[], changes jsonb, bodies bytea[])
RETURNS TABLE (refused integer, culprit text) LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  broken text[] := '{{}}'; -- executions of which a change that nobody waits for was refused
  cut integer[] := '{{}}'; -- lines of which a change was refused, so that no later one may be taken
  here CONSTANT bigint := {schema}.timeline();
  this_arn text;
  wanted record;
BEGIN
  PERFORM {schema}.write_settings();
  -- All of them at once and in one order, lest two groups wait for each other.
  FOREACH this_arn IN ARRAY arns LOOP
    PERFORM FROM {schema}.executions
    WHERE namespace_id = space AND arn = this_arn FOR UPDATE;
  END LOOP;

  refused := -1;
  FOR wanted IN
    SELECT * FROM ROWS FROM (
      jsonb_to_recordset(changes) AS (
        call integer, size integer, is_soon boolean, line integer, arn text, version integer,
        epoch bigint, amount integer, checksum bigint, wake text, wake_at bigint, function text,
        of_version text, name text, parent text, status text, parked text, started_at bigint,
        ended_at bigint, delete_at bigint, callbacks jsonb
      ), unnest(bodies)
    ) AS one (
      call, size, is_soon, line, arn, version, epoch, amount, checksum, wake, wake_at, function,
      of_version, name, parent, status, parked, started_at, ended_at, delete_at, callbacks, body
    )
  LOOP
    IF refused <> wanted.call THEN
      refused := wanted.call;
      culprit := NULL;
      IF wanted.size = 1 THEN
        IF wanted.arn = ANY (broken) OR wanted.line = ANY (cut) OR NOT {schema}.fits(
          space, here, wanted.arn, wanted.version, wanted.epoch, wanted.function, wanted.name
        ) THEN
          culprit := wanted.arn;
        END IF;
      ELSE
        SELECT arn INTO culprit FROM jsonb_to_recordset(changes) AS one (
          call integer, line integer, arn text, version integer, epoch bigint, function text,
          name text
        )
        WHERE call = wanted.call AND (
          arn = ANY (broken) OR line = ANY (cut)
          OR NOT {schema}.fits(space, here, arn, version, epoch, function, name)
        ) LIMIT 1;
      END IF;
      IF culprit IS NOT NULL THEN
        broken := CASE WHEN wanted.is_soon
          THEN broken || culprit ELSE array_remove(broken, culprit) END;
        RETURN NEXT;
      END IF;
    END IF;
    IF culprit IS NULL THEN
      PERFORM {schema}.take(space, wanted);
    ELSE
      cut := cut || wanted.line;
    END IF;
  END LOOP;
END
$$;

-- Add the changes of a step in its own transaction, or end that.
CREATE FUNCTION {schema}.append_in_step(
  space integer, arns text[], changes jsonb, bodies bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('durably.step', true), '') <> 'open' THEN
    RAISE SQLSTATE 'UD002' USING MESSAGE = 'this is not the transaction that the step was given';
  END IF;
  PERFORM FROM {schema}.append(space, arns, changes, bodies);
  IF FOUND THEN
    RAISE SQLSTATE 'UD001' USING MESSAGE = 'the outcome of the step comes too late';
  END IF;
END
$$;

-- Whether a change does not come too late for its execution.
CREATE FUNCTION {schema}.fits(
  space integer, here bigint, wanted_arn text, wanted_version integer, wanted_epoch bigint,
  of_function text, wanted_name text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  held record;
BEGIN
  SELECT fact_count, owner, epoch, timeline INTO held FROM {schema}.executions
  WHERE namespace_id = space AND arn = wanted_arn;
  RETURN coalesce(held.fact_count, 0) = wanted_version
    AND (wanted_epoch IS NULL
      OR (held.owner IS NOT NULL AND held.epoch = wanted_epoch AND held.timeline = here))
    AND (wanted_version > 0 OR NOT {schema}.is_taken(space, of_function, wanted_name));
END
$$;

-- Whether an execution of a function has this name.
CREATE FUNCTION {schema}.is_taken(space integer, of_function text, wanted text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  found_function integer;
BEGIN
  SELECT id INTO found_function FROM {schema}.functions
  WHERE namespace_id = space AND name = of_function;
  PERFORM FROM {schema}.executions WHERE function_id = found_function AND name = wanted;
  RETURN FOUND;
END
$$;

-- Do what a change says.
CREATE FUNCTION {schema}.take(space integer, wanted record) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  found_id bigint;
  found_owner text;
BEGIN
  IF wanted.version = 0 THEN
    INSERT INTO {schema}.executions (
      namespace_id, arn, function_id, version, name, parent_arn, status, parked_reason,
      started_at, ended_at, delete_at, wake_at, fact_count
    ) VALUES (
      space, wanted.arn, {schema}.function_of(space, wanted.function), wanted.of_version,
      wanted.name, wanted.parent, wanted.status, wanted.parked, wanted.started_at,
      wanted.ended_at, wanted.delete_at, wanted.wake_at, wanted.amount
    ) RETURNING id INTO found_id; -- fails if somebody has taken the name since it was checked
  ELSE
    UPDATE {schema}.executions AS held SET
      fact_count = held.fact_count + wanted.amount,
      status = wanted.status,
      parked_reason = wanted.parked,
      ended_at = wanted.ended_at,
      delete_at = wanted.delete_at,
      wake_at = CASE
        WHEN wanted.wake = 'at' OR (wanted.wake = 'unless claimed' AND held.owner IS NULL)
        THEN wanted.wake_at ELSE held.wake_at END,
      owner = CASE WHEN wanted.wake = 'at' THEN NULL ELSE held.owner END
    WHERE namespace_id = space AND held.arn = wanted.arn
    RETURNING id, owner INTO found_id, found_owner;
    IF wanted.epoch IS NULL AND found_owner IS NOT NULL THEN
      PERFORM pg_notify({schema}.channel(space), wanted.arn); -- its owner does not know of it
    END IF;
  END IF;
  IF wanted.amount > 0 THEN
    INSERT INTO {schema}.facts (execution_id, position, amount, checksum, body)
    VALUES (found_id, wanted.version, wanted.amount, wanted.checksum, wanted.body);
  END IF;
  IF wanted.callbacks IS NOT NULL THEN
    INSERT INTO {schema}.callbacks (namespace_id, id, execution_id)
    SELECT space, one, found_id FROM jsonb_array_elements_text(wanted.callbacks) AS one
    ON CONFLICT DO NOTHING; -- an id belongs to the first execution that has it
  END IF;
END
$$;

-- Let claims last until then at least; give those that still are their owner's. Rows are locked in the
-- order of `append`. One that somebody keeps is left for the next time: the others need not wait.
CREATE FUNCTION {schema}.extend(
  space integer, worker text, arns text[], epochs bigint[], until bigint
) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  here CONSTANT bigint := {schema}.timeline();
  waits boolean := true;
  mine record;
BEGIN
  PERFORM {schema}.write_settings();
  LOOP
    BEGIN
      FOR mine IN
        SELECT * FROM unnest(arns, epochs) AS one (arn, epoch) ORDER BY one.arn COLLATE "C"
      LOOP
        IF NOT waits THEN
          PERFORM FROM {schema}.executions AS held
          WHERE held.namespace_id = space AND held.arn = mine.arn FOR UPDATE SKIP LOCKED;
          CONTINUE WHEN NOT FOUND;
        END IF;
        UPDATE {schema}.executions AS held SET wake_at = greatest(held.wake_at, until)
        WHERE held.namespace_id = space AND held.arn = mine.arn AND held.epoch = mine.epoch
          AND held.owner = worker AND held.timeline = here;
      END LOOP;
      EXIT;
    EXCEPTION WHEN lock_not_available THEN -- nothing was changed
      waits := false;
    END;
  END LOOP;
  FOR mine IN SELECT * FROM unnest(arns, epochs) AS one (arn, epoch) LOOP
    RETURN QUERY SELECT held.arn FROM {schema}.executions AS held
    WHERE held.namespace_id = space AND held.arn = mine.arn AND held.epoch = mine.epoch
      AND held.owner = worker AND held.timeline = here;
  END LOOP;
END
$$;

-- Where those who listen are told: an arn when its owner should look, nothing when something is due.
CREATE FUNCTION {schema}.channel(space integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT 'durably_' || md5({schema_text}) || '_' || space
$$;

CREATE FUNCTION {schema}.listen(space integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('LISTEN %I', {schema}.channel(space));
END
$$;

-- Give the id of a function's name, a new one if need be.
CREATE FUNCTION {schema}.function_of(space integer, wanted text) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  found integer;
BEGIN
  LOOP
    SELECT id INTO found FROM {schema}.functions WHERE namespace_id = space AND name = wanted;
    EXIT WHEN found IS NOT NULL;
    INSERT INTO {schema}.functions (namespace_id, name) VALUES (space, wanted)
    ON CONFLICT DO NOTHING RETURNING id INTO found;
    EXIT WHEN found IS NOT NULL;
  END LOOP;
  RETURN found;
END
$$;
