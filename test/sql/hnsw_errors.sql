-- Claims a clear error for everything an index cannot take, in pgvector's words
-- where it has any, and nothing lost.

-- columns

CREATE TABLE t (id int, v vector, w vector(3));
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
CREATE INDEX ON t USING hnsw (w);
CREATE INDEX ON t USING hnsw (id vector_l2_ops);
CREATE INDEX ON t USING hnsw (w vector_ops);
CREATE INDEX ON t USING hnsw (w vector_l2_ops, w vector_ip_ops);
CREATE INDEX ON t USING hnsw (w vector_l2_ops) INCLUDE (id);
CREATE UNIQUE INDEX ON t USING hnsw (w vector_l2_ops);
CREATE INDEX ON t USING hnsw (w vector_l2_ops DESC);
CREATE TABLE wide (v vector(16000));
CREATE INDEX wide_v ON wide USING hnsw (v vector_l2_ops);
DROP TABLE wide;
CREATE TABLE wide (v vector(16001));

-- an expression gives the dimensions by a cast

CREATE INDEX ON t USING hnsw ((w::halfvec) halfvec_l2_ops);
CREATE INDEX t_v ON t USING hnsw ((v::vector(3)) vector_l2_ops);
INSERT INTO t VALUES (1, '[1,2,3]', '[1,2,3]');
INSERT INTO t VALUES (2, '[1,2]', '[1,2,3]');

-- rows and questions of other dimensions

CREATE INDEX t_w ON t USING hnsw (w vector_l2_ops);
INSERT INTO t VALUES (3, NULL, '[1,2]');
SET enable_seqscan = off;
SELECT id FROM t ORDER BY w <-> '[1,2]' LIMIT 1;
SELECT id FROM t ORDER BY '[1,2,3,4]' <-> w LIMIT 1;
SELECT id FROM t ORDER BY w <-> '[1,2,NaN]' LIMIT 1;
SELECT id FROM t ORDER BY w <-> '[1,2,3]' LIMIT 1;

-- huge numbers: distances overflow to infinity, nothing else happens

INSERT INTO t VALUES (4, NULL, '[3e38,3e38,3e38]'), (5, NULL, '[-3e38,3e38,-3e38]'), (6, NULL, '[1e-45,0,0]');
SELECT id FROM t ORDER BY w <-> '[1,2,3]' LIMIT 1;
SELECT count(*) FROM (SELECT id FROM t ORDER BY w <-> '[3e38,-3e38,3e38]' LIMIT 10) s;
CREATE INDEX t_ip ON t USING hnsw (w vector_ip_ops);
CREATE INDEX t_cosine ON t USING hnsw (w vector_cosine_ops);
CREATE INDEX t_l1 ON t USING hnsw (w vector_l1_ops);
SELECT count(*) FROM (SELECT id FROM t ORDER BY w <#> '[3e38,-3e38,3e38]' LIMIT 10) s;
SELECT count(*) FROM (SELECT id FROM t ORDER BY w <=> '[3e38,-3e38,3e38]' LIMIT 10) s;
SELECT count(*) FROM (SELECT id FROM t ORDER BY w <+> '[3e38,-3e38,3e38]' LIMIT 10) s;
SELECT FROM vdb.check_index('t_w', true);
SELECT FROM vdb.check_index('t_ip', true);
SELECT FROM vdb.check_index('t_cosine', true);
SELECT FROM vdb.check_index('t_l1', true);

-- functions about indexes, asked about something else

SELECT vdb.recall('t');
SELECT vdb.recall('t_w', 0);
SELECT vdb.recall('t_w', 10, 0);
SELECT vdb.recall(0);
CREATE INDEX t_id ON t (id);
SELECT vdb.recall('t_id');
CREATE TABLE parts (v vector(3)) PARTITION BY LIST (vector_dims(v));
CREATE INDEX parts_v ON parts USING hnsw (v vector_l2_ops);
SELECT vdb.recall('parts_v');
DROP TABLE parts;

-- and by somebody who may not read the table

CREATE ROLE vdb_somebody;
GRANT USAGE ON SCHEMA vdb TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT vdb.recall('t_w');
RESET ROLE;
GRANT SELECT ON t TO vdb_somebody;
SET ROLE vdb_somebody;
SELECT queries FROM vdb.recall('t_w');
RESET ROLE;
DROP TABLE t;
REVOKE USAGE ON SCHEMA vdb FROM vdb_somebody;
DROP ROLE vdb_somebody;

-- values that are not as long as their dimensions say, as a damaged table may have them; 514 is 0x0202
-- in either byte order

CREATE CAST (bytea AS vector) WITHOUT FUNCTION;
CREATE CAST (bytea AS halfvec) WITHOUT FUNCTION;
CREATE CAST (bytea AS bit) WITHOUT FUNCTION;
CREATE TABLE damaged (v vector(514), h halfvec(514));
INSERT INTO damaged VALUES ('\x0202000000000000'::bytea::vector, '\x0202000000000000'::bytea::halfvec);
CREATE INDEX ON damaged USING hnsw (v vector_l2_ops);
CREATE INDEX ON damaged USING hnsw (h halfvec_l2_ops);
TRUNCATE damaged;
CREATE INDEX damaged_v ON damaged USING hnsw (v vector_l2_ops);
INSERT INTO damaged (v) VALUES ('\x02020000'::bytea::vector);
SELECT FROM damaged ORDER BY v <-> '\x02020000'::bytea::vector;
SELECT '\x02020202ff'::bytea::bit(33686018) <~> '\x02020202ffff'::bytea::bit(33686018);
SELECT B'1' <%> '\x02020202ffff'::bytea::bit(33686018);
DROP TABLE damaged;
DROP CAST (bytea AS vector);
DROP CAST (bytea AS halfvec);
DROP CAST (bytea AS bit);
