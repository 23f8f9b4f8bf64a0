-- The record of the migrations that the schema has had.

-- name: create_migrations
-- Lock: one server migrates at a time, until its transaction ends; the others then find nothing left to do.
DO $$
BEGIN
    PERFORM pg_advisory_xact_lock(7310583021);
    IF to_regclass('migrations') IS NULL THEN
        CREATE TABLE migrations (
            number integer NOT NULL PRIMARY KEY,
            name text NOT NULL,
            oldest_release text NOT NULL,
            applied_at bigint NOT NULL
        );
    END IF;
END
$$

-- name: applied_migrations
SELECT number, name, oldest_release, applied_at
FROM migrations
ORDER BY number

-- name: record_migration
INSERT INTO migrations (number, name, oldest_release, applied_at)
VALUES ($1, $2, $3, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
