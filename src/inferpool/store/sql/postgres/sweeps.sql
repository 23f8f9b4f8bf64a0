-- Polls and sweeps: each rechecks its horizon in its own statement, so that running twice changes nothing. Rows that another
-- server works on are passed over: it does the same.

-- name: make_ready
UPDATE tasks
SET ready = 1
WHERE id = ANY (ARRAY(
    SELECT id
    FROM tasks
    WHERE status = 'pending' AND ready = 0 AND available_at <= now_us()
    ORDER BY available_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: expire
-- Not what a session lost and may still deliver.
UPDATE tasks
SET status = 'error', ready = 1, completed_at = now_us(), error_code = 'expired',
    error_message = 'expired in pending state after ' || (expires_in / 1000000) || ' s'
WHERE id = ANY (ARRAY(
    SELECT id
    FROM tasks
    WHERE status = 'pending' AND claimed_by IS NULL AND completed_at IS NULL
        AND expires_at <= now_us() AND lost_by IS NULL
    ORDER BY expires_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
))
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: overdue
-- Lock: the tasks' rows. Each as its end will leave it, with the session that holds it.
SELECT id, 'error', attempt, lane, owner, priority, rank, size, 1, claimed_by
FROM tasks
WHERE status IN ('claimed', 'running') AND deadline <= now_us()
ORDER BY deadline
LIMIT $1
FOR UPDATE SKIP LOCKED

-- name: end_overdue
-- Invariant: after `end_attempt` in the same transaction.
UPDATE tasks
SET status = 'error', claimed_by = NULL, deadline = NULL, completed_at = given.now, error_code = 'engine_timeout',
    error_message = 'no end within the run limit of ' || (tasks.run_limit / 1000000) || ' s'
FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::text[], $5::bigint[])
    AS given (now, id, attempt, session_id, horizon)
WHERE tasks.id = given.id AND tasks.status IN ('claimed', 'running')
    AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id
    AND coalesce(tasks.deadline, 0) <= given.horizon

-- name: end_unserved
-- Live: published by a session that neither ended nor leaves, at work or hibernating.
UPDATE tasks
SET status = 'error', ready = 1, lost_by = NULL, completed_at = now_us(), error_code = 'llm_unavailable',
    error_message = 'no live llm serves ' || lane
WHERE id = ANY (ARRAY(
    SELECT waiting.id
    FROM tasks AS waiting
    WHERE waiting.status = 'pending' AND waiting.claimed_by IS NULL AND waiting.completed_at IS NULL
        AND waiting.mode <> 'wait'
        AND NOT EXISTS (
            SELECT 1
            FROM llms
            WHERE llms.status <> 'inactive'
                AND waiting.lane IN (
                    'pool:' || coalesce(llms.pool_name, llms.name), 'llm:' || llms.name, 'tier:' || llms.tier
                )
                AND (
                    llms.endpoints IS NULL
                    OR waiting.endpoint IN (SELECT json_array_elements_text(llms.endpoints::json))
                )
        )
    ORDER BY waiting.id
    LIMIT $1
    FOR UPDATE OF waiting SKIP LOCKED
))
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: silent_sessions
-- Lock: the sessions' rows.
SELECT id, epoch, server_id
FROM sessions
WHERE active = 1 AND seen_at <= now_us() - $1
ORDER BY seen_at
LIMIT $2
FOR UPDATE SKIP LOCKED

-- name: forgotten_sessions
-- Lock: the sessions' rows.
SELECT id
FROM sessions
WHERE active = 0 AND inactive_at <= now_us() - $1
ORDER BY inactive_at
LIMIT $2
FOR UPDATE SKIP LOCKED

-- name: delete_session_llms
DELETE FROM llms
USING unnest($1::text[]) AS given (session_id)
WHERE llms.session_id = given.session_id

-- name: clear_lost
-- The session will never be back.
UPDATE tasks
SET lost_by = NULL
FROM unnest($1::text[]) AS given (session_id)
WHERE tasks.lost_by = given.session_id

-- name: delete_session
-- Invariant: after its llms.
DELETE FROM sessions
USING unnest($1::text[]) AS given (id)
WHERE sessions.id = given.id AND sessions.active = 0

-- name: ended_tasks
-- Lock: the tasks' rows. Only ended ones have the time of their end.
SELECT id
FROM tasks
WHERE completed_at <= now_us() - $1
ORDER BY completed_at
LIMIT $2
FOR UPDATE SKIP LOCKED

-- name: delete_chunks
DELETE FROM chunks
WHERE task_id = ANY (ARRAY(
    SELECT task_id
    FROM chunks
    WHERE stored_at <= now_us() - $1
    ORDER BY stored_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))
RETURNING task_id

-- name: delete_keys
WITH old AS (
    SELECT owner, idempotency_key
    FROM idempotency_keys
    WHERE created_at <= now_us() - $1
    ORDER BY created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM idempotency_keys
USING old
WHERE idempotency_keys.owner = old.owner AND idempotency_keys.idempotency_key = old.idempotency_key
RETURNING idempotency_keys.task_id

-- name: write_clock
-- Lock: the lanes' rows, in the order of names. A stored time never falls.
INSERT INTO lanes (lane, virtual_time)
SELECT lane, virtual_time
FROM unnest($1::text[], $2::double precision[]) AS given (lane, virtual_time)
ORDER BY lane
ON CONFLICT (lane) DO UPDATE
SET virtual_time = greatest(lanes.virtual_time, excluded.virtual_time)
WHERE lanes.virtual_time < excluded.virtual_time
