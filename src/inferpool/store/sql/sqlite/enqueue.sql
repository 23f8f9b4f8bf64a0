-- Enqueue: the row is durable before any dispatch.

-- name: claimer
-- Lock: the session's row, once a session and batch. Whether it may be given work: active, not leaving, at this epoch, at
-- this server.
SELECT ?1, ?2, ?3
FROM sessions
WHERE id = ?1 AND epoch = ?2 AND server_id = ?3 AND active = 1 AND leaving = 0

-- name: find_key
-- A key stands while its task is neither gone nor ended without an answer, for 24 hours at most.
SELECT
    idempotency_keys.owner, idempotency_keys.idempotency_key, idempotency_keys.body_hash, idempotency_keys.task_id,
    coalesce(tasks.status, 'cancelled'), coalesce(tasks.attempt, 0),
    idempotency_keys.created_at > ?3 AND coalesce(tasks.status, 'cancelled') NOT IN ('error', 'cancelled')
FROM idempotency_keys
LEFT JOIN tasks ON tasks.id = idempotency_keys.task_id
WHERE idempotency_keys.owner = ?1 AND idempotency_keys.idempotency_key = ?2

-- name: keep_key
-- A compare-and-swap on the task that `find_key` saw it name, in the same transaction (NULL: there was no such key).
INSERT INTO idempotency_keys (owner, idempotency_key, body_hash, task_id, created_at)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (owner, idempotency_key) DO UPDATE
SET body_hash = excluded.body_hash, task_id = excluded.task_id, created_at = excluded.created_at
WHERE idempotency_keys.task_id = ?6

-- name: enqueue
-- Pending, or claimed as attempt 1 for a session that `claimer` found.
INSERT INTO tasks (
    id, lane, pool_name, llm_name, model, tier, endpoint, streaming, priority, rank, owner, agent, mode, max_tries,
    metadata, created_at, available_at, expires_at, expires_in, size, content_type, headers, request,
    status, attempt, claimed_by, claimed_llm, claim_batch, claimed_at, deadline, run_limit, ready, tries
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0)
