-- What moves a store into PostgreSQL: each table as a whole, in the order of its key. The columns are not listed: they are those
-- that the migrations made.

-- name: columns
-- Of each table in the order in which `*` gives them. `key_place`: which part of the key it is, from 1; 0: of none.
SELECT tables.name AS table_name, columns.name AS column_name, columns.pk AS key_place
FROM sqlite_schema AS tables
JOIN pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table'
ORDER BY tables.rowid, columns.cid

-- name: row_counts
-- How many rows each table has.
SELECT 'tasks' AS name, count(*) AS size FROM tasks
UNION ALL
SELECT 'attempts', count(*) FROM attempts
UNION ALL
SELECT 'chunks', count(*) FROM chunks
UNION ALL
SELECT 'idempotency_keys', count(*) FROM idempotency_keys
UNION ALL
SELECT 'lanes', count(*) FROM lanes
UNION ALL
SELECT 'sessions', count(*) FROM sessions
UNION ALL
SELECT 'llms', count(*) FROM llms
UNION ALL
SELECT 'tokens', count(*) FROM tokens
UNION ALL
SELECT 'audit', count(*) FROM audit

-- name: copy_tasks
SELECT * FROM tasks ORDER BY id

-- name: copy_attempts
SELECT * FROM attempts ORDER BY task_id, attempt

-- name: copy_chunks
SELECT * FROM chunks ORDER BY task_id

-- name: copy_idempotency_keys
SELECT * FROM idempotency_keys ORDER BY owner, idempotency_key

-- name: copy_lanes
SELECT * FROM lanes ORDER BY lane

-- name: copy_sessions
SELECT * FROM sessions ORDER BY id

-- name: copy_llms
SELECT * FROM llms ORDER BY name

-- name: copy_tokens
SELECT * FROM tokens ORDER BY id

-- name: copy_audit
SELECT * FROM audit ORDER BY id
