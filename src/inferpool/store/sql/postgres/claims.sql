-- Claims: the server takes waiting tasks for its sessions.

-- name: claimable
-- Lock: the tasks' rows; those that another server has locked are passed over, so that two claimers never wait for each
-- other, never take the same. The first ready tasks of a lane in its order, for the endpoints that the llm has (a JSON array;
-- NULL: any).
SELECT given.look, found.id, found.rank, found.priority
FROM unnest($1::integer[], $2::text[], $3::text[], $4::integer[]) AS given (look, lane, endpoints, free)
CROSS JOIN LATERAL (
    SELECT id, rank, priority
    FROM tasks
    WHERE lane = given.lane AND claimed_by IS NULL AND completed_at IS NULL AND ready = 1
        AND (
            given.endpoints IS NULL
            OR endpoint = ANY (ARRAY(SELECT json_array_elements_text(given.endpoints::json)))
        )
    ORDER BY rank, id
    LIMIT given.free
    FOR UPDATE SKIP LOCKED
) AS found
ORDER BY given.look, found.rank, found.id

-- name: claim
-- A compare-and-swap a task: of two claimers exactly one wins. Invariant: after `claimer` in the same transaction.
WITH given AS (
    SELECT *
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[]
    ) WITH ORDINALITY AS given (session_id, llm_name, batch, now, deadline, run_limit, id, place)
), taken AS (
    UPDATE tasks
    SET status = 'claimed', attempt = tasks.attempt + 1, claimed_by = given.session_id, claimed_llm = given.llm_name,
        claim_batch = given.batch, claimed_at = given.now, deadline = given.deadline, run_limit = given.run_limit,
        lost_by = NULL
    FROM given
    WHERE tasks.id = given.id AND tasks.status = 'pending' AND tasks.ready = 1
    RETURNING given.place, tasks.*
)
SELECT id, attempt, claimed_llm, lane, endpoint, request, content_type, headers, streaming, priority, rank, owner
FROM taken
ORDER BY place
