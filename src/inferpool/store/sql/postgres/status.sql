-- What `inferpool database status` asks of a store, beside a running server or without one. It takes no lock.

-- name: engine_version
SELECT current_setting('server_version') AS version

-- name: bytes_on_disk
-- Of the tables with their indexes, their large values.
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint AS size
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'

-- name: some_counts
-- Each up to a bound, through an index that holds no others.
SELECT 'pending' AS name, count(*) AS size FROM (SELECT 1 FROM tasks WHERE claimed_by IS NULL AND completed_at IS NULL AND ready = 1 LIMIT $1) AS few
UNION ALL
SELECT 'backing off', count(*) FROM (SELECT 1 FROM tasks WHERE ready = 0 LIMIT $1) AS few
UNION ALL
SELECT 'held', count(*) FROM (SELECT 1 FROM tasks WHERE claimed_by IS NOT NULL LIMIT $1) AS few
UNION ALL
SELECT 'ended', count(*) FROM (SELECT 1 FROM tasks WHERE completed_at IS NOT NULL LIMIT $1) AS few
UNION ALL
SELECT 'sessions', count(*) FROM (SELECT 1 FROM sessions WHERE active = 1 LIMIT $1) AS few
UNION ALL
SELECT 'llms', count(*) FROM (SELECT 1 FROM llms LIMIT $1) AS few
UNION ALL
SELECT 'tokens', count(*) FROM (SELECT 1 FROM tokens LIMIT $1) AS few
