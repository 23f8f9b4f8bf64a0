-- What servers ask of each other's work. None locks anything but the sweep.

-- name: standing
-- Where tasks stand, each with the server of whoever holds it.
SELECT tasks.id, tasks.status, tasks.attempt, tasks.claimed_by, sessions.server_id
FROM unnest($1::text[]) WITH ORDINALITY AS given (id, place)
JOIN tasks ON tasks.id = given.id
LEFT JOIN sessions ON sessions.id = tasks.claimed_by
ORDER BY given.place

-- name: ending
SELECT attempts.task_id, attempts.attempt, attempts.ending
FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS given (task_id, attempt, place)
JOIN attempts ON attempts.task_id = given.task_id AND attempts.attempt = given.attempt
ORDER BY given.place

-- name: session_standing
-- `alive`: its server has beaten within the given age.
SELECT
    sessions.id, sessions.epoch, sessions.active, sessions.leaving, sessions.server_id, sessions.subject,
    sessions.secret_hash, sessions.bound_epoch = sessions.epoch,
    EXISTS (SELECT 1 FROM servers WHERE servers.id = sessions.server_id AND servers.seen_at > now_us() - given.age)
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS given (age, id, place)
JOIN sessions ON sessions.id = given.id
ORDER BY given.place

-- name: servers
SELECT id
FROM servers
WHERE seen_at > now_us() - $1
ORDER BY id

-- name: orphans
-- Active sessions whose server has not beaten within the given age.
SELECT id, epoch, server_id
FROM sessions
WHERE active = 1
    AND NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = sessions.server_id AND servers.seen_at > now_us() - $1)
ORDER BY seen_at
LIMIT $2

-- name: pending_counts
-- Reads every pending row, no other.
SELECT lane, count(*), sum(size)::bigint
FROM tasks
WHERE claimed_by IS NULL AND completed_at IS NULL
GROUP BY lane
ORDER BY lane

-- name: forget_servers
-- Rechecks age with sessions in the statement itself: a server that beats again stays.
DELETE FROM servers
WHERE id = ANY (ARRAY(
    SELECT id
    FROM servers
    WHERE seen_at <= now_us() - $1 AND id <> ALL (ARRAY(SELECT server_id FROM sessions WHERE active = 1))
    ORDER BY seen_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
))
RETURNING id
