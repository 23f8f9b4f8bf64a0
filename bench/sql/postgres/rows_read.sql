-- Rows of tables, entries of indexes that were read in this database so far.
SELECT
    (SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint FROM pg_stat_user_tables) AS rows,
    (SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes) AS entries
