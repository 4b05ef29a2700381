--
-- setup.sql
--	  Relations of 32 MB, 192 MB and 1 GB, and a table for results.
--
-- Heap tables stand in for an index: the measurement only looks at bytes.
--
CREATE EXTENSION IF NOT EXISTS vdb_page_access;

CREATE TABLE page_access_32   (filler text) WITH (autovacuum_enabled = off);
ALTER TABLE page_access_32 ALTER filler SET STORAGE PLAIN;
CREATE TABLE page_access_192  (LIKE page_access_32 INCLUDING STORAGE) WITH (autovacuum_enabled = off);
CREATE TABLE page_access_1024 (LIKE page_access_32 INCLUDING STORAGE) WITH (autovacuum_enabled = off);

-- four rows fill a page
INSERT INTO page_access_32   SELECT repeat('x', 1990) FROM generate_series(1, 32 * 128 * 4);
INSERT INTO page_access_192  SELECT repeat('x', 1990) FROM generate_series(1, 192 * 128 * 4);
INSERT INTO page_access_1024 SELECT repeat('x', 1990) FROM generate_series(1, 1024 * 128 * 4);
CHECKPOINT;

CREATE UNLOGGED TABLE page_access_result (
	clients int,
	rel text,
	method "char",
	bytes int,
	hot boolean,
	ns float8);
