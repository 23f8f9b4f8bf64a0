-- Tokens with the audit. A token's row is never deleted: a server that ever had one is never open again.

-- name: create_token
INSERT INTO tokens (id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, NULL, $8)
RETURNING id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used

-- name: revoke_token
-- Repeatable: the first time stands.
UPDATE tokens
SET revoked_at = coalesce(revoked_at, now_us())
WHERE id = $1
RETURNING id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used

-- name: use_token
-- Lock: the tokens' rows, in the order of ids. A day never falls.
UPDATE tokens
SET last_used = given.day
FROM (
    SELECT id, max(day) AS day
    FROM unnest($1::bigint[], $2::text[]) AS given (day, id)
    GROUP BY id
    ORDER BY id
) AS given
WHERE tokens.id = given.id AND (tokens.last_used IS NULL OR tokens.last_used < given.day)

-- name: tokens
SELECT id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used
FROM tokens
WHERE id < $1
ORDER BY id DESC
LIMIT $2

-- name: token
SELECT id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used
FROM tokens
WHERE id = $1

-- name: valid_token
-- By its hash, while it lets in.
SELECT id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used
FROM tokens
WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now_us())

-- name: any_token
-- Whether one was ever made.
SELECT id
FROM tokens
LIMIT 1

-- name: lapsed_tokens
-- Those that ceased to let in within the given time.
SELECT id
FROM tokens
WHERE revoked_at >= now_us() - $1
UNION ALL
SELECT id
FROM tokens
WHERE expires_at BETWEEN now_us() - $1 AND now_us() AND coalesce(revoked_at, 0) < now_us() - $1

-- name: write_audit
INSERT INTO audit (id, at, subject, token_id, action, resource, address, outcome, count)
SELECT given.*
FROM unnest(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[]
) AS given
ON CONFLICT (id) DO NOTHING

-- name: audit
-- Newest first, among the 10 000 before the cursor.
SELECT id, at, subject, token_id, action, resource, address, outcome, count
FROM audit
WHERE id < $1
    AND id > coalesce((SELECT id FROM audit WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET 10000), '')
    AND ($2::text IS NULL OR subject = $2)
    AND ($3::text IS NULL OR outcome = $3)
    AND ($4::bigint IS NULL OR at >= $4)
    AND ($5::bigint IS NULL OR at < $5)
ORDER BY id DESC
LIMIT $6

-- name: delete_audit
WITH old AS (
    SELECT id
    FROM audit
    WHERE at <= now_us() - $1
    ORDER BY at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM audit
USING old
WHERE audit.id = old.id
RETURNING audit.id
