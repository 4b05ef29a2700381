-- Claims that every row can be found from everywhere: no node is cut off, not
-- among equal vectors, not in tiny tables, and the entry point is a row too.
SELECT setseed(0.25);
SET enable_seqscan = off;
SET client_min_messages = warning;
-- rows inserted one by one, ten of each vector
CREATE TABLE few (id int, v vector(8));
CREATE INDEX few_v ON few USING hnsw (v vector_l2_ops);
INSERT INTO few SELECT i, ARRAY[i % 300, (i * 7) % 300, (i * 3) % 300, 1, 2, 3, 4, 5]::vector FROM generate_series(1, 3000) i;
SELECT live, attached, unreachable FROM vdb.check_index('few_v', true);
-- a filter that only one of ten equal rows passes
SET hnsw.max_scan_tuples = 1000000;
SET work_mem = '64MB';
SELECT count(*) >= 270 AS found
FROM generate_series(1, 300) q, LATERAL (
	SELECT id FROM few WHERE id = q
	ORDER BY v <-> ARRAY[q % 300, (q * 7) % 300, (q * 3) % 300, 1, 2, 3, 4, 5]::vector LIMIT 1) s;
-- the same after half of them went, and after building anew
DELETE FROM few WHERE id % 2 = 0;
VACUUM (INDEX_CLEANUP ON) few;
SELECT live, dead, attached, unreachable FROM vdb.check_index('few_v', true);
REINDEX INDEX few_v;
SELECT live, attached, unreachable FROM vdb.check_index('few_v', true);
-- all rows equal
CREATE TABLE equal AS SELECT i AS id, '[1,2,3]'::vector(3) AS v FROM generate_series(1, 2000) i;
CREATE INDEX equal_v ON equal USING hnsw (v vector_l2_ops);
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM equal ORDER BY v <-> '[0,0,0]') s;
-- and inserted one by one: when none of those found takes another, others do

CREATE TABLE same (v vector(3));
CREATE INDEX same_16 ON same USING hnsw (v vector_l2_ops);
CREATE INDEX same_2 ON same USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4);
INSERT INTO same SELECT '[1,2,3]' FROM generate_series(1, 4000);
SELECT live, attached, unreachable FROM vdb.check_index('same_16', true);
SELECT live, attached, unreachable FROM vdb.check_index('same_2', true);

-- with as few edges as can be, after half of the rows went

CREATE TABLE thin (id int, v vector(8));
CREATE INDEX thin_v ON thin USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 16);
INSERT INTO thin SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 8) WHERE i = i)::real[]::vector FROM generate_series(1, 2000) i;
DELETE FROM thin WHERE id % 2 = 0;
VACUUM (INDEX_CLEANUP ON) thin;
SELECT live, unreachable FROM vdb.check_index('thin_v', true);
INSERT INTO thin SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 8) WHERE i = i)::real[]::vector FROM generate_series(2001, 3000) i;
SELECT live, unreachable FROM vdb.check_index('thin_v', true);
-- lists have no room for all that mends the tree, range by range; a VACUUM that knows all ties who was cut off
SET vdb.stop_at = 'hnsw-vacuum-by-ranges';
DELETE FROM thin WHERE id % 3 > 0;
VACUUM (INDEX_CLEANUP ON) thin;
RESET vdb.stop_at;
SELECT live, unreachable > 0 AS cut_off FROM vdb.check_index('thin_v', true);
VACUUM (INDEX_CLEANUP ON) thin;
SELECT live, unreachable FROM vdb.check_index('thin_v', true);

-- small tables with few edges: all rows, each once
CREATE FUNCTION small(rows int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE small_table (id int, v vector(4)) ON COMMIT DROP;
	CREATE INDEX ON small_table USING hnsw (v vector_l2_ops) WITH (m = 4, ef_construction = 8);
	INSERT INTO small_table SELECT i, ARRAY[random(), random(), random(), random()]::real[]::vector FROM generate_series(1, rows) i;
	rows := count(DISTINCT id) FROM (SELECT id FROM small_table ORDER BY v <-> '[0.5,0.5,0.5,0.5]' LIMIT 30) s;
	DROP TABLE small_table;
	RETURN rows;
END $$;
SELECT small(30) AS found, count(*) FROM generate_series(1, 20) GROUP BY 1;
-- each row is its own nearest one, whichever the entry point is
CREATE TABLE self (id int, v vector(8));
INSERT INTO self SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 8) WHERE i = i)::real[]::vector FROM generate_series(1, 1000) i;
CREATE INDEX self_v ON self USING hnsw (v vector_l2_ops);
SET hnsw.ef_search = 100;
SELECT count(*) >= 997 AS found
FROM self q, LATERAL (SELECT id FROM self ORDER BY v <-> q.v LIMIT 1) s WHERE s.id = q.id;
DROP TABLE few, equal, same, thin, self;
DROP FUNCTION small;
