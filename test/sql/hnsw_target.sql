-- Claims that a distance is not computed of rows that an index scan returns in
-- order when nobody reads it, that it is when somebody does, and that answers
-- are the same.

CREATE TABLE item (id int PRIMARY KEY, v vector(3));
INSERT INTO item SELECT i, ARRAY[i, i, 1] FROM generate_series(1, 1000) i;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);
VACUUM ANALYZE item;
SET enable_seqscan = off;

-- hidden under a LIMIT, at the top, in a subquery, in a lateral join
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM item ORDER BY v <-> '[7,7,1]' LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT count(*) FROM (SELECT id FROM item ORDER BY v <-> '[7,7,1]' LIMIT 3) s;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT q.i, s.id FROM generate_series(1, 2) q(i),
    LATERAL (SELECT id FROM item ORDER BY v <-> ARRAY[q.i, q.i, 1]::vector OFFSET 1 LIMIT 1) s;

-- read by the user, by a step above, by WITH TIES; not under a LIMIT; locked rows
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id, v <-> '[7,7,1]' AS distance FROM item ORDER BY v <-> '[7,7,1]' LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT max(distance) FROM
    (SELECT v <-> '[7,7,1]' AS distance FROM item ORDER BY v <-> '[7,7,1]' LIMIT 3) s;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id FROM item ORDER BY v <-> '[7,7,1]' FETCH FIRST 2 ROWS WITH TIES;
EXPLAIN (VERBOSE, COSTS OFF)
SELECT id FROM item ORDER BY v <-> '[7,7,1]' LIMIT 3 FOR UPDATE;

-- the answers
SELECT id FROM item ORDER BY v <-> '[7.2,7.2,1]' LIMIT 3;
(SELECT id FROM item ORDER BY v <-> '[7,7,1]' LIMIT 1)
UNION ALL (SELECT id FROM item ORDER BY v <-> '[9,9,1]' LIMIT 1);
SELECT q.i, s.id FROM generate_series(1, 4) q(i),
    LATERAL (SELECT id FROM item ORDER BY v <-> ARRAY[q.i * 10, q.i * 10, 1]::vector LIMIT 1) s;
SELECT id, v <-> '[7,7,1]' AS distance FROM item ORDER BY v <-> '[7,7,1]' LIMIT 1;
SELECT count(*) FROM
    (SELECT id FROM item ORDER BY v <-> '[7.5,7.5,1]' FETCH FIRST 1 ROW WITH TIES) s;
SELECT id FROM item WHERE id % 2 = 0 ORDER BY v <-> '[7.2,7.2,1]' LIMIT 2;

-- a cursor that goes back, and a prepared statement planned once
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY v <-> '[1,1,1]' LIMIT 3;
FETCH ALL FROM c;
FETCH BACKWARD 2 FROM c;
COMMIT;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(vector) AS SELECT id FROM item ORDER BY v <-> $1 LIMIT 1;
EXECUTE nearest('[500,500,1]');
EXECUTE nearest('[20,20,1]');
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE nearest('[20,20,1]');
DEALLOCATE nearest;

DROP TABLE item;
