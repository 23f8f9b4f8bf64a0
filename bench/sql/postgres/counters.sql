-- What the server counts of this database.
SELECT
    (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits,
    (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables) AS dead,
    (SELECT coalesce(sum(n_tup_upd + n_tup_del - n_tup_hot_upd), 0)::bigint FROM pg_stat_user_tables) AS dead_with_indexes
