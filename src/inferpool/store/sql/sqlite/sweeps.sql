-- Polls and sweeps: each rechecks its horizon in its own statement, so that running twice changes nothing.

-- name: make_ready
UPDATE tasks
SET ready = 1
WHERE id IN (
    SELECT id
    FROM tasks
    WHERE status = 'pending' AND ready = 0 AND available_at <= now_us()
    ORDER BY available_at
    LIMIT ?
)
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: expire
-- Not what a session lost and may still deliver.
UPDATE tasks
SET status = 'error', ready = 1, completed_at = now_us(), error_code = 'expired',
    error_message = 'expired in pending state after ' || (expires_in / 1000000) || ' s'
WHERE id IN (
    SELECT id
    FROM tasks
    WHERE status = 'pending' AND expires_at <= now_us() AND lost_by IS NULL
    ORDER BY expires_at
    LIMIT ?
)
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: overdue
-- Lock: the tasks' rows. Each as its end will leave it, with the session that holds it.
SELECT id, 'error', attempt, lane, owner, priority, rank, size, 1, claimed_by
FROM tasks
WHERE status IN ('claimed', 'running') AND deadline <= now_us()
ORDER BY deadline
LIMIT ?

-- name: end_overdue
-- Invariant: after `end_attempt` in the same transaction.
UPDATE tasks
SET status = 'error', claimed_by = NULL, deadline = NULL, completed_at = ?, error_code = 'engine_timeout',
    error_message = 'no end within the run limit of ' || (run_limit / 1000000) || ' s'
WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ? AND deadline <= ?

-- name: end_unserved
-- Live: published by a session that neither ended nor leaves, at work or hibernating.
UPDATE tasks
SET status = 'error', ready = 1, lost_by = NULL, completed_at = now_us(), error_code = 'llm_unavailable',
    error_message = 'no live llm serves ' || lane
WHERE id IN (
    SELECT waiting.id
    FROM tasks AS waiting
    WHERE waiting.status = 'pending' AND waiting.mode <> 'wait'
        AND NOT EXISTS (
            SELECT 1
            FROM llms
            WHERE llms.status <> 'inactive'
                AND waiting.lane IN (
                    'pool:' || coalesce(llms.pool_name, llms.name), 'llm:' || llms.name, 'tier:' || llms.tier
                )
                AND (
                    llms.endpoints IS NULL
                    OR waiting.endpoint IN (SELECT value FROM json_each(llms.endpoints))
                )
        )
    ORDER BY waiting.id
    LIMIT ?
)
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: silent_sessions
-- Lock: the sessions' rows.
SELECT id, epoch, server_id
FROM sessions
WHERE active = 1 AND seen_at <= now_us() - ?
ORDER BY seen_at
LIMIT ?

-- name: forgotten_sessions
-- Lock: the sessions' rows.
SELECT id
FROM sessions
WHERE active = 0 AND inactive_at <= now_us() - ?
ORDER BY inactive_at
LIMIT ?

-- name: delete_session_llms
DELETE FROM llms
WHERE session_id = ?

-- name: clear_lost
-- The session will never be back.
UPDATE tasks
SET lost_by = NULL
WHERE lost_by = ?

-- name: delete_session
-- Invariant: after its llms.
DELETE FROM sessions
WHERE id = ? AND active = 0

-- name: ended_tasks
-- Lock: the tasks' rows. Only ended ones have the time of their end.
SELECT id
FROM tasks
WHERE completed_at <= now_us() - ?
ORDER BY completed_at
LIMIT ?

-- name: delete_chunks
DELETE FROM chunks
WHERE task_id IN (SELECT task_id FROM chunks WHERE stored_at <= now_us() - ? ORDER BY stored_at LIMIT ?)
RETURNING task_id

-- name: delete_keys
DELETE FROM idempotency_keys
WHERE (owner, idempotency_key) IN (
    SELECT owner, idempotency_key
    FROM idempotency_keys
    WHERE created_at <= now_us() - ?
    ORDER BY created_at
    LIMIT ?
)
RETURNING task_id

-- name: write_clock
-- A stored time never falls.
INSERT INTO lanes (lane, virtual_time)
VALUES (?, ?)
ON CONFLICT (lane) DO UPDATE
SET virtual_time = max(lanes.virtual_time, excluded.virtual_time)
