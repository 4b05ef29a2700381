-- Claims that a scan which ends at a limit says so, with the setting, to whoever
-- wants to know; and that one which has no more rows, or is not asked for more,
-- does not.
SET vdb.enable_exact_scan = off;

CREATE TABLE item (id int PRIMARY KEY, v vector(8));
INSERT INTO item
SELECT i, (SELECT array_agg(sin(i * j)) FROM generate_series(1, 8) j)::vector FROM generate_series(1, 2000) i;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);
ANALYZE item;

-- any number of rows that the message tells is right: it is another one for each graph
\set VERBOSITY terse
SET enable_seqscan = off;
SET enable_sort = off;
PREPARE nearest (int) AS
    SELECT count(*) FROM (SELECT FROM item WHERE id <= $1 ORDER BY v <-> '[0,0,0,0,0,0,0,0]' LIMIT 10) s;
SET client_min_messages = debug1;

-- no more rows

EXECUTE nearest(1);

SET hnsw.max_scan_tuples = 500;
EXECUTE nearest(0);
EXECUTE nearest(2000);
RESET hnsw.max_scan_tuples;

SET work_mem = '64kB';
EXECUTE nearest(0);
EXECUTE nearest(2000);
SET hnsw.scan_mem_multiplier = 100;
EXECUTE nearest(0);
RESET hnsw.scan_mem_multiplier;

-- a search that does not go on ends by its own size

SET hnsw.iterative_scan = off;
EXECUTE nearest(0);

RESET client_min_messages;
RESET hnsw.iterative_scan;
RESET work_mem;
RESET enable_seqscan;
RESET enable_sort;
DEALLOCATE nearest;
DROP TABLE item;
