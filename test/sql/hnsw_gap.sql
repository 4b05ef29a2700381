-- Claims that vacuum leaves a graph which stays in one piece whatever is
-- inserted next, also where it took out all that lay between two groups of rows.

CREATE TABLE t (id int, v vector(3));
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
CREATE TABLE lost (count bigint);

\set ECHO none
SELECT step FROM generate_series(1, 30) round, LATERAL unnest(ARRAY[
    'TRUNCATE t',
    'INSERT INTO t SELECT i, ARRAY[i, 0, 0]::vector FROM generate_series(1, 200) i',
    'REINDEX INDEX t_v',
    'DELETE FROM t WHERE id BETWEEN 50 AND 150',
    'VACUUM (INDEX_CLEANUP ON) t',
    'INSERT INTO t SELECT i, ARRAY[i, 9, 0]::vector FROM generate_series(301, 400) i',
    'INSERT INTO lost SELECT unreachable FROM vdb.check_index(''t_v'', true)'])
    WITH ORDINALITY AS s (step, nr)
ORDER BY round, nr \gexec
\set ECHO all
SELECT count(*), sum(count) FROM lost;

DROP TABLE t, lost;
