-- As a server leaves it that had its time: frozen, with statistics.
ALTER TABLE tasks RESET (autovacuum_enabled);
ALTER TABLE attempts RESET (autovacuum_enabled)
