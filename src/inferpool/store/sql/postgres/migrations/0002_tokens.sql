-- oldest release: 0.1.0
-- Tokens with what was done by them.

CREATE TABLE tokens (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    subject text COLLATE "C" NOT NULL CHECK (subject <> ''),
    role text COLLATE "C" NOT NULL CHECK (role IN ('admin', 'publisher', 'caller')),
    llms text COLLATE "C" NOT NULL,
    pools text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    last_used bigint,
    -- The token itself is nowhere: SHA-256 in hexadecimal digits.
    hash text COLLATE "C" NOT NULL UNIQUE CHECK (length(hash) = 64)
);

-- The one-second poll for tokens that let nobody in any more.
CREATE INDEX tokens_revoked ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX tokens_expiring ON tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE audit (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    at bigint NOT NULL,
    subject text COLLATE "C" NOT NULL,
    token_id text COLLATE "C",
    action text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    count integer NOT NULL CHECK (count > 0)
);

CREATE INDEX audit_at ON audit (at);
