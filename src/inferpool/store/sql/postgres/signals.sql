-- Hints between servers. SQLite has none: a server on a file is alone.

-- name: notify
-- Never inside a data transaction: it takes a lock that lets one transaction of the whole server commit at a time (design
-- section 7). Alone it waits for no disk. What one statement says twice of a channel, in the same words, arrives once.
SELECT pg_notify(channel, text)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS note (channel, text, place)
ORDER BY place
