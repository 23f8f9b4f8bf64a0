-- Enqueue: the row is durable before any dispatch.

-- name: claimer
-- Lock: the session's row, once a session and batch. Whether a row may be inserted already claimed for it: active, not
-- leaving, at this epoch, at this server.
SELECT id
FROM sessions
WHERE id = ? AND epoch = ? AND server_id = ? AND active = 1 AND leaving = 0

-- name: find_key
-- A key stands while its task is neither gone nor ended without an answer, for 24 hours at most.
SELECT idempotency_keys.body_hash, tasks.id, tasks.status, tasks.attempt
FROM idempotency_keys
JOIN tasks ON tasks.id = idempotency_keys.task_id
WHERE idempotency_keys.owner = ?
    AND idempotency_keys.idempotency_key = ?
    AND idempotency_keys.created_at > ?
    AND tasks.status NOT IN ('error', 'cancelled')

-- name: keep_key
-- Invariant: only after `find_key` found nothing that stands, in the same transaction.
INSERT INTO idempotency_keys (owner, idempotency_key, body_hash, task_id, created_at)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (owner, idempotency_key) DO UPDATE
SET body_hash = excluded.body_hash, task_id = excluded.task_id, created_at = excluded.created_at

-- name: enqueue
-- Pending, or claimed as attempt 1 for a session that `claimer` found.
INSERT INTO tasks (
    id, lane, pool_name, llm_name, model, tier, endpoint, streaming, priority, rank, owner, agent, mode, max_tries,
    metadata, created_at, available_at, expires_at, expires_in, size, content_type, headers, request,
    status, attempt, claimed_by, claimed_llm, claim_batch, claimed_at, deadline, run_limit, ready, tries
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0)
