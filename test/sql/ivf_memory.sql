-- Claims that a scan which looks at the records of all rows keeps no more of them than work_mem has
-- room for, and returns all of them all the same, each once and in order.

SELECT setseed(0.4);
CREATE TABLE t AS SELECT i AS id, ARRAY[random(), random(), random()]::vector(3) AS v FROM generate_series(1, 20000) i;
INSERT INTO t SELECT 20000 + i, '[.5,.5,.5]' FROM generate_series(1, 5000) i;
CREATE INDEX t_v ON t USING ivfflat (v vector_l2_ops) WITH (lists = 20);

-- what a scan returns, against all rows

CREATE FUNCTION compare() RETURNS TABLE (found bigint, ids bigint, in_order bool)
LANGUAGE sql SET enable_seqscan = off SET enable_sort = off AS
$$
	SELECT count(*), count(DISTINCT id), bool_and(d >= before)
	FROM (SELECT id, d, lag(d, 1, 0) OVER () AS before
		  FROM (SELECT id, v <-> '[.4,.5,.6]' AS d FROM t ORDER BY v <-> '[.4,.5,.6]' LIMIT 100000) s) o
$$;
SET ivfflat.probes = 20;
SET work_mem = '64kB';
SELECT * FROM compare();
SET work_mem = '256kB';
SELECT * FROM compare();

-- where further lists are looked at on the way

SET ivfflat.probes = 1;
SET ivfflat.iterative_scan = relaxed_order;
SET work_mem = '64kB';
SELECT found, ids FROM compare();
SET work_mem = '64MB';
SELECT found, ids FROM compare();

-- rows in two lists

CREATE INDEX t_two ON t USING ivfpq (v vector_l2_ops) WITH (quantizer = none, spill = 1);
DROP INDEX t_v;
SET ivfpq.probes = 1000;
SET work_mem = '64kB';
SELECT * FROM compare();
SET ivfpq.probes = 0;
SET ivfpq.iterative_scan = relaxed_order;
SELECT found, ids FROM compare();

DROP TABLE t;
DROP FUNCTION compare;
