-- The indexes of tasks but its key: how each is dropped, how it is made again.
SELECT format('DROP INDEX %I', indexname) AS drop, indexdef AS make
FROM pg_indexes
WHERE schemaname = current_schema() AND tablename = 'tasks' AND indexname <> 'tasks_pkey'
ORDER BY indexname
