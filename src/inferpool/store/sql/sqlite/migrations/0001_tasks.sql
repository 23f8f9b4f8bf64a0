-- oldest release: 0.1.0
-- The first schema. Times are integer microseconds since 1970-01-01 UTC; flags are 0 or 1; ids are UUIDv7 text.
-- The checks repeat the law of core/lifecycle.py: what a statement forgets, the database refuses.

CREATE TABLE tasks (
    id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    lane TEXT NOT NULL,
    pool_name TEXT,
    llm_name TEXT,
    model TEXT NOT NULL,
    tier TEXT,
    endpoint TEXT NOT NULL,
    streaming INTEGER NOT NULL CHECK (streaming IN (0, 1)),
    priority TEXT NOT NULL CHECK (
        priority = 'default' OR priority = 'batch' OR priority = 'flex' OR priority = 'priority'
    ),
    rank REAL NOT NULL,
    ready INTEGER NOT NULL CHECK (ready IN (0, 1)),
    owner TEXT NOT NULL,
    agent TEXT,
    mode TEXT NOT NULL CHECK (mode = 'wait' OR mode = 'live' OR mode = 'never'),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    tries INTEGER NOT NULL CHECK (tries BETWEEN 0 AND max_tries),
    max_tries INTEGER NOT NULL CHECK (max_tries BETWEEN 1 AND 100),
    claimed_by TEXT,
    claimed_llm TEXT,
    claim_batch TEXT,
    lost_by TEXT,
    response_status INTEGER,
    response_content_type TEXT,
    error_code TEXT,
    error_message TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    available_at INTEGER NOT NULL,
    claimed_at INTEGER,
    deadline INTEGER,
    stream_started_at INTEGER,
    completed_at INTEGER,
    expires_at INTEGER NOT NULL,
    expires_in INTEGER NOT NULL,
    run_limit INTEGER,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    headers TEXT NOT NULL,
    -- The bodies stand last, so that whoever reads a row without them never follows it into its overflow pages.
    request BLOB NOT NULL,
    response BLOB,
    -- A line a state: what must stand in its rows, what must not. (Comparisons rather than lists: SQLite builds a
    -- table for each IN of more than two, at every write.)
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
            ELSE 0
        END
    )
) STRICT;

-- Order: the claim walks this, one lane at a time.
CREATE INDEX tasks_waiting ON tasks (lane, rank, id) WHERE status = 'pending' AND ready = 1;
-- The one-second poll for back-offs that are over.
CREATE INDEX tasks_backing_off ON tasks (available_at) WHERE status = 'pending' AND ready = 0;
-- What a session holds (claimed_by stands in held rows only).
CREATE INDEX tasks_held ON tasks (claimed_by) WHERE claimed_by IS NOT NULL;
-- What a session lost and may still deliver; without it a registration reads the whole backlog.
CREATE INDEX tasks_lost ON tasks (lost_by) WHERE lost_by IS NOT NULL;
-- Calls that would not queue: few of them are ever pending, and the one-second poll looks for them.
CREATE INDEX tasks_impatient ON tasks (id) WHERE status = 'pending' AND mode <> 'wait';
-- The sweeps (a deadline stands in held rows only, completed_at in ended ones).
CREATE INDEX tasks_expiring ON tasks (expires_at) WHERE status = 'pending';
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
    task_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    llm_name TEXT,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    ending TEXT NOT NULL CHECK (
        ending = 'completed' OR ending = 'failed' OR ending = 'retried' OR ending = 'reverted'
        OR ending = 'returned' OR ending = 'cancelled'
    ),
    counted INTEGER NOT NULL CHECK (counted IN (0, 1)),
    code TEXT,
    message TEXT,
    detail TEXT,
    PRIMARY KEY (task_id, attempt)
) STRICT, WITHOUT ROWID;

-- The winning attempt's packed stream.
CREATE TABLE chunks (
    task_id TEXT NOT NULL PRIMARY KEY,
    attempt INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    packed BLOB NOT NULL
) STRICT;

CREATE INDEX chunks_stored ON chunks (stored_at);

CREATE TABLE idempotency_keys (
    owner TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    task_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_of_task ON idempotency_keys (task_id);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- A lane's virtual time (V of spec section 6): it never falls.
CREATE TABLE lanes (
    lane TEXT NOT NULL PRIMARY KEY,
    virtual_time REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE servers (
    id TEXT NOT NULL PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    leaving INTEGER NOT NULL CHECK (leaving IN (0, 1)),
    server_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    worker_name TEXT NOT NULL,
    worker_version TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    inactive_at INTEGER,
    secret_hash TEXT NOT NULL,
    CHECK ((active = 1) = (inactive_at IS NULL)),
    CHECK (active = 1 OR leaving = 0)
) STRICT;

CREATE INDEX sessions_seen ON sessions (seen_at) WHERE active = 1;
CREATE INDEX sessions_inactive ON sessions (inactive_at) WHERE active = 0;

CREATE TABLE llms (
    name TEXT NOT NULL PRIMARY KEY,
    session_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('public', 'virtual')),
    model TEXT NOT NULL,
    type TEXT NOT NULL,
    tier TEXT,
    pool_name TEXT,
    engine TEXT NOT NULL,
    slots INTEGER NOT NULL CHECK (slots >= 0),
    status TEXT NOT NULL CHECK (status IN ('active', 'hibernating', 'inactive')),
    endpoints TEXT,
    extra TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK ((kind = 'public') = (session_id IS NULL))
) STRICT;

CREATE INDEX llms_of_session ON llms (session_id) WHERE session_id IS NOT NULL;
