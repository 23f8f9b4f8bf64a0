-- What `inferpool database status` asks of a store, beside a running server or without one. It takes no lock.

-- name: engine_version
SELECT sqlite_version() AS version

-- name: bytes_on_disk
-- Without the log beside the file.
SELECT page_count * page_size AS size FROM pragma_page_count(), pragma_page_size()

-- name: some_counts
-- Each up to a bound, through an index that holds no others.
SELECT 'pending' AS name, count(*) AS size FROM (SELECT 1 FROM tasks WHERE status = 'pending' AND ready = 1 LIMIT ?1)
UNION ALL
SELECT 'backing off', count(*) FROM (SELECT 1 FROM tasks WHERE status = 'pending' AND ready = 0 LIMIT ?1)
UNION ALL
SELECT 'held', count(*) FROM (SELECT 1 FROM tasks WHERE claimed_by IS NOT NULL LIMIT ?1)
UNION ALL
SELECT 'ended', count(*) FROM (SELECT 1 FROM tasks WHERE completed_at IS NOT NULL LIMIT ?1)
UNION ALL
SELECT 'sessions', count(*) FROM (SELECT 1 FROM sessions WHERE active = 1 LIMIT ?1)
UNION ALL
SELECT 'llms', count(*) FROM (SELECT 1 FROM llms LIMIT ?1)
UNION ALL
SELECT 'tokens', count(*) FROM (SELECT 1 FROM tokens LIMIT ?1)
