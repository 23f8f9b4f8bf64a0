-- oldest release: 0.1.0
-- The first schema. Times are integer microseconds since 1970-01-01 UTC; flags are 0 or 1; ids are UUIDv7 text. Names and ids
-- compare byte by byte, whatever the database's collation. The checks repeat the law of core/lifecycle.py: what a statement
-- forgets, the database refuses.

-- The database's clock: when the statement began.
CREATE FUNCTION now_us() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint $$;

-- Half of each page is left, so that the start of a run can write its new version beside the old one: it changes no column of
-- an index, which is why no index mentions the status (at 70 % one start in four found room; bodies of 1 KB). Vacuum comes by the number of dead rows, not by their share.
CREATE TABLE tasks (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    status text COLLATE "C" NOT NULL,
    lane text COLLATE "C" NOT NULL,
    pool_name text COLLATE "C",
    llm_name text COLLATE "C",
    model text COLLATE "C" NOT NULL,
    tier text COLLATE "C",
    endpoint text COLLATE "C" NOT NULL,
    streaming smallint NOT NULL CHECK (streaming IN (0, 1)),
    priority text COLLATE "C" NOT NULL CHECK (priority IN ('default', 'batch', 'flex', 'priority')),
    rank double precision NOT NULL CHECK (rank < 'NaN'),
    ready smallint NOT NULL CHECK (ready IN (0, 1)),
    owner text COLLATE "C" NOT NULL,
    agent text COLLATE "C",
    mode text COLLATE "C" NOT NULL CHECK (mode IN ('wait', 'live', 'never')),
    attempt integer NOT NULL CHECK (attempt >= 0),
    tries integer NOT NULL CHECK (tries BETWEEN 0 AND max_tries),
    max_tries integer NOT NULL CHECK (max_tries BETWEEN 1 AND 100),
    claimed_by text COLLATE "C",
    claimed_llm text COLLATE "C",
    claim_batch text COLLATE "C",
    lost_by text COLLATE "C",
    response_status integer,
    response_content_type text COLLATE "C",
    error_code text COLLATE "C",
    error_message text COLLATE "C",
    prompt_tokens bigint,
    completion_tokens bigint,
    metadata text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    available_at bigint NOT NULL,
    claimed_at bigint,
    deadline bigint,
    stream_started_at bigint,
    completed_at bigint,
    expires_at bigint NOT NULL,
    expires_in bigint NOT NULL,
    run_limit bigint,
    size bigint NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    headers text COLLATE "C" NOT NULL,
    request bytea NOT NULL,
    response bytea,
    -- A line a state: what must stand in its rows, what must not.
    CHECK (
        CASE status
            WHEN 'pending' THEN
                claimed_by IS NULL AND claimed_at IS NULL AND deadline IS NULL AND stream_started_at IS NULL
                AND completed_at IS NULL AND error_code IS NULL AND (lost_by IS NULL OR ready = 1)
            WHEN 'claimed' THEN
                claimed_by IS NOT NULL AND claimed_at IS NOT NULL AND deadline IS NOT NULL AND claimed_llm IS NOT NULL
                AND attempt > 0 AND ready = 1 AND lost_by IS NULL AND completed_at IS NULL AND error_code IS NULL
                AND stream_started_at IS NULL
            WHEN 'running' THEN
                claimed_by IS NOT NULL AND claimed_at IS NOT NULL AND deadline IS NOT NULL AND claimed_llm IS NOT NULL
                AND attempt > 0 AND ready = 1 AND lost_by IS NULL AND completed_at IS NULL AND error_code IS NULL
                AND stream_started_at IS NOT NULL
            WHEN 'completed' THEN
                claimed_by IS NULL AND deadline IS NULL AND lost_by IS NULL AND ready = 1 AND completed_at IS NOT NULL
                AND error_code IS NULL AND response_status IS NOT NULL AND response IS NOT NULL
            WHEN 'error' THEN
                claimed_by IS NULL AND deadline IS NULL AND lost_by IS NULL AND ready = 1 AND completed_at IS NOT NULL
                AND error_code IS NOT NULL
            WHEN 'cancelled' THEN
                claimed_by IS NULL AND deadline IS NULL AND lost_by IS NULL AND ready = 1 AND completed_at IS NOT NULL
                AND error_code IS NULL
            ELSE false
        END
    )
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- Never compressed: bodies are read as often as they are written.
ALTER TABLE tasks ALTER COLUMN request SET STORAGE EXTERNAL, ALTER COLUMN response SET STORAGE EXTERNAL;

-- In what follows a row is pending that has neither a holder nor an end.
-- Order: the claim walks this, one lane at a time.
CREATE INDEX tasks_waiting ON tasks (lane, rank, id) WHERE claimed_by IS NULL AND completed_at IS NULL AND ready = 1;
-- The one-second poll for back-offs that are over.
CREATE INDEX tasks_backing_off ON tasks (available_at) WHERE ready = 0;
-- What a session holds (claimed_by stands in held rows only).
CREATE INDEX tasks_held ON tasks (claimed_by) WHERE claimed_by IS NOT NULL;
-- What a session lost and may still deliver; without it a registration reads the whole backlog.
CREATE INDEX tasks_lost ON tasks (lost_by) WHERE lost_by IS NOT NULL;
-- Calls that would not queue: few of them are ever pending, and the one-second poll looks for them.
CREATE INDEX tasks_impatient ON tasks (id) WHERE claimed_by IS NULL AND completed_at IS NULL AND mode <> 'wait';
-- The sweeps (a deadline stands in held rows only, completed_at in ended ones).
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE claimed_by IS NULL AND completed_at IS NULL;
CREATE INDEX tasks_overdue ON tasks (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX tasks_ended ON tasks (completed_at) WHERE completed_at IS NOT NULL;
-- The lists.
CREATE INDEX tasks_of_owner ON tasks (owner, id);
CREATE INDEX tasks_of_agent ON tasks (agent) WHERE agent IS NOT NULL;

-- A task without its bodies: the fields of core.task.TaskRow, in their order.
CREATE VIEW task_rows AS
SELECT
    id, status, lane, pool_name, llm_name, model, tier, endpoint, streaming, priority, rank, ready, owner, agent, mode,
    attempt, tries, max_tries, claimed_by, claimed_llm, claim_batch, lost_by, response_status, response_content_type,
    error_code, error_message, prompt_tokens, completion_tokens, metadata, created_at, available_at, claimed_at,
    deadline, stream_started_at, completed_at, expires_at
FROM tasks;

-- One row an ended attempt, written by the transition that ended it.
CREATE TABLE attempts (
    task_id text COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    llm_name text COLLATE "C",
    started_at bigint NOT NULL,
    ended_at bigint NOT NULL,
    ending text COLLATE "C" NOT NULL CHECK (
        ending IN ('completed', 'failed', 'retried', 'reverted', 'returned', 'cancelled')
    ),
    counted smallint NOT NULL CHECK (counted IN (0, 1)),
    code text COLLATE "C",
    message text COLLATE "C",
    detail text COLLATE "C",
    PRIMARY KEY (task_id, attempt)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- The winning attempt's packed stream: compressed already.
CREATE TABLE chunks (
    task_id text COLLATE "C" NOT NULL PRIMARY KEY,
    attempt integer NOT NULL,
    stored_at bigint NOT NULL,
    packed bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

ALTER TABLE chunks ALTER COLUMN packed SET STORAGE EXTERNAL;

CREATE INDEX chunks_stored ON chunks (stored_at);

CREATE TABLE idempotency_keys (
    owner text COLLATE "C" NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    body_hash text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (owner, idempotency_key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

CREATE INDEX idempotency_keys_of_task ON idempotency_keys (task_id);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- A lane's virtual time (V of spec section 6): it never falls. Like the two tables below it is small, rewritten every few
-- seconds: half-empty pages take the new versions, vacuum comes early.
CREATE TABLE lanes (
    lane text COLLATE "C" NOT NULL PRIMARY KEY,
    virtual_time double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE servers (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    seen_at bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Each writing connection's number of committed transactions: after a commit whose answer was lost, it tells.
CREATE TABLE writers (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    commits bigint NOT NULL,
    seen_at bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE sessions (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    epoch bigint NOT NULL,
    active smallint NOT NULL CHECK (active IN (0, 1)),
    leaving smallint NOT NULL CHECK (leaving IN (0, 1)),
    server_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    worker_name text COLLATE "C" NOT NULL,
    worker_version text COLLATE "C" NOT NULL,
    labels text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    registered_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    inactive_at bigint,
    secret_hash text COLLATE "C" NOT NULL,
    CHECK ((active = 1) = (inactive_at IS NULL)),
    CHECK (active = 1 OR leaving = 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Not by the time of the heartbeat: each beat would then write an index too. Few sessions are active.
CREATE INDEX sessions_active ON sessions (id) WHERE active = 1;
CREATE INDEX sessions_inactive ON sessions (inactive_at) WHERE active = 0;

CREATE TABLE llms (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    session_id text COLLATE "C",
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('public', 'virtual')),
    model text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    tier text COLLATE "C",
    pool_name text COLLATE "C",
    engine text COLLATE "C" NOT NULL,
    slots integer NOT NULL CHECK (slots >= 0),
    status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'hibernating', 'inactive')),
    endpoints text COLLATE "C",
    extra text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((kind = 'public') = (session_id IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE INDEX llms_of_session ON llms (session_id) WHERE session_id IS NOT NULL;
