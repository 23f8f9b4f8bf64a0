-- How a session's attempts begin to run, then end. Each is a compare-and-swap on (id, status, attempt, claimed_by).

-- name: start
-- Once an attempt: the first 2xx sets the time, a repeat changes nothing.
UPDATE tasks
SET status = 'running', stream_started_at = ?
WHERE id = ? AND status = 'claimed' AND attempt = ? AND claimed_by = ?

-- name: end_attempt
-- Lock: the task's row. History is written first: it is the compare-and-swap that tells whether the attempt stands, and
-- the row's change follows in the same transaction.
INSERT INTO attempts
    (ended_at, ending, code, message, detail, task_id, attempt, session_id, llm_name, started_at, counted)
SELECT ?, ?, ?, ?, ?, id, attempt, claimed_by, claimed_llm, claimed_at, 0
FROM tasks
WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ?

-- name: complete
-- Invariant: after `end_attempt` in the same transaction.
UPDATE tasks
SET status = 'completed', claimed_by = NULL, deadline = NULL, completed_at = ?,
    response_status = ?, response_content_type = ?, response = ?, prompt_tokens = ?, completion_tokens = ?
WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ?

-- name: keep_chunks
INSERT INTO chunks (task_id, attempt, stored_at, packed)
VALUES (?, ?, ?, ?)

-- name: fail
-- Invariant: after `end_attempt` in the same transaction.
UPDATE tasks
SET status = 'error', claimed_by = NULL, deadline = NULL, completed_at = ?, error_code = ?, error_message = ?,
    response_status = ?, response_content_type = ?, response = ?, prompt_tokens = ?, completion_tokens = ?
WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ?

-- name: give_back
-- Invariant: after `end_attempt` in the same transaction. Costs no try, names nobody as having lost it.
UPDATE tasks
SET status = 'pending', claimed_by = NULL, deadline = NULL, claimed_at = NULL, stream_started_at = NULL
WHERE id = ? AND status IN ('claimed', 'running') AND attempt = ? AND claimed_by = ?
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, ?

-- name: retry_attempt
-- Lock: the task's row. As `end_attempt`; the last try's ending is a failure.
INSERT INTO attempts
    (task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted, code, message)
SELECT
    tasks.id, tasks.attempt, tasks.claimed_by, tasks.claimed_llm, tasks.claimed_at, given.now,
    CASE
        WHEN tasks.tries + given.counts >= tasks.max_tries OR (given.counts = 0 AND tasks.mode <> 'wait') THEN 'failed'
        ELSE 'retried'
    END,
    given.counts, given.code, given.message
FROM (SELECT ? AS now, ? AS counts, ? AS code, ? AS message, ? AS id, ? AS attempt, ? AS session_id) AS given
JOIN tasks ON tasks.id = given.id
WHERE tasks.status IN ('claimed', 'running')
    AND tasks.attempt = given.attempt AND tasks.claimed_by = given.session_id

-- name: retry
-- Invariant: after `retry_attempt` in the same transaction. Pending but not ready until the back-off is over; in error
-- when that was the last try (or a try that costs none, of a call that would not queue).
WITH given AS (
    SELECT ? AS now, ? AS counts, ? AS delay, ? AS code, ? AS message, ? AS response_status,
        ? AS response_content_type, ? AS response, ? AS id, ? AS attempt, ? AS session_id
), judged AS (
    SELECT
        given.*,
        tasks.tries + given.counts >= tasks.max_tries OR (given.counts = 0 AND tasks.mode <> 'wait') AS final
    FROM given
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by = given.session_id
)
UPDATE tasks
SET status = CASE WHEN judged.final THEN 'error' ELSE 'pending' END,
    ready = judged.final,
    tries = tasks.tries + judged.counts,
    available_at = CASE WHEN judged.final THEN tasks.available_at ELSE judged.now + judged.delay END,
    claimed_by = NULL,
    deadline = NULL,
    claimed_at = CASE WHEN judged.final THEN tasks.claimed_at END,
    stream_started_at = CASE WHEN judged.final THEN tasks.stream_started_at END,
    completed_at = CASE WHEN judged.final THEN judged.now END,
    error_code = CASE WHEN judged.final THEN judged.code END,
    error_message = CASE WHEN judged.final THEN judged.message END,
    response_status = judged.response_status,
    response_content_type = judged.response_content_type,
    response = judged.response
FROM judged
WHERE tasks.id = judged.id
RETURNING id, status, attempt, lane, owner, priority, rank, size, ready, ?

-- name: verdict
-- Why an ending found nothing to end: the row, and how the attempt ended if it did.
SELECT tasks.id, tasks.status, attempts.session_id, attempts.ending
FROM tasks
LEFT JOIN attempts ON attempts.task_id = tasks.id AND attempts.attempt = ?2
WHERE tasks.id = ?1
