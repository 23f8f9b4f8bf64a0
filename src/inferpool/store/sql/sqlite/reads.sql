-- What readers ask. None locks anything; no list, count or position reads more than 10 000 rows.

-- name: task
SELECT task_rows.*, tasks.content_type, tasks.headers, tasks.request, tasks.response
FROM task_rows
JOIN tasks ON tasks.id = task_rows.id
WHERE task_rows.id = ?

-- name: row
SELECT *
FROM task_rows
WHERE id = ?

-- name: attempts
SELECT task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted, code, message
FROM attempts
WHERE task_id = ?
ORDER BY attempt

-- name: chunks
SELECT attempt, packed
FROM chunks
WHERE task_id = ?

-- name: position
-- Counted to 1 000, through the order's own index.
SELECT 1 + (
    SELECT count(*)
    FROM (
        SELECT 1
        FROM tasks AS before
        WHERE before.lane = tasks.lane AND before.status = 'pending' AND before.ready = 1
            AND (before.rank, before.id) < (tasks.rank, tasks.id)
        LIMIT 999
    )
)
FROM tasks
WHERE id = ? AND status = 'pending'

-- name: tasks
-- Newest first, among the 10 000 before the cursor.
SELECT *
FROM task_rows
WHERE id < ?1
    AND id > coalesce((SELECT id FROM tasks WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET 10000), '')
    AND (?3 IS NULL OR status IN (SELECT value FROM json_each(?3)))
    AND (?4 IS NULL OR pool_name = ?4)
    AND (?5 IS NULL OR llm_name = ?5)
    AND (?6 IS NULL OR agent = ?6)
    AND (?7 IS NULL OR created_at >= ?7)
    AND (?8 IS NULL OR created_at < ?8)
ORDER BY id DESC
LIMIT ?2

-- name: tasks_of_owner
-- Newest first, among the owner's 10 000 before the cursor.
SELECT *
FROM task_rows
WHERE owner = ?9
    AND id < ?1
    AND id > coalesce((SELECT id FROM tasks WHERE owner = ?9 AND id < ?1 ORDER BY id DESC LIMIT 1 OFFSET 10000), '')
    AND (?3 IS NULL OR status IN (SELECT value FROM json_each(?3)))
    AND (?4 IS NULL OR pool_name = ?4)
    AND (?5 IS NULL OR llm_name = ?5)
    AND (?6 IS NULL OR agent = ?6)
    AND (?7 IS NULL OR created_at >= ?7)
    AND (?8 IS NULL OR created_at < ?8)
ORDER BY id DESC
LIMIT ?2

-- name: llms
SELECT
    name, session_id, kind, model, type, tier, pool_name, engine, slots, status, endpoints, extra, created_at, updated_at
FROM llms
WHERE name > ?
ORDER BY name
LIMIT ?

-- name: sessions
SELECT
    id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels, created_at, registered_at,
    seen_at, inactive_at
FROM sessions
WHERE id < ?1 AND (?2 IS NULL OR subject = ?2)
ORDER BY id DESC
LIMIT ?3

-- name: session
SELECT
    id, epoch, active, leaving, server_id, subject, worker_name, worker_version, labels, created_at, registered_at,
    seen_at, inactive_at
FROM sessions
WHERE id = ?

-- name: secret_hash
SELECT secret_hash
FROM sessions
WHERE id = ?

-- name: clocks
SELECT lane, virtual_time
FROM lanes
ORDER BY lane

-- name: pending
SELECT id, lane, owner, priority, rank, size, ready
FROM tasks
WHERE status = 'pending' AND id > ?
ORDER BY id
LIMIT ?

-- name: oldest
-- Ids ascend by time: the earliest of the first rows of the lane's order.
SELECT lane, created_at
FROM tasks
WHERE id = (
    SELECT min(id)
    FROM (SELECT id FROM tasks WHERE lane = ? AND status = 'pending' AND ready = 1 ORDER BY rank, id LIMIT ?)
)

-- name: waiting_lane
-- One probe of the order's index.
SELECT ?1
WHERE EXISTS (SELECT 1 FROM tasks WHERE lane = ?1 AND status = 'pending' AND ready = 1)
