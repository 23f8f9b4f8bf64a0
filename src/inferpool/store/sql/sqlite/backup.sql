-- What a backup of the file needs beside the driver's own way to copy pages.

-- name: look
-- Begins a transaction that only reads: what it sees stays as it is, however much a server writes meanwhile.
BEGIN

-- name: see
-- The first look fixes what the transaction sees.
SELECT count(*) FROM sqlite_schema

-- name: no_journal
-- Of a file that is thrown away when anything fails.
PRAGMA journal_mode = OFF

-- name: plain_journal
-- The file alone is whole: it needs no log beside it. Whoever opens it as a store gives it one again.
PRAGMA journal_mode = DELETE

-- name: whole
-- Whether every page, every row, every entry of an index is sound. One row, `ok`, where all are.
PRAGMA integrity_check(20)
