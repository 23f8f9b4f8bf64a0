-- Pending tasks number $1 to $2 of a pool, the $3 owners in turn, in the order of their ranks, as fairness would have them wait.
INSERT INTO tasks (
    id, status, lane, pool_name, model, endpoint, streaming, priority, rank, ready, owner, mode, attempt, tries,
    max_tries, metadata, created_at, available_at, expires_at, expires_in, size, content_type, headers, request
)
SELECT
    '01900000-' || lpad(to_hex(n / 65536), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'), 'pending',
    'pool:' || $4::text, $4::text, $4::text, 'chat/completions', 0, 'default', (n / $3::bigint + 1) / 4.0, 1,
    'owner-' || lpad((n % $3::bigint)::text, 4, '0'), 'wait', 0, 0,
    3, '{}', now_us(), now_us(), now_us() + 86400000000, 86400000000, length($5::bytea), 'application/json', '{}', $5::bytea
FROM generate_series($1::bigint, $2::bigint) AS n
