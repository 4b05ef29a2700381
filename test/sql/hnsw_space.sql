-- Claims that an index lives in the space it has: as many rows that come as
-- went need no more of it, nor do their records on upper layers.

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
