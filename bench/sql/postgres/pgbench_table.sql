-- What pgbench_call.sql writes: a row a call, its two bodies, nothing else.
CREATE TABLE calls (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, request bytea NOT NULL, response bytea)
