-- oldest release: 0.1.0
-- Tokens with what was done by them. A release that knows neither still runs on the schema, open: it never looks here.

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL CHECK (subject <> ''),
    role TEXT NOT NULL CHECK (role IN ('admin', 'publisher', 'caller')),
    llms TEXT NOT NULL,
    pools TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used INTEGER,
    -- The token itself is nowhere: SHA-256 in hexadecimal digits.
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
) STRICT;

-- The one-second poll for tokens that let nobody in any more.
CREATE INDEX tokens_revoked ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX tokens_expiring ON tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE audit (
    id TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    subject TEXT NOT NULL,
    token_id TEXT,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    address TEXT NOT NULL,
    outcome TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_at ON audit (at);
