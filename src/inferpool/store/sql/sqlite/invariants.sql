-- The law of core/lifecycle.py as questions to a store at rest or at work: each returns what breaks one rule, as
-- (subject, detail). A statement is one snapshot, so that none is fooled by a server that writes beside it. Those of
-- tasks, history, chunks look at one page of ids: after ?1, up to ?2. None takes a lock that a writer waits for.

-- name: check_file
-- Whether the file itself is sound: pages, order of the indexes. One row, `ok`, where it is.
PRAGMA quick_check(20)

-- name: check_page_tasks
-- The next page of at most ?2 ids after ?1: its bounds with how many it has; `final` is the last id of all.
SELECT
    coalesce(min(id), '') AS first, coalesce(max(id), '') AS last, count(*) AS size,
    (SELECT coalesce(max(id), '') FROM tasks) AS final
FROM (SELECT id FROM tasks WHERE id > ?1 ORDER BY id LIMIT ?2)

-- name: check_page_attempts
-- The next page of at most ?2 tasks with a history after ?1.
SELECT
    coalesce(min(task_id), '') AS first, coalesce(max(task_id), '') AS last, count(*) AS size,
    (SELECT coalesce(max(task_id), '') FROM attempts) AS final
FROM (SELECT DISTINCT task_id FROM attempts WHERE task_id > ?1 ORDER BY task_id LIMIT ?2)

-- name: check_page_chunks
-- The next page of at most ?2 stored streams after ?1.
SELECT
    coalesce(min(task_id), '') AS first, coalesce(max(task_id), '') AS last, count(*) AS size,
    (SELECT coalesce(max(task_id), '') FROM chunks) AS final
FROM (SELECT task_id FROM chunks WHERE task_id > ?1 ORDER BY task_id LIMIT ?2)

-- name: check_status
-- A status is one of the six.
SELECT id AS subject, 'status ' || status AS detail
FROM tasks
WHERE id > ?1 AND id <= ?2 AND status NOT IN ('pending', 'claimed', 'running', 'completed', 'error', 'cancelled')

-- name: check_pending
-- A pending row is nobody's: no holder, no claim's times, no end.
SELECT id AS subject, 'pending with ' || excess AS detail
FROM (
    SELECT
        id,
        CASE
            WHEN claimed_by IS NOT NULL THEN 'claimed_by'
            WHEN claimed_at IS NOT NULL THEN 'claimed_at'
            WHEN deadline IS NOT NULL THEN 'deadline'
            WHEN stream_started_at IS NOT NULL THEN 'stream_started_at'
            WHEN completed_at IS NOT NULL THEN 'completed_at'
            WHEN error_code IS NOT NULL THEN 'error_code'
        END AS excess
    FROM tasks
    WHERE id > ?1 AND id <= ?2 AND status = 'pending'
)
WHERE excess IS NOT NULL

-- name: check_held
-- A held row names its holder, the llm whose slot it uses, its claim; it has a deadline, no end.
SELECT id AS subject, status || ' without ' || missing AS detail
FROM (
    SELECT
        id,
        status,
        CASE
            WHEN claimed_by IS NULL THEN 'claimed_by'
            WHEN claimed_llm IS NULL THEN 'claimed_llm'
            WHEN claim_batch IS NULL THEN 'claim_batch'
            WHEN claimed_at IS NULL THEN 'claimed_at'
            WHEN deadline IS NULL THEN 'deadline'
            WHEN attempt < 1 THEN 'an attempt'
            WHEN completed_at IS NOT NULL THEN 'being over: it has completed_at'
            WHEN error_code IS NOT NULL THEN 'being over: it has error_code'
        END AS missing
    FROM tasks
    WHERE id > ?1 AND id <= ?2 AND status IN ('claimed', 'running')
)
WHERE missing IS NOT NULL

-- name: check_ended
-- An ended row says when; it is nobody's. Completed: with the engine's answer. Error: with its code.
SELECT id AS subject, status || ' ' || wrong AS detail
FROM (
    SELECT
        id,
        status,
        CASE
            WHEN completed_at IS NULL THEN 'without completed_at'
            WHEN claimed_by IS NOT NULL THEN 'with claimed_by'
            WHEN deadline IS NOT NULL THEN 'with deadline'
            WHEN status = 'completed' AND (response IS NULL OR response_status IS NULL) THEN 'without a response'
            WHEN status = 'completed' AND attempt < 1 THEN 'without an attempt'
            WHEN status = 'error' AND error_code IS NULL THEN 'without error_code'
            WHEN status <> 'error' AND error_code IS NOT NULL THEN 'with error_code'
        END AS wrong
    FROM tasks
    WHERE id > ?1 AND id <= ?2 AND status IN ('completed', 'error', 'cancelled')
)
WHERE wrong IS NOT NULL

-- name: check_waiting
-- Only a pending row waits for its back-off or for a lost session, never for both.
SELECT id AS subject, status || ', ready ' || ready || ', lost_by ' || coalesce(lost_by, 'nobody') AS detail
FROM tasks
WHERE id > ?1 AND id <= ?2 AND (
    (status <> 'pending' AND (ready = 0 OR lost_by IS NOT NULL))
    OR (ready = 0 AND lost_by IS NOT NULL)
)

-- name: check_tries
-- No try without an attempt; none left means the end.
SELECT id AS subject, status || ', attempt ' || attempt || ', tries ' || tries || ' of ' || max_tries AS detail
FROM tasks
WHERE id > ?1 AND id <= ?2 AND (
    tries < 0 OR tries > attempt OR tries > max_tries
    OR (tries = max_tries AND status IN ('pending', 'claimed', 'running'))
)

-- name: check_history
-- Attempts rise by one: each that ended has its line, the one that is held has none yet.
SELECT id AS subject, status || ', attempt ' || attempt || ', history of ' || lines || ' up to ' || highest AS detail
FROM (
    SELECT
        tasks.id,
        tasks.status,
        tasks.attempt,
        count(attempts.attempt) AS lines,
        coalesce(max(attempts.attempt), 0) AS highest,
        tasks.attempt - (tasks.status IN ('claimed', 'running')) AS expected
    FROM tasks
    LEFT JOIN attempts ON attempts.task_id = tasks.id
    WHERE tasks.id > ?1 AND tasks.id <= ?2
    GROUP BY tasks.id
)
WHERE lines <> expected OR highest <> expected

-- name: check_counted
-- Every try that a row counts is a line of its history that says so (a replay forgets tries, not lines).
SELECT id AS subject, tries || ' tries, ' || counted || ' counted in the history' AS detail
FROM (
    SELECT tasks.id, tasks.tries, coalesce(sum(attempts.counted), 0) AS counted
    FROM tasks
    LEFT JOIN attempts ON attempts.task_id = tasks.id
    WHERE tasks.id > ?1 AND tasks.id <= ?2
    GROUP BY tasks.id
)
WHERE tries > counted

-- name: check_one_end
-- A completed task was completed by its last attempt, no other task by any: a task ends once.
SELECT tasks.id AS subject, tasks.status || ', attempt ' || tasks.attempt || ', completed by attempts '
    || coalesce(group_concat(attempts.attempt), 'none') AS detail
FROM tasks
LEFT JOIN attempts ON attempts.task_id = tasks.id AND attempts.ending = 'completed'
WHERE tasks.id > ?1 AND tasks.id <= ?2
GROUP BY tasks.id
HAVING (tasks.status = 'completed') <> (count(attempts.attempt) = 1 AND max(attempts.attempt) = tasks.attempt)
    OR (tasks.status <> 'completed' AND count(attempts.attempt) > 0)

-- name: check_lost
-- Who lost a pending row had its last attempt, which was reverted.
SELECT tasks.id AS subject, 'lost_by ' || tasks.lost_by || ', attempt ' || tasks.attempt || ' '
    || coalesce(attempts.ending || ' of ' || attempts.session_id, 'without a line') AS detail
FROM tasks
LEFT JOIN attempts ON attempts.task_id = tasks.id AND attempts.attempt = tasks.attempt
WHERE tasks.id > ?1 AND tasks.id <= ?2 AND tasks.lost_by IS NOT NULL
    AND (attempts.ending IS NULL OR attempts.ending <> 'reverted' OR attempts.session_id <> tasks.lost_by)

-- name: check_holder
-- Whoever holds a row is a session that is there, active.
SELECT tasks.id AS subject, tasks.status || ' by ' || coalesce(tasks.claimed_by, 'nobody') || ', '
    || iif(sessions.id IS NULL, 'no such session', 'inactive') AS detail
FROM tasks
LEFT JOIN sessions ON sessions.id = tasks.claimed_by
WHERE tasks.id > ?1 AND tasks.id <= ?2 AND tasks.status IN ('claimed', 'running')
    AND (sessions.id IS NULL OR sessions.active = 0)

-- name: check_lane
-- A row stands in the lane that its routing names.
SELECT id AS subject, 'lane ' || lane AS detail
FROM tasks
WHERE id > ?1 AND id <= ?2 AND lane NOT IN (
    'pool:' || coalesce(pool_name, ''), 'llm:' || coalesce(llm_name, ''), 'tier:' || coalesce(tier, '')
)

-- name: check_size
-- The bytes that bound the queue are those of the request.
SELECT id AS subject, 'size ' || size || ', request of ' || length(request) AS detail
FROM tasks
WHERE id > ?1 AND id <= ?2 AND size <> length(request)

-- name: check_orphaned_history
-- A history belongs to a task.
SELECT DISTINCT attempts.task_id AS subject, 'a history without its task' AS detail
FROM attempts
LEFT JOIN tasks ON tasks.id = attempts.task_id
WHERE attempts.task_id > ?1 AND attempts.task_id <= ?2 AND tasks.id IS NULL

-- name: check_chunks
-- A stored stream is that of the attempt that completed its task.
SELECT chunks.task_id AS subject, 'a stream of attempt ' || chunks.attempt || ', the task '
    || coalesce(tasks.status || ' by attempt ' || tasks.attempt, 'is gone') AS detail
FROM chunks
LEFT JOIN tasks ON tasks.id = chunks.task_id
WHERE chunks.task_id > ?1 AND chunks.task_id <= ?2
    AND (tasks.id IS NULL OR tasks.status <> 'completed' OR tasks.attempt <> chunks.attempt)

-- name: check_keys
-- An idempotency key leads to a task of its own owner, or nowhere (then it is free).
SELECT tasks.id AS subject, 'a key of ' || idempotency_keys.owner || ', a task of ' || tasks.owner AS detail
FROM idempotency_keys
JOIN tasks ON tasks.id = idempotency_keys.task_id
WHERE tasks.owner <> idempotency_keys.owner
LIMIT 1000

-- name: check_sessions
-- An inactive session says since when, has no leave under way; an epoch is at least 1.
SELECT id AS subject, 'active ' || active || ', leaving ' || leaving || ', epoch ' || epoch AS detail
FROM sessions
WHERE (active = 1) <> (inactive_at IS NULL) OR (active = 0 AND leaving = 1) OR epoch < 1
LIMIT 1000

-- name: check_llms
-- A published llm has its session; with an inactive one it is inactive.
SELECT llms.name AS subject, 'status ' || llms.status || ', session '
    || iif(sessions.id IS NULL, 'missing', 'inactive') AS detail
FROM llms
LEFT JOIN sessions ON sessions.id = llms.session_id
WHERE llms.session_id IS NOT NULL
    AND (sessions.id IS NULL OR (sessions.active = 0 AND llms.status <> 'inactive'))
LIMIT 1000
