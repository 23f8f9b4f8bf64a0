-- Claims: the server takes waiting tasks for one of its sessions.

-- name: claimable
-- Lock: the tasks' rows. The first ready tasks of a lane in its order, for the endpoints that the llm has (a JSON array;
-- NULL: any).
SELECT ?1, id, rank, priority
FROM tasks
WHERE lane = ?2 AND status = 'pending' AND ready = 1
    AND (?3 IS NULL OR endpoint IN (SELECT value FROM json_each(?3)))
ORDER BY rank, id
LIMIT ?4

-- name: claim
-- A compare-and-swap a task: of two claimers exactly one wins. Invariant: after `claimer` in the same transaction.
UPDATE tasks
SET status = 'claimed', attempt = attempt + 1, claimed_by = ?, claimed_llm = ?, claim_batch = ?, claimed_at = ?,
    deadline = ?, run_limit = ?, lost_by = NULL
WHERE id = ? AND status = 'pending' AND ready = 1
RETURNING id, attempt, claimed_llm, lane, endpoint, request, content_type, headers, streaming, priority, rank, owner
