-- What callers, owners, operators do to a task.

-- name: cancel_look
-- Lock: the tasks' rows, in the order of ids. Each row as the cancel will leave it, with the session that holds it.
SELECT
    tasks.id, 'cancelled', tasks.attempt, tasks.lane, tasks.owner, tasks.priority, tasks.rank, tasks.size, 1,
    tasks.claimed_by
FROM unnest($1::text[]) AS given (id)
JOIN tasks ON tasks.id = given.id
WHERE tasks.status IN ('pending', 'claimed', 'running')
ORDER BY given.id
FOR UPDATE OF tasks

-- name: cancel
-- Invariant: after `cancel_look` in the same transaction, and `end_attempt` if it was held.
UPDATE tasks
SET status = 'cancelled', ready = 1, claimed_by = NULL, deadline = NULL, lost_by = NULL, completed_at = given.now
FROM unnest($1::bigint[], $2::text[]) AS given (now, id)
WHERE tasks.id = given.id AND tasks.status IN ('pending', 'claimed', 'running')

-- name: status_of
SELECT tasks.id, tasks.status
FROM unnest($1::text[]) AS given (id)
JOIN tasks ON tasks.id = given.id

-- name: replay
-- A new life with the old history: the attempt goes on rising.
UPDATE tasks
SET status = 'pending', ready = 1, tries = 0, rank = $1, available_at = $2, expires_at = $3, expires_in = $4,
    claimed_at = NULL, stream_started_at = NULL, completed_at = NULL, error_code = NULL, error_message = NULL,
    response_status = NULL, response_content_type = NULL, response = NULL,
    prompt_tokens = NULL, completion_tokens = NULL
WHERE id = $5 AND status IN ('error', 'cancelled')
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: free_key
-- Invariant: after `replay` in the same transaction: the key was free since the task's end, and stays so.
DELETE FROM idempotency_keys
WHERE task_id = $1

-- name: delete_task
-- Lock: the tasks' rows, in the order of ids. Only ended ones.
WITH given AS (
    SELECT *
    FROM unnest($1::text[]) WITH ORDINALITY AS given (id, place)
    ORDER BY id
), gone AS (
    DELETE FROM tasks
    USING given
    WHERE tasks.id = given.id AND tasks.status IN ('completed', 'error', 'cancelled')
    RETURNING given.place
)
SELECT place
FROM gone

-- name: delete_history
-- Invariant: after `delete_task` in the same transaction.
DELETE FROM attempts
USING unnest($1::text[]) AS given (task_id)
WHERE attempts.task_id = given.task_id

-- name: delete_stream
-- Invariant: after `delete_task` in the same transaction.
DELETE FROM chunks
USING unnest($1::text[]) AS given (task_id)
WHERE chunks.task_id = given.task_id
