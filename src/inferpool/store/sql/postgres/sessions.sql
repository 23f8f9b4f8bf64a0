-- Sessions with what they publish, hold, lose.

-- name: session_locked
-- Lock: the session's row, for the whole transaction. `bound`: its epoch has had its channel. `alive`: its server has beaten
-- since the given time.
SELECT
    epoch, active, leaving, server_id, subject, secret_hash, bound_epoch = epoch,
    EXISTS (SELECT 1 FROM servers WHERE servers.id = sessions.server_id AND servers.seen_at > $1)
FROM sessions
WHERE id = $2
FOR UPDATE OF sessions

-- name: llm_owner
-- Lock: the llms' rows, in the order of names, with their sessions'.
SELECT llms.name, llms.session_id, sessions.subject, sessions.active
FROM unnest($1::text[]) AS given (name)
JOIN llms ON llms.name = given.name
LEFT JOIN sessions ON sessions.id = llms.session_id
ORDER BY given.name
FOR UPDATE OF llms

-- name: put_session
-- Invariant: after `session_locked` in the same transaction. A compare-and-swap on the epoch: it rises. Registering ends
-- a leave.
WITH given AS (
    SELECT *
    FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::text[]
    ) WITH ORDINALITY AS given (
        id, epoch, server_id, subject, worker_name, worker_version, labels, created_at, registered_at, seen_at,
        secret_hash, place
    )
), put AS (
    INSERT INTO sessions (
        id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels,
        created_at, registered_at, seen_at, inactive_at, secret_hash
    )
    SELECT
        id, epoch, 1, 0, server_id, subject, worker_name, worker_version, labels,
        created_at, registered_at, seen_at, NULL, secret_hash
    FROM given
    ON CONFLICT (id) DO UPDATE
    SET epoch = excluded.epoch, active = 1, leaving = 0, server_id = excluded.server_id, subject = excluded.subject,
        worker_name = excluded.worker_name, worker_version = excluded.worker_version, labels = excluded.labels,
        registered_at = excluded.registered_at, seen_at = excluded.seen_at, inactive_at = NULL
    WHERE sessions.epoch < excluded.epoch
    RETURNING id
)
SELECT given.place
FROM given
JOIN put ON put.id = given.id

-- name: retire_llms
-- The session's own names that it lists no more (a JSON array of those that it does). They stay known, so that calls which
-- name them still find their pool: an engine that is away when its worker starts must not turn its names unknown.
UPDATE llms
SET status = 'inactive', updated_at = $1
WHERE session_id = $2 AND status <> 'inactive' AND name NOT IN (SELECT json_array_elements_text($3::text::json))

-- name: put_llm
-- Invariant: after `llm_owner` in the same transaction, unless another holds the name. Only a name that was known then (it
-- is given again, else NULL) is taken over.
WITH given AS (
    SELECT *
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::integer[], $9::text[],
        $10::text[], $11::text[], $12::bigint[], $13::bigint[]
    ) WITH ORDINALITY AS given (
        name, session_id, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at,
        updated_at, place
    )
), put AS (
    INSERT INTO llms (
        name, session_id, kind, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at,
        updated_at
    )
    SELECT
        name, session_id, 'virtual', model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at,
        updated_at
    FROM given
    ORDER BY name
    ON CONFLICT (name) DO UPDATE
    SET session_id = excluded.session_id, model = excluded.model, type = excluded.type, tier = excluded.tier,
        pool_name = excluded.pool_name, engine = excluded.engine, slots = excluded.slots, status = excluded.status,
        endpoints = excluded.endpoints, extra = excluded.extra, updated_at = excluded.updated_at, revision = 0
    WHERE llms.name = ANY ($14::text[])
    RETURNING name
)
SELECT given.place
FROM given
JOIN put ON put.name = given.name

-- name: llms_of_session
SELECT
    name, session_id, kind, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at, updated_at
FROM llms
WHERE session_id = $1
ORDER BY name

-- name: held
-- The used slots of a session, oldest first.
SELECT id, attempt, claimed_llm, streaming, endpoint
FROM tasks
WHERE claimed_by = $1 AND status IN ('claimed', 'running')
ORDER BY id

-- name: lost
-- What the session lost and nobody claimed since.
SELECT id, attempt
FROM tasks
WHERE lost_by = $1
ORDER BY id

-- name: revert_attempt
-- Lock: the tasks' rows, in the order of ids. As `end_attempt`.
WITH standing AS (
    SELECT given.*, tasks.claimed_llm, tasks.claimed_at
    FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::integer[], $5::text[])
        AS given (now, counted, id, attempt, session_id)
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id
    ORDER BY given.id
    FOR UPDATE OF tasks
)
INSERT INTO attempts
    (task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted, code, message)
SELECT
    id, attempt, session_id, claimed_llm, claimed_at, now, 'reverted', counted, 'worker_lost', 'the session was lost'
FROM standing

-- name: revert
-- Invariant: after `revert_attempt` in the same transaction. Whoever killed the last worker it may have ends in error.
WITH judged AS (
    SELECT given.*, tasks.tries + given.counts >= tasks.max_tries AS final
    FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::integer[], $5::text[], $6::text[]) WITH ORDINALITY
        AS given (now, counts, id, attempt, claimed_by, session_id, place)
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.claimed_by
), moved AS (
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
    RETURNING judged.place, judged.session_id, tasks.*
)
SELECT id, status, attempt, lane, owner, priority, rank, size, ready, session_id
FROM moved
ORDER BY place

-- name: adopt
-- A compare-and-swap: the session that lost this attempt is back with it, and nobody claimed it since. Takes the
-- counted try back.
WITH given AS (
    SELECT *
    FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::text[]) WITH ORDINALITY
        AS given (now, id, attempt, lost_by, place)
    ORDER BY id
), adopted AS (
    UPDATE tasks
    SET status = 'claimed', claimed_by = tasks.lost_by, lost_by = NULL, claimed_at = given.now,
        deadline = given.now + tasks.run_limit,
        tries = tasks.tries - (
            SELECT attempts.counted
            FROM attempts
            WHERE attempts.task_id = tasks.id AND attempts.attempt = tasks.attempt
        )
    FROM given
    WHERE tasks.id = given.id AND tasks.status = 'pending'
        AND tasks.attempt = given.attempt AND tasks.lost_by IS NOT DISTINCT FROM given.lost_by
    RETURNING given.place, tasks.*
)
SELECT id, status, attempt, lane, owner, priority, rank, size, ready, NULL
FROM adopted
ORDER BY place

-- name: unwrite_attempt
-- Invariant: after `adopt` in the same transaction: the attempt has not ended after all.
DELETE FROM attempts
USING unnest($1::text[], $2::integer[]) AS given (task_id, attempt)
WHERE attempts.task_id = given.task_id AND attempts.attempt = given.attempt

-- name: unlose
-- Lock: the tasks' rows, in the order of ids. The session is back without it: nothing more is expected of it.
UPDATE tasks
SET lost_by = NULL
FROM (
    SELECT *
    FROM unnest($1::text[], $2::integer[], $3::text[]) AS given (id, attempt, lost_by)
    ORDER BY id
) AS given
WHERE tasks.id = given.id AND tasks.status = 'pending'
    AND tasks.attempt = given.attempt AND tasks.lost_by IS NOT DISTINCT FROM given.lost_by

-- name: bind
-- Invariant: after `session_locked` in the same transaction. The epoch has had its channel.
UPDATE sessions
SET server_id = $1, seen_at = $2, bound_epoch = epoch
WHERE id = $3 AND epoch = $4 AND active = 1

-- name: leave
-- Invariant: after `session_locked` in the same transaction.
UPDATE sessions
SET leaving = 1
WHERE id = $1 AND active = 1

-- name: quiet_llms
-- The session ends, or begins to: nothing more goes to its llms.
UPDATE llms
SET status = 'inactive', updated_at = $1
WHERE session_id = $2 AND status <> 'inactive'

-- name: hold_server
-- Lock: the server's row, which servers' beats take before those of sessions: it beats before this transaction, or after it.
-- Rescuers of its other sessions do not wait.
SELECT id
FROM servers
WHERE id = $1
FOR SHARE

-- name: deactivate
-- Lock: the session's row. Rechecks epoch, server, activity, age, that its server has not beaten since $5 (NULL: whether it
-- did or not): a session that moved or spoke again stays, as does one whose server is back. Gives whether it was leaving.
SELECT leaving
FROM sessions
WHERE id = $1 AND epoch = $2 AND server_id = $3 AND active = 1 AND seen_at <= $4
    AND ($5::bigint IS NULL OR NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = $3 AND servers.seen_at > $5))
FOR UPDATE

-- name: end_session
-- Invariant: after `deactivate` in the same transaction.
UPDATE sessions
SET active = 0, leaving = 0, inactive_at = $1
WHERE id = $2 AND active = 1

-- name: set_llm_status
-- Only while the session stands at this epoch, and does not leave; nothing older than what it told already (0: not counted).
WITH given AS (
    SELECT *
    FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
        AS given (status, slots, name, session_id, epoch, revision)
), standing AS (
    SELECT sessions.id
    FROM given
    JOIN sessions ON sessions.id = given.session_id
    WHERE sessions.epoch = given.epoch AND sessions.active = 1 AND sessions.leaving = 0
    FOR SHARE OF sessions
)
UPDATE llms
SET status = given.status, slots = given.slots, revision = greatest(llms.revision, given.revision), updated_at = now_us()
FROM given
JOIN standing ON standing.id = given.session_id
WHERE llms.name = given.name AND llms.session_id = given.session_id
    AND (given.revision = 0 OR llms.revision < given.revision)

-- name: beat_server
INSERT INTO servers (id, seen_at)
VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE
SET seen_at = excluded.seen_at

-- name: beat_session
-- Lock: the sessions' rows, in the order of ids.
UPDATE sessions
SET seen_at = given.now
FROM (SELECT * FROM unnest($1::bigint[], $2::text[]) AS given (now, id) ORDER BY id) AS given
WHERE sessions.id = given.id AND sessions.active > 0

-- name: retire_server
DELETE FROM servers
WHERE id = $1
