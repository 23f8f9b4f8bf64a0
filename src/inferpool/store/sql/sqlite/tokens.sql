-- Tokens with the audit. A token's row is never deleted: a server that ever had one is never open again.

-- name: create_token
INSERT INTO tokens (id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)
RETURNING id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used

-- name: revoke_token
-- Repeatable: the first time stands.
UPDATE tokens
SET revoked_at = coalesce(revoked_at, now_us())
WHERE id = ?
RETURNING id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used

-- name: use_token
-- A day never falls.
UPDATE tokens
SET last_used = ?1
WHERE id = ?2 AND (last_used IS NULL OR last_used < ?1)

-- name: tokens
SELECT id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used
FROM tokens
WHERE id < ?
ORDER BY id DESC
LIMIT ?

-- name: token
SELECT id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used
FROM tokens
WHERE id = ?

-- name: valid_token
-- By its hash, while it lets in.
SELECT id, subject, role, llms, pools, created_at, expires_at, revoked_at, last_used
FROM tokens
WHERE hash = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now_us())

-- name: any_token
-- Whether one was ever made.
SELECT id
FROM tokens
LIMIT 1

-- name: lapsed_tokens
-- Those that ceased to let in within the given time.
SELECT id
FROM tokens
WHERE revoked_at >= now_us() - ?1
UNION
SELECT id
FROM tokens
WHERE expires_at BETWEEN now_us() - ?1 AND now_us()

-- name: write_audit
INSERT INTO audit (id, at, subject, token_id, action, resource, address, outcome, count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING

-- name: audit
-- Newest first, among the 10 000 before the cursor.
SELECT id, at, subject, token_id, action, resource, address, outcome, count
FROM audit
WHERE id < ?1
    AND id > coalesce((SELECT id FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT 1 OFFSET 10000), '')
    AND (?2 IS NULL OR subject = ?2)
    AND (?3 IS NULL OR outcome = ?3)
    AND (?4 IS NULL OR at >= ?4)
    AND (?5 IS NULL OR at < ?5)
ORDER BY id DESC
LIMIT ?6

-- name: delete_audit
DELETE FROM audit
WHERE id IN (SELECT id FROM audit WHERE at <= now_us() - ? ORDER BY at LIMIT ?)
RETURNING id
