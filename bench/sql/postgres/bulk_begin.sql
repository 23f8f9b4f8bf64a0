-- For the connection that fills a store: vacuum comes once, at the end.
SET maintenance_work_mem = '256MB';
ALTER TABLE tasks SET (autovacuum_enabled = off);
ALTER TABLE attempts SET (autovacuum_enabled = off)
