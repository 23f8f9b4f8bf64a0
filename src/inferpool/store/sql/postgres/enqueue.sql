-- Enqueue: the row is durable before any dispatch.

-- name: claimer
-- Lock: the session's row, once a session and batch, in the order of ids. Whether it may be given work: active, not leaving,
-- at this epoch, at this server.
SELECT given.id, given.epoch, given.server_id
FROM unnest($1::text[], $2::bigint[], $3::text[]) AS given (id, epoch, server_id)
JOIN sessions ON sessions.id = given.id
WHERE sessions.epoch = given.epoch AND sessions.server_id = given.server_id
    AND sessions.active > 0 AND sessions.leaving = 0
ORDER BY given.id
FOR SHARE OF sessions

-- name: find_key
-- A key stands while its task is neither gone nor ended without an answer, for 24 hours at most.
SELECT
    idempotency_keys.owner, idempotency_keys.idempotency_key, idempotency_keys.body_hash, idempotency_keys.task_id,
    coalesce(tasks.status, 'cancelled'), coalesce(tasks.attempt, 0),
    idempotency_keys.created_at > given.horizon AND coalesce(tasks.status, 'cancelled') NOT IN ('error', 'cancelled')
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS given (owner, idempotency_key, horizon)
JOIN idempotency_keys ON idempotency_keys.owner = given.owner AND idempotency_keys.idempotency_key = given.idempotency_key
LEFT JOIN tasks ON tasks.id = idempotency_keys.task_id

-- name: keep_key
-- Lock: the keys' rows, in the order of the keys. A compare-and-swap on the task that `find_key` saw it name, in the same
-- transaction (NULL: there was no such key).
WITH given AS (
    SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) WITH ORDINALITY
        AS given (owner, idempotency_key, body_hash, task_id, created_at, place)
), kept AS (
    INSERT INTO idempotency_keys (owner, idempotency_key, body_hash, task_id, created_at)
    SELECT owner, idempotency_key, body_hash, task_id, created_at
    FROM given
    ORDER BY owner, idempotency_key
    ON CONFLICT (owner, idempotency_key) DO UPDATE
    SET body_hash = excluded.body_hash, task_id = excluded.task_id, created_at = excluded.created_at
    WHERE idempotency_keys.task_id = ANY ($6::text[])
    RETURNING owner, idempotency_key
)
SELECT given.place
FROM given
JOIN kept ON kept.owner = given.owner AND kept.idempotency_key = given.idempotency_key

-- name: enqueue
-- Pending, or claimed as attempt 1 for a session that `claimer` found.
INSERT INTO tasks (
    id, lane, pool_name, llm_name, model, tier, endpoint, streaming, priority, rank, owner, agent, mode, max_tries,
    metadata, created_at, available_at, expires_at, expires_in, size, content_type, headers, request,
    status, attempt, claimed_by, claimed_llm, claim_batch, claimed_at, deadline, run_limit, ready, tries
)
SELECT given.*, 1, 0
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::text[],
    $10::double precision[], $11::text[], $12::text[], $13::text[], $14::integer[], $15::text[], $16::bigint[],
    $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::text[], $22::text[], $23::bytea[], $24::text[],
    $25::integer[], $26::text[], $27::text[], $28::text[], $29::bigint[], $30::bigint[], $31::bigint[]
) AS given
