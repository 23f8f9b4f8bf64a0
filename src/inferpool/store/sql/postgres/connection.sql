-- What every connection needs: its settings, its transactions, the database's clock.

-- name: set_up
-- The first statement of each connection. Nothing hangs for ever: not a statement, not its wait for a lock, not a transaction
-- whose server is gone (milliseconds). The hot statements find their rows through indexes, a row at a time, whatever the
-- statistics say of tables that were empty a minute ago; then one plan serves all their lives. A reader's connection changes
-- nothing. The mark is for `see_mark`. Gives the server's version, whether it takes no writes.
SELECT
    current_setting('server_version_num')::integer,
    current_setting('server_version'),
    pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
    set_config('statement_timeout', $1, false),
    set_config('lock_timeout', $2, false),
    set_config('idle_in_transaction_session_timeout', $3, false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_bitmapscan', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('jit', 'off', false),
    set_config('default_transaction_read_only', $4, false),
    set_config('inferpool.mark', $5, false)

-- name: see_mark
-- Another connection's mark is seen through a pooler that lends connections by the transaction.
SELECT coalesce(current_setting('inferpool.mark', true), '')

-- name: is_store
-- Whether it was ever migrated.
SELECT to_regclass('migrations') IS NOT NULL

-- name: begin
BEGIN

-- name: commit
COMMIT

-- name: rollback
ROLLBACK

-- name: now
-- The database's clock, in microseconds.
SELECT now_us()

-- name: begun
-- As `now`, where there is no schema yet.
SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint

-- name: count_commit
-- The first statement of each transaction: afterwards its number is there if it was committed. Gives the time.
INSERT INTO writers (id, commits, seen_at)
VALUES ($1, $2, now_us())
ON CONFLICT (id) DO UPDATE
SET commits = excluded.commits, seen_at = excluded.seen_at
RETURNING seen_at

-- name: count_commits
-- Lock: the writer's row, so that this waits for a transaction whose commit is still under way.
SELECT commits
FROM writers
WHERE id = $1
FOR UPDATE

-- name: retire
-- A writer that closes leaves nothing behind; neither do those that are long gone.
DELETE FROM writers
WHERE id = $1 OR seen_at < now_us() - 86400000000
