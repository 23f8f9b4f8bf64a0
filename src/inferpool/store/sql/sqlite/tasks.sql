-- What callers, owners, operators do to a task.

-- name: cancel_look
-- Lock: the task's row. The row as the cancel will leave it, with the session that holds it.
SELECT id, 'cancelled', attempt, lane, owner, priority, rank, size, 1, claimed_by
FROM tasks
WHERE id = ? AND status IN ('pending', 'claimed', 'running')

-- name: cancel
-- Invariant: after `cancel_look` in the same transaction, and `end_attempt` if it was held.
UPDATE tasks
SET status = 'cancelled', ready = 1, claimed_by = NULL, deadline = NULL, lost_by = NULL, completed_at = ?
WHERE id = ? AND status IN ('pending', 'claimed', 'running')

-- name: status_of
SELECT id, status
FROM tasks
WHERE id = ?

-- name: replay
-- A new life with the old history: the attempt goes on rising.
UPDATE tasks
SET status = 'pending', ready = 1, tries = 0, rank = ?, available_at = ?, expires_at = ?, expires_in = ?,
    claimed_at = NULL, stream_started_at = NULL, completed_at = NULL, error_code = NULL, error_message = NULL,
    response_status = NULL, response_content_type = NULL, response = NULL,
    prompt_tokens = NULL, completion_tokens = NULL
WHERE id = ? AND status IN ('error', 'cancelled')
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, NULL

-- name: free_key
-- Invariant: after `replay` in the same transaction: the key was free since the task's end, and stays so.
DELETE FROM idempotency_keys
WHERE task_id = ?

-- name: delete_task
-- Only an ended one.
DELETE FROM tasks
WHERE id = ? AND status IN ('completed', 'error', 'cancelled')

-- name: delete_history
-- Invariant: after `delete_task` in the same transaction.
DELETE FROM attempts
WHERE task_id = ?

-- name: delete_stream
-- Invariant: after `delete_task` in the same transaction.
DELETE FROM chunks
WHERE task_id = ?
