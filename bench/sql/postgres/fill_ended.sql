-- Tasks number $1 to $2 that ended well an hour ago, the $3 owners in turn.
INSERT INTO tasks (
    id, status, lane, pool_name, model, endpoint, streaming, priority, rank, ready, owner, mode, attempt, tries,
    max_tries, claimed_llm, claim_batch, response_status, response_content_type, prompt_tokens, completion_tokens,
    metadata, created_at, available_at, claimed_at, completed_at, expires_at, expires_in, run_limit, size,
    content_type, headers, request, response
)
SELECT
    '01800000-' || lpad(to_hex(n / 65536), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'), 'completed',
    'pool:' || $4::text, $4::text, $4::text, 'chat/completions', 0, 'default', n, 1,
    'owner-' || lpad((n % $3::bigint)::text, 4, '0'), 'wait', 1, 0,
    3, $4::text || '@bench', lpad(to_hex(n), 12, '0'), 200, 'application/json', 200, 200,
    '{}', ended.at, ended.at, ended.at, ended.at + n, ended.at + 3600000000, 3600000000, 3600000000, length($5::bytea),
    'application/json', '{}', $5::bytea, $5::bytea
FROM generate_series($1::bigint, $2::bigint) AS n
CROSS JOIN (SELECT now_us() - 3600000000 AS at) AS ended
