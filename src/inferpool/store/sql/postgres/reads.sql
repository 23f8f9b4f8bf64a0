-- What readers ask. None locks anything; no list, count or position reads more than 10 000 rows.

-- name: task
SELECT task_rows.*, tasks.content_type, tasks.headers, tasks.request, tasks.response
FROM task_rows
JOIN tasks ON tasks.id = task_rows.id
WHERE task_rows.id = $1

-- name: row
SELECT *
FROM task_rows
WHERE id = $1

-- name: attempts
SELECT task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted, code, message
FROM attempts
WHERE task_id = $1
ORDER BY attempt

-- name: chunks
SELECT attempt, packed
FROM chunks
WHERE task_id = $1

-- name: position
-- Counted to 1 000, through the order's own index.
SELECT 1 + (
    SELECT count(*)
    FROM (
        SELECT 1
        FROM tasks AS before
        WHERE before.lane = tasks.lane AND before.claimed_by IS NULL AND before.completed_at IS NULL
            AND before.ready = 1 AND (before.rank, before.id) < (tasks.rank, tasks.id)
        LIMIT 999
    ) AS earlier
)
FROM tasks
WHERE id = $1 AND status = 'pending'

-- name: tasks
-- Newest first, among the 10 000 before the cursor.
SELECT *
FROM task_rows
WHERE id < $1
    AND id > coalesce((SELECT id FROM tasks WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET 10000), '')
    AND ($3::text IS NULL OR status IN (SELECT json_array_elements_text($3::json)))
    AND ($4::text IS NULL OR pool_name = $4)
    AND ($5::text IS NULL OR llm_name = $5)
    AND ($6::text IS NULL OR agent = $6)
    AND ($7::bigint IS NULL OR created_at >= $7)
    AND ($8::bigint IS NULL OR created_at < $8)
ORDER BY id DESC
LIMIT $2

-- name: tasks_of_owner
-- Newest first, among the owner's 10 000 before the cursor. Pairs compare through the index of owners alone: one that owns
-- little is not looked for among all tasks.
SELECT *
FROM task_rows
WHERE (owner, id) < ($9, $1)
    AND (owner, id) > (
        $9,
        coalesce(
            (
                SELECT id
                FROM tasks
                WHERE (owner, id) < ($9, $1) AND (owner, id) > ($9, '')
                ORDER BY owner DESC, id DESC
                LIMIT 1 OFFSET 10000
            ),
            ''
        )
    )
    AND ($3::text IS NULL OR status IN (SELECT json_array_elements_text($3::json)))
    AND ($4::text IS NULL OR pool_name = $4)
    AND ($5::text IS NULL OR llm_name = $5)
    AND ($6::text IS NULL OR agent = $6)
    AND ($7::bigint IS NULL OR created_at >= $7)
    AND ($8::bigint IS NULL OR created_at < $8)
ORDER BY owner DESC, id DESC
LIMIT $2

-- name: llms
SELECT
    name, session_id, kind, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at, updated_at
FROM llms
WHERE name > $1
ORDER BY name
LIMIT $2

-- name: sessions
SELECT
    id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels, created_at, registered_at,
    seen_at, inactive_at
FROM sessions
WHERE id < $1 AND ($2::text IS NULL OR subject = $2)
ORDER BY id DESC
LIMIT $3

-- name: session
SELECT
    id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels, created_at, registered_at,
    seen_at, inactive_at
FROM sessions
WHERE id = $1

-- name: secret_hash
SELECT secret_hash
FROM sessions
WHERE id = $1

-- name: clocks
SELECT lane, virtual_time
FROM lanes
ORDER BY lane

-- name: pending
SELECT id, lane, owner, priority, rank, size, ready
FROM tasks
WHERE status = 'pending' AND id > $1
ORDER BY id
LIMIT $2

-- name: oldest
-- Ids ascend by time: the earliest of the first rows of the lane's order.
SELECT given.lane, tasks.created_at
FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS given (lane, depth, place)
CROSS JOIN LATERAL (
    SELECT min(id) AS id
    FROM (
        SELECT id
        FROM tasks
        WHERE tasks.lane = given.lane AND claimed_by IS NULL AND completed_at IS NULL AND ready = 1
        ORDER BY rank, id
        LIMIT given.depth
    ) AS first
) AS earliest
JOIN tasks ON tasks.id = earliest.id
ORDER BY given.place

-- name: waiting_lane
-- One probe of the order's index a lane.
SELECT given.lane
FROM unnest($1::text[]) WITH ORDINALITY AS given (lane, place)
WHERE EXISTS (
    SELECT 1
    FROM tasks
    WHERE tasks.lane = given.lane AND claimed_by IS NULL AND completed_at IS NULL AND ready = 1
)
ORDER BY given.place
