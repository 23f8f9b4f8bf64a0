-- The one attempt of each task of ended_tasks.sql.
WITH RECURSIVE numbers (n) AS (
    SELECT :first
    UNION ALL
    SELECT n + 1 FROM numbers WHERE n < :last
)
INSERT INTO attempts (task_id, attempt, session_id, llm_name, started_at, ended_at, ending, counted)
SELECT
    printf('01800000-%04x-7000-8000-%012x', n / 65536, n), 1, '01800000-0000-7000-9000-000000000000', 'scripted@bench',
    :ended_at, :ended_at + n, 'completed', 0
FROM numbers
