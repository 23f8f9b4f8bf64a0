-- How a session's attempts begin to run, then end. Each is a compare-and-swap on (id, status, attempt, claimed_by).
-- IS NOT DISTINCT FROM is an equality that no index serves: rows are found by their id alone. By `=` the planner would walk the
-- index of held rows where it believes that there are none, a whole walk for each row of the batch.

-- name: start
-- Lock: the tasks' rows, in the order of ids. Once an attempt: the first 2xx sets the time, a repeat changes nothing.
UPDATE tasks
SET status = 'running', stream_started_at = given.now
FROM (
    SELECT *
    FROM unnest($1::bigint[], $2::text[], $3::integer[], $4::text[]) AS given (now, id, attempt, session_id)
    ORDER BY id
) AS given
WHERE tasks.id = given.id AND tasks.status = 'claimed'
    AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id

-- name: end_attempt
-- Lock: the tasks' rows, in the order of ids. History is written first: it is the compare-and-swap that tells whether the
-- attempt stands, and the row's change follows in the same transaction.
WITH standing AS (
    SELECT given.*, tasks.claimed_llm, tasks.claimed_at
    FROM unnest(
        $1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[], $8::text[]
    ) WITH ORDINALITY AS given (now, ending, code, message, detail, id, attempt, session_id, place)
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id
    ORDER BY given.id
    FOR UPDATE OF tasks
), written AS (
    INSERT INTO attempts
        (task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted, code, message, detail)
    SELECT id, attempt, session_id, claimed_llm, claimed_at, now, ending, 0, code, message, detail
    FROM standing
)
SELECT place
FROM standing

-- name: complete
-- Invariant: after `end_attempt` in the same transaction.
UPDATE tasks
SET status = 'completed', claimed_by = NULL, deadline = NULL, completed_at = given.now,
    response_status = given.response_status, response_content_type = given.response_content_type,
    response = given.response, prompt_tokens = given.prompt_tokens, completion_tokens = given.completion_tokens
FROM unnest(
    $1::bigint[], $2::integer[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::text[], $8::integer[],
    $9::text[]
) AS given (
    now, response_status, response_content_type, response, prompt_tokens, completion_tokens, id, attempt, session_id
)
WHERE tasks.id = given.id AND tasks.status IN ('claimed', 'running')
    AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id

-- name: keep_chunks
INSERT INTO chunks (task_id, attempt, stored_at, packed)
SELECT given.*
FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[]) AS given

-- name: fail
-- Invariant: after `end_attempt` in the same transaction.
UPDATE tasks
SET status = 'error', claimed_by = NULL, deadline = NULL, completed_at = given.now,
    error_code = given.error_code, error_message = given.error_message,
    response_status = given.response_status, response_content_type = given.response_content_type,
    response = given.response, prompt_tokens = given.prompt_tokens, completion_tokens = given.completion_tokens
FROM unnest(
    $1::bigint[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::bytea[], $7::bigint[], $8::bigint[],
    $9::text[], $10::integer[], $11::text[]
) AS given (
    now, error_code, error_message, response_status, response_content_type, response, prompt_tokens,
    completion_tokens, id, attempt, session_id
)
WHERE tasks.id = given.id AND tasks.status IN ('claimed', 'running')
    AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id

-- name: give_back
-- Invariant: after `end_attempt` in the same transaction. Costs no try, names nobody as having lost it.
WITH given AS (
    SELECT *
    FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[]) WITH ORDINALITY
        AS given (id, attempt, claimed_by, session_id, place)
), moved AS (
    UPDATE tasks
    SET status = 'pending', claimed_by = NULL, deadline = NULL, claimed_at = NULL, stream_started_at = NULL
    FROM given
    WHERE tasks.id = given.id AND tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.claimed_by
    RETURNING given.place, given.session_id, tasks.*
)
SELECT id, status, attempt, lane, owner, priority, rank, size, ready, session_id
FROM moved
ORDER BY place

-- name: retry_attempt
-- Lock: the tasks' rows, in the order of ids. As `end_attempt`; the last try's ending is a failure.
WITH standing AS (
    SELECT
        given.*, tasks.claimed_llm, tasks.claimed_at,
        tasks.tries + given.counts >= tasks.max_tries OR (given.counts = 0 AND tasks.mode <> 'wait') AS final
    FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[])
        WITH ORDINALITY AS given (now, counts, code, message, id, attempt, session_id, place)
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.session_id
    ORDER BY given.id
    FOR UPDATE OF tasks
), written AS (
    INSERT INTO attempts
        (task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted, code, message)
    SELECT
        id, attempt, session_id, claimed_llm, claimed_at, now, CASE WHEN final THEN 'failed' ELSE 'retried' END,
        counts, code, message
    FROM standing
)
SELECT place
FROM standing

-- name: retry
-- Invariant: after `retry_attempt` in the same transaction. Pending but not ready until the back-off is over; in error
-- when that was the last try (or a try that costs none, of a call that would not queue).
WITH judged AS (
    SELECT
        given.*,
        tasks.tries + given.counts >= tasks.max_tries OR (given.counts = 0 AND tasks.mode <> 'wait') AS final
    FROM unnest(
        $1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::bytea[],
        $9::text[], $10::integer[], $11::text[], $12::text[]
    ) WITH ORDINALITY AS given (
        now, counts, delay, code, message, response_status, response_content_type, response, id, attempt, claimed_by,
        session_id, place
    )
    JOIN tasks ON tasks.id = given.id
    WHERE tasks.status IN ('claimed', 'running')
        AND tasks.attempt = given.attempt AND tasks.claimed_by IS NOT DISTINCT FROM given.claimed_by
), moved AS (
    UPDATE tasks
    SET status = CASE WHEN judged.final THEN 'error' ELSE 'pending' END,
        ready = judged.final::integer,
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
    RETURNING judged.place, judged.session_id, tasks.*
)
SELECT id, status, attempt, lane, owner, priority, rank, size, ready, session_id
FROM moved
ORDER BY place

-- name: verdict
-- Why an ending found nothing to end: the row, and how the attempt ended if it did.
SELECT tasks.id, tasks.status, attempts.session_id, attempts.ending
FROM unnest($1::text[], $2::integer[]) AS given (id, attempt)
JOIN tasks ON tasks.id = given.id
LEFT JOIN attempts ON attempts.task_id = given.id AND attempts.attempt = given.attempt
