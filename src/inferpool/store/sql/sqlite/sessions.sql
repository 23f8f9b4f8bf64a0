-- Sessions with what they publish, hold, lose.

-- name: session_locked
-- Lock: the session's row, for the whole transaction. `bound`: its epoch has had its channel. `alive`: its server has beaten
-- since the given time.
SELECT
    epoch, active, leaving, server_id, subject, secret_hash, bound_epoch = epoch,
    EXISTS (SELECT 1 FROM servers WHERE servers.id = sessions.server_id AND servers.seen_at > ?)
FROM sessions
WHERE id = ?

-- name: llm_owner
-- Lock: the llm's row with its session's.
SELECT llms.name, llms.session_id, sessions.subject, sessions.active
FROM llms
LEFT JOIN sessions ON sessions.id = llms.session_id
WHERE llms.name = ?

-- name: put_session
-- Invariant: after `session_locked` in the same transaction. A compare-and-swap on the epoch: it rises. Registering ends
-- a leave.
INSERT INTO sessions (
    id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels,
    created_at, registered_at, seen_at, inactive_at, secret_hash
)
VALUES (?, ?, 1, 0, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
ON CONFLICT (id) DO UPDATE
SET epoch = excluded.epoch, active = 1, leaving = 0, server_id = excluded.server_id, subject = excluded.subject,
    worker_name = excluded.worker_name, worker_version = excluded.worker_version, labels = excluded.labels,
    registered_at = excluded.registered_at, seen_at = excluded.seen_at, inactive_at = NULL
WHERE sessions.epoch < excluded.epoch

-- name: retire_llms
-- The session's own names that it lists no more (a JSON array of those that it does). They stay known, so that calls which
-- name them still find their pool: an engine that is away when its worker starts must not turn its names unknown.
UPDATE llms
SET status = 'inactive', updated_at = ?
WHERE session_id = ? AND status <> 'inactive' AND name NOT IN (SELECT value FROM json_each(?))

-- name: put_llm
-- Invariant: after `llm_owner` in the same transaction, unless another holds the name. Only a name that was known then (it
-- is given again, else NULL) is taken over.
INSERT INTO llms (
    name, session_id, kind, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at, updated_at
)
VALUES (?1, ?2, 'virtual', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (name) DO UPDATE
SET session_id = excluded.session_id, model = excluded.model, type = excluded.type, tier = excluded.tier,
    pool_name = excluded.pool_name, engine = excluded.engine, slots = excluded.slots, status = excluded.status,
    endpoints = excluded.endpoints, extra = excluded.extra, updated_at = excluded.updated_at, revision = 0
WHERE llms.name = ?14

-- name: llms_of_session
SELECT
    name, session_id, kind, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at, updated_at
FROM llms
WHERE session_id = ?
ORDER BY name

-- name: held
-- The used slots of a session, oldest first.
SELECT id, attempt, claimed_llm, streaming, endpoint
FROM tasks
WHERE claimed_by = ? AND status IN ('claimed', 'running')
ORDER BY id

-- name: lost
-- What the session lost and nobody claimed since.
SELECT id, attempt
FROM tasks
WHERE lost_by = ?
ORDER BY id

-- name: revert_attempt
-- Lock: the task's row. As `end_attempt`.
INSERT INTO attempts
    (ended_at, counted, task_id, attempt, session_id, llm_name, started_at, ending, code, message)
SELECT ?, ?, id, attempt, claimed_by, claimed_llm, claimed_at, 'reverted', 'worker_lost', 'the session was lost'
FROM tasks
WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ?

-- name: revert
-- Invariant: after `revert_attempt` in the same transaction. Whoever killed the last worker it may have ends in error.
WITH given AS (SELECT ? AS now, ? AS counts, ? AS id, ? AS attempt, ? AS session_id), judged AS (
    SELECT given.*, tasks.tries + given.counts >= tasks.max_tries AS final
    FROM given
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by = given.session_id
)
UPDATE tasks
SET status = CASE WHEN judged.final THEN 'error' ELSE 'pending' END,
    tries = tasks.tries + judged.counts,
    claimed_by = NULL,
    lost_by = CASE WHEN NOT judged.final THEN tasks.claimed_by END,
    deadline = NULL,
    claimed_at = CASE WHEN judged.final THEN tasks.claimed_at END,
    stream_started_at = CASE WHEN judged.final THEN tasks.stream_started_at END,
    completed_at = CASE WHEN judged.final THEN judged.now END,
    error_code = CASE WHEN judged.final THEN 'worker_lost' END,
    error_message = CASE
        WHEN judged.final THEN 'the worker was lost on the last of ' || tasks.max_tries || ' tries'
    END
FROM judged
WHERE tasks.id = judged.id
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, ?

-- name: adopt
-- A compare-and-swap: the session that lost this attempt is back with it, and nobody claimed it since. Takes the
-- counted try back.
UPDATE tasks
SET status = 'claimed', claimed_by = lost_by, lost_by = NULL, claimed_at = ?1, deadline = ?1 + run_limit,
    tries = tries - (
        SELECT attempts.counted
        FROM attempts
        WHERE attempts.task_id = tasks.id AND attempts.attempt = tasks.attempt
    )
WHERE id = ?2 AND status = 'pending' AND attempt = ?3 AND lost_by = ?4
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: unwrite_attempt
-- Invariant: after `adopt` in the same transaction: the attempt has not ended after all.
DELETE FROM attempts
WHERE task_id = ? AND attempt = ?

-- name: unlose
-- The session is back without it: nothing more is expected of it.
UPDATE tasks
SET lost_by = NULL
WHERE id = ? AND status = 'pending' AND attempt = ? AND lost_by = ?

-- name: bind
-- Invariant: after `session_locked` in the same transaction. The epoch has had its channel.
UPDATE sessions
SET server_id = ?, seen_at = ?, bound_epoch = epoch
WHERE id = ? AND epoch = ? AND active = 1

-- name: leave
-- Invariant: after `session_locked` in the same transaction.
UPDATE sessions
SET leaving = 1
WHERE id = ? AND active = 1

-- name: quiet_llms
-- The session ends, or begins to: nothing more goes to its llms.
UPDATE llms
SET status = 'inactive', updated_at = ?
WHERE session_id = ? AND status <> 'inactive'

-- name: hold_server
-- Lock: the server's row: it beats before this transaction, or after it.
SELECT id
FROM servers
WHERE id = ?

-- name: deactivate
-- Lock: the session's row. Rechecks epoch, server, activity, age, that its server has not beaten since ?5 (NULL: whether it
-- did or not): a session that moved or spoke again stays, as does one whose server is back. Gives whether it was leaving.
SELECT leaving
FROM sessions
WHERE id = ?1 AND epoch = ?2 AND server_id = ?3 AND active = 1 AND seen_at <= ?4
    AND (?5 IS NULL OR NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = ?3 AND servers.seen_at > ?5))

-- name: end_session
-- Invariant: after `deactivate` in the same transaction.
UPDATE sessions
SET active = 0, leaving = 0, inactive_at = ?
WHERE id = ? AND active = 1

-- name: set_llm_status
-- Only while the session stands at this epoch, and does not leave; nothing older than what it told already (0: not counted).
UPDATE llms
SET status = ?1, slots = ?2, revision = max(revision, ?6), updated_at = now_us()
WHERE name = ?3 AND (?6 = 0 OR revision < ?6)
    AND session_id = (SELECT id FROM sessions WHERE id = ?4 AND epoch = ?5 AND active = 1 AND leaving = 0)

-- name: beat_server
INSERT INTO servers (id, seen_at)
VALUES (?, ?)
ON CONFLICT (id) DO UPDATE
SET seen_at = excluded.seen_at

-- name: beat_session
UPDATE sessions
SET seen_at = ?
WHERE id = ? AND active = 1

-- name: retire_server
DELETE FROM servers
WHERE id = ?

-- name: forget_other_servers
-- One server a file: whoever holds its lock is alone, so that every other server is dead.
DELETE FROM servers
