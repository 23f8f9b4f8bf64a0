-- What moves an SQLite store in here: each table is read back as it was written, a page at a time in the order of its key (C
-- collation, so that of SQLite). The rows themselves come by COPY, which the driver speaks.

-- name: columns
-- Of each table in the order in which `*` gives them. The keys are SQLite's to tell.
SELECT table_name, column_name, 0 AS key_place
FROM information_schema.columns
WHERE table_schema = current_schema()
ORDER BY table_name, ordinal_position

-- name: hold_all
-- Lock: nobody else writes a row until the transaction ends; readers see an empty store.
LOCK TABLE tasks, attempts, chunks, idempotency_keys, lanes, sessions, llms, tokens, audit, servers IN EXCLUSIVE MODE

-- name: analyze_all
-- Before the commit: whoever looks first plans with what there is. (Of tables of which only some were analyzed, the doctor's
-- statements took minutes.)
ANALYZE tasks, attempts, chunks, idempotency_keys, lanes, sessions, llms, tokens, audit

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
-- The next $2 rows after a key.
SELECT * FROM tasks WHERE id > $1 ORDER BY id LIMIT $2

-- name: copy_attempts
-- The next $3 rows after a key.
SELECT * FROM attempts WHERE (task_id, attempt) > ($1, $2) ORDER BY task_id, attempt LIMIT $3

-- name: copy_chunks
-- The next $2 rows after a key.
SELECT * FROM chunks WHERE task_id > $1 ORDER BY task_id LIMIT $2

-- name: copy_idempotency_keys
-- The next $3 rows after a key.
SELECT * FROM idempotency_keys WHERE (owner, idempotency_key) > ($1, $2) ORDER BY owner, idempotency_key LIMIT $3

-- name: copy_lanes
-- The next $2 rows after a key.
SELECT * FROM lanes WHERE lane > $1 ORDER BY lane LIMIT $2

-- name: copy_sessions
-- The next $2 rows after a key.
SELECT * FROM sessions WHERE id > $1 ORDER BY id LIMIT $2

-- name: copy_llms
-- The next $2 rows after a key.
SELECT * FROM llms WHERE name > $1 ORDER BY name LIMIT $2

-- name: copy_tokens
-- The next $2 rows after a key.
SELECT * FROM tokens WHERE id > $1 ORDER BY id LIMIT $2

-- name: copy_audit
-- The next $2 rows after a key.
SELECT * FROM audit WHERE id > $1 ORDER BY id LIMIT $2
