-- oldest release: 0.1.0
-- What several servers of one database must know of a session.

-- The last epoch that has had its channel, at whichever server; a release that does not know it leaves it as it is.
ALTER TABLE sessions ADD COLUMN bound_epoch INTEGER NOT NULL DEFAULT 0 CHECK (bound_epoch <= epoch);
