-- Claims that an index lives in the space it has: as many rows that come as
-- went need no more of it, nor do their records on upper layers, nor copies.

CREATE TABLE t (id int, v vector(64));
INSERT INTO t
SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 64) WHERE i = i)::real[]::vector
FROM generate_series(1, 1200) i;

-- m = 2: as many records as nodes

CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 8);
SELECT pg_relation_size('t_v') AS size \gset

\set ECHO none
SELECT step
FROM generate_series(0, 19) round,
    LATERAL unnest(ARRAY[
        format('DELETE FROM t WHERE id %% 5 = %s', round % 5),
        'VACUUM (INDEX_CLEANUP ON) t',
        format('INSERT INTO t SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 64) WHERE i = i)::real[]::vector FROM generate_series(1, 1200) i WHERE i %% 5 = %s', round % 5)])
    WITH ORDINALITY AS s (step, nr)
ORDER BY round, nr \gexec
\set ECHO all
SELECT (pg_relation_size('t_v') - :size) / 8192 AS pages_more;
SELECT live, unreachable FROM vdb.check_index('t_v', true);

DROP TABLE t;

-- places of copies that went are those of nodes to come, and the other way round

CREATE TABLE t (id serial, v vector(64));
CREATE FUNCTION value(i int) RETURNS vector LANGUAGE sql AS
$$ SELECT array_agg(sin(i * j))::vector FROM generate_series(1, 64) j $$;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops) WITH (m = 4);
INSERT INTO t (v) SELECT value(i) FROM generate_series(1, 100) i, generate_series(1, 60);
SELECT pg_relation_size('t_v') AS size \gset
SELECT live, dead, attached FROM vdb.check_index('t_v', true);
DELETE FROM t WHERE id NOT IN (SELECT min(id) FROM t GROUP BY v);
VACUUM (INDEX_CLEANUP ON) t;
SELECT live, dead, attached, free >= 300 AS free FROM vdb.check_index('t_v', true);
INSERT INTO t (v) SELECT value(i) FROM generate_series(101, 350) i;
SELECT (pg_relation_size('t_v') - :size) / 8192 AS pages_more;

-- nodes without a row of their own, and gaps in chains, which are gone through after
-- each page

DELETE FROM t WHERE id IN (SELECT min(id) FROM t GROUP BY v);
INSERT INTO t (v) SELECT value(i) FROM generate_series(1, 50) i, generate_series(1, 120);
DELETE FROM t WHERE id IN (SELECT min(id) FROM t GROUP BY v);
DELETE FROM t WHERE id % 50 > 0;
SET vdb.stop_at = 'hnsw-vacuum-by-ranges';
VACUUM (INDEX_CLEANUP ON) t;
RESET vdb.stop_at;
-- a search may miss the node of a copy, which becomes another
SELECT live BETWEEN 50 AND 60 AS few, dead, attached - (SELECT count(*) FROM t) AS empty, unreachable FROM vdb.check_index('t_v', true);
DELETE FROM t;
VACUUM (INDEX_CLEANUP ON) t;
SELECT pg_relation_size('t_v') AS size \gset
SELECT live, dead, attached FROM vdb.check_index('t_v', true);
INSERT INTO t (v) SELECT value(i) FROM generate_series(401, 700) i;
SELECT (pg_relation_size('t_v') - :size) / 8192 AS pages_more;

DROP FUNCTION value;
DROP TABLE t;
