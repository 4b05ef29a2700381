-- Claims that the inverted files say what they cannot do, and why.

CREATE TABLE t (v vector(3), plain vector, s sparsevec(3), b bit(3), n int);
CREATE INDEX ON t USING ivfflat (v) WITH (lists = 0);
CREATE INDEX ON t USING ivfflat (v) WITH (lists = 32769);
CREATE INDEX ON t USING ivfflat (v) WITH (refine = 8);
CREATE INDEX ON t USING ivfpq (v) WITH (refine = 7);
CREATE INDEX ON t USING ivfpq (v) WITH (lists = -1);
CREATE INDEX ON t USING ivfpq (plain);
CREATE INDEX ON t USING ivfpq (v vector_l1_ops);
CREATE INDEX ON t USING ivfpq (s);
CREATE INDEX ON t USING ivfflat (b);
CREATE INDEX ON t USING ivfpq (b bit_jaccard_ops);
CREATE INDEX ON t USING ivfpq ((b::bit(16001)) bit_hamming_ops);
CREATE INDEX ON t USING ivfpq (n);
CREATE INDEX ON t USING ivfpq (v, v);
CREATE UNIQUE INDEX ON t USING ivfpq (v);

SET ivfflat.probes = 0;
SET ivfflat.probes = 32769;
SET ivfflat.iterative_scan = strict_order;
SET ivfpq.refine_factor = -1;
SET ivfpq.quantizer = 'pq';
SHOW ivfflat.probes;
SHOW ivfflat.max_probes;
SHOW ivfflat.iterative_scan;
SHOW ivfpq.probes;

-- an operator class of somebody's own, of a distance that lists are not made for

CREATE OPERATOR CLASS l1 FOR TYPE vector USING ivfpq AS
    OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 vdb_vector_l1_support(internal);
CREATE INDEX ON t USING ivfpq (v l1);
DROP OPERATOR FAMILY l1 USING ivfpq;
SELECT amname, opcname, amvalidate(pg_opclass.oid) FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod
WHERE amname LIKE 'ivf%' AND NOT amvalidate(pg_opclass.oid);

-- few rows are told of, as k-means needs more memory than there is

CREATE INDEX few ON t USING ivfflat (v);
SELECT vdb.calibrate('few');
SELECT recall, k, queries, probes, ef_search FROM vdb.recall('few');
SELECT vdb.check_index('t');
INSERT INTO t (v) SELECT ARRAY[i, i, i]::vector FROM generate_series(1, 100) i;
SET maintenance_work_mem = '1MB';
CREATE INDEX ON t USING ivfpq (v) WITH (lists = 5000);
RESET maintenance_work_mem;
INSERT INTO t (v) VALUES ('[1,2]');
DROP TABLE t;
