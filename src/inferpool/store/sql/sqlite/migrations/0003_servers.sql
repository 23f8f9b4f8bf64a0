-- oldest release: 0.1.0
-- What several servers of one database must know of a session, of its llms.

-- The last epoch that has had its channel, at whichever server; a release that does not know it leaves it as it is.
ALTER TABLE sessions ADD COLUMN bound_epoch INTEGER NOT NULL DEFAULT 0 CHECK (bound_epoch <= epoch);

-- The newest change of an llm that its session told in this epoch, at whichever server: an older one may come late to another.
ALTER TABLE llms ADD COLUMN revision INTEGER NOT NULL DEFAULT 0 CHECK (revision >= 0);
