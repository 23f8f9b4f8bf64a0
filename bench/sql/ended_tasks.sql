-- Tasks number :first to :last that ended well, in the order of their numbers, the owners in turn. The one of number n ended
-- n microseconds after :ended_at.
WITH RECURSIVE numbers (n) AS (
    SELECT :first
    UNION ALL
    SELECT n + 1 FROM numbers WHERE n < :last
)
INSERT INTO tasks (
    id, status, lane, pool_name, model, endpoint, streaming, priority, rank, ready, owner, mode, attempt, tries,
    max_tries, claimed_llm, claim_batch, response_status, response_content_type, prompt_tokens, completion_tokens,
    metadata, created_at, available_at, claimed_at, completed_at, expires_at, expires_in, run_limit, size,
    content_type, headers, request, response
)
SELECT
    printf('01800000-%04x-7000-8000-%012x', n / 65536, n), 'completed', 'pool:scripted', 'scripted', 'scripted',
    'chat/completions', 0, 'default', n, 1, printf('owner-%04d', n % :owners), 'wait', 1, 0,
    3, 'scripted@bench', printf('%012x', n), 200, 'application/json', 200, 200,
    '{}', :ended_at, :ended_at, :ended_at, :ended_at + n, :ended_at + 3600000000, 3600000000, 3600000000, length(:request),
    'application/json', '{}', :request, :response
FROM numbers
