-- Claims that what is altered around an index leaves it right, and that what
-- cannot be altered is refused and leaves it as it was.

\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\set ECHO none
\i :kinds
\set ECHO all

CREATE TABLE t (id int, extra text, v vector(64), w vector(64));
INSERT INTO t SELECT i, '', life.numbers(i)::vector, life.numbers(-i)::vector FROM generate_series(1, 200) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_w ON t USING hnsw (w vector_cosine_ops) WHERE id > 50;
CREATE INDEX t_both ON t USING hnsw (((v + w)::vector(64)) vector_l1_ops);

-- a column goes: its indexes go with it, the others stay

ALTER TABLE t DROP extra;
CALL life.expect('t_v', 200);
BEGIN;
ALTER TABLE t DROP w;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1;
CALL life.expect('t_v', 200);
ROLLBACK;
CALL life.expect('t_w', 150);
CALL life.expect('t_both', 200);

-- names change

ALTER TABLE t RENAME v TO u;
ALTER INDEX t_v RENAME TO t_u;
ALTER TABLE t RENAME TO tt;
INSERT INTO tt SELECT i, life.numbers(i)::vector, life.numbers(-i)::vector FROM generate_series(201, 220) i;
CALL life.expect('t_u', 220);
CALL life.expect('t_both', 220);
ALTER TABLE tt RENAME TO t;
ALTER TABLE t RENAME u TO v;
ALTER INDEX t_u RENAME TO t_v;

-- a column of another number of dimensions, or of none, or of another type

DROP INDEX t_both;
ALTER TABLE t ALTER v TYPE vector(65);
ALTER TABLE t ALTER v TYPE text;
ALTER TABLE t ALTER v TYPE real[];
CALL life.expect('t_v', 220);
ALTER TABLE t ALTER v TYPE vector;
CALL life.expect('t_v', 220);
INSERT INTO t VALUES (0, '[1,2,3]');
REINDEX INDEX t_v;
TRUNCATE t;
CALL life.expect('t_v', 220);
ALTER TABLE t ALTER v TYPE vector(64);
INSERT INTO t SELECT i, life.numbers(i)::vector, life.numbers(-i)::vector FROM generate_series(221, 230) i;
CALL life.expect('t_v', 230);
CALL life.expect('t_w', 180);

-- other values of the same type: its indexes are built anew

SELECT pg_relation_filenode('t_v') AS v, pg_relation_filenode('t_w') AS w \gset
ALTER TABLE t ALTER v TYPE vector(64) USING w;
SELECT pg_relation_filenode('t_v') <> :v AS v, pg_relation_filenode('t_w') <> :w AS w;
CALL life.expect('t_v', 230);
CALL life.expect('t_w', 180);
SELECT count(*) FROM t WHERE v = w;

-- the predicate's column changes, and the index with it

ALTER TABLE t ALTER id TYPE numeric;
CALL life.expect('t_w', 180);
UPDATE t SET id = -id WHERE id % 2 = 0;
CALL life.expect('t_w', 90);
UPDATE t SET id = -id WHERE id < 0;
CALL life.expect('t_w', 180);

-- statistics, storage, owners and schemas do not touch it

ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
ALTER TABLE t ALTER v SET STATISTICS 10;
CREATE SCHEMA elsewhere;
ALTER TABLE t SET SCHEMA elsewhere;
ANALYZE elsewhere.t;
CALL life.expect('elsewhere.t_v', 230);
ALTER TABLE elsewhere.t SET SCHEMA public;
DROP SCHEMA elsewhere;

-- parameters take effect with the next build, and bad ones with none

ALTER INDEX t_v SET (m = 2, ef_construction = 4);
CALL life.expect('t_v', 230);
REINDEX INDEX t_v;
CALL life.expect('t_v', 230);
ALTER INDEX t_v SET (m = 1);
ALTER INDEX t_v SET (ef_construction = 2000);
ALTER INDEX t_v SET (m = 8);
REINDEX INDEX t_v;
VACUUM FULL t;
CALL life.expect('t_v', 230);
ALTER INDEX t_v RESET (ef_construction);
REINDEX TABLE t;
CALL life.expect('t_v', 230);
CALL life.expect('t_w', 180);

-- nothing that only an ordered index can do

CLUSTER t USING t_v;
ALTER TABLE t REPLICA IDENTITY USING INDEX t_v;
ALTER TABLE t ADD PRIMARY KEY USING INDEX t_v;
-- (releases word these differently)
\set VERBOSITY sqlstate
ALTER TABLE t ADD EXCLUDE USING hnsw (v vector_l2_ops WITH <->);
ALTER TABLE t ADD EXCLUDE USING hnsw (v vector_l2_ops WITH =);
CREATE TABLE u (v vector(3), EXCLUDE USING hnsw (v vector_l2_ops WITH =));
CREATE INDEX t_collate ON t USING hnsw (v COLLATE "C" vector_l2_ops);
\set VERBOSITY default
ALTER TABLE t ADD PRIMARY KEY (id);
CREATE INDEX t_first ON t USING hnsw (v vector_l2_ops NULLS FIRST);
CALL life.expect('t_v', 230);

-- what an index needs cannot be taken away

DROP OPERATOR CLASS vector_l2_ops USING hnsw;
DROP FUNCTION vdb_vector_l2_support(internal);
SET client_min_messages = warning;
DROP SCHEMA life CASCADE;
RESET client_min_messages;
DROP EXTENSION vdb;

DROP TABLE t;
