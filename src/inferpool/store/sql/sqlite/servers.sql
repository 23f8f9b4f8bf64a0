-- What servers ask of each other's work. None locks anything but the sweep.

-- name: standing
-- Where a task stands, with the server of whoever holds it.
SELECT tasks.id, tasks.status, tasks.attempt, tasks.claimed_by, sessions.server_id
FROM tasks
LEFT JOIN sessions ON sessions.id = tasks.claimed_by
WHERE tasks.id = ?

-- name: ending
SELECT task_id, attempt, ending
FROM attempts
WHERE task_id = ? AND attempt = ?

-- name: session_standing
-- `alive`: its server has beaten within the given age.
SELECT
    id, epoch, active, leaving, server_id, subject, secret_hash, bound_epoch = epoch,
    EXISTS (SELECT 1 FROM servers WHERE servers.id = sessions.server_id AND servers.seen_at > now_us() - ?)
FROM sessions
WHERE id = ?

-- name: servers
SELECT id
FROM servers
WHERE seen_at > now_us() - ?
ORDER BY id

-- name: orphans
-- Active sessions whose server has not beaten within the given age.
SELECT id, epoch, server_id
FROM sessions
WHERE active = 1
    AND NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = sessions.server_id AND servers.seen_at > now_us() - ?)
ORDER BY seen_at
LIMIT ?

-- name: pending_counts
-- Reads every pending row, no other.
SELECT lane, count(*), sum(size)
FROM tasks INDEXED BY tasks_expiring
WHERE status = 'pending'
GROUP BY lane
ORDER BY lane

-- name: forget_servers
-- Rechecks age with sessions in the statement itself: a server that beats again stays.
DELETE FROM servers
WHERE id IN (
    SELECT id
    FROM servers
    WHERE seen_at <= now_us() - ? AND id NOT IN (SELECT server_id FROM sessions WHERE active = 1)
    ORDER BY seen_at
    LIMIT ?
)
RETURNING id
