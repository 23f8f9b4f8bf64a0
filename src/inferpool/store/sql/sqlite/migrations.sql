-- The record of the migrations that the schema has had.

-- name: create_migrations
-- Under the transaction's lock: two starting servers migrate one after the other.
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    oldest_release TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT

-- name: applied_migrations
SELECT number, name, oldest_release, applied_at
FROM migrations
ORDER BY number

-- name: record_migration
INSERT INTO migrations (number, name, oldest_release, applied_at)
VALUES (?, ?, ?, now_us())
