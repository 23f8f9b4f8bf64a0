-- A call as whoever has no group commit makes it durable: an insert, an update, a commit for each.
INSERT INTO calls (request) VALUES (decode(repeat('78', 1011), 'hex')) RETURNING id \gset
UPDATE calls SET response = decode(repeat('79', 1026), 'hex') WHERE id = :id;
