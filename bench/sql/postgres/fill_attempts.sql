-- The one attempt of each of the tasks number $1 to $2 of fill_ended.sql.
INSERT INTO attempts (task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted)
SELECT
    '01800000-' || lpad(to_hex(n / 65536), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'), 1,
    '01800000-0000-7000-9000-000000000000', 'scripted@bench', now_us() - 3600000000, now_us() - 3600000000, 'completed', 0
FROM generate_series($1::bigint, $2::bigint) AS n
