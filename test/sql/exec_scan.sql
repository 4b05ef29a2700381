-- Exact searches: the rows that a sort by distance would return, in its order.
CREATE TABLE t (id int PRIMARY KEY, part int, note text, v vector(8), h halfvec(8), s sparsevec(8), b bit(8));
INSERT INTO t
SELECT i, i % 100, repeat('x', i % 7), e::vector, e::halfvec, e::vector::sparsevec, (i % 256)::bit(8)
FROM generate_series(1, 3000) i, LATERAL (SELECT array_agg(sin(i * j)) AS e FROM generate_series(1, 8) j) f;
INSERT INTO t (id, part) SELECT i, 0 FROM generate_series(3001, 3010) i;	-- without vectors
CREATE INDEX ON t (part);
VACUUM ANALYZE t;

-- Claims that a query returns the same with the node as without, ties in any order, and that it uses it.
CREATE FUNCTION compare(query text, distance text DEFAULT 'd') RETURNS TABLE (rows bigint, same boolean, used boolean) LANGUAGE plpgsql AS $$
DECLARE
	found text;
	expected text;
	plan text;
	line text;
	ordered text := format('SELECT string_agg(%I::text, '','' ORDER BY n) FROM (SELECT *, row_number() OVER () AS n FROM (%s) q) o', distance, query);
BEGIN
	used := false;
	PERFORM set_config('enable_sort', 'off', true);
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		used := used OR line LIKE '%VdbExactScan%';
	END LOOP;
	EXECUTE ordered INTO found;
	EXECUTE format('SELECT count(*) FROM (%s) q', query) INTO rows;
	PERFORM set_config('vdb.enable_exact_scan', 'off', true), set_config('enable_sort', 'on', true);
	EXECUTE ordered INTO expected;
	PERFORM set_config('vdb.enable_exact_scan', 'on', true);
	same := found IS NOT DISTINCT FROM expected;
	RETURN NEXT;
END $$;

-- every type and distance, from either side
SELECT operator, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) operator,
	compare(format('SELECT v %s ''[1,0,0,0,0,0,0,2]'' AS d FROM t ORDER BY v %1$s ''[1,0,0,0,0,0,0,2]'' LIMIT 20', operator)) c;
SELECT operator, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) operator,
	compare(format('SELECT ''[1,0,0,0,0,0,0,2]'' %s h AS d FROM t ORDER BY ''[1,0,0,0,0,0,0,2]'' %1$s h LIMIT 20', operator)) c;
SELECT operator, c.* FROM unnest('{<->,<#>,<=>,<+>}'::text[]) operator,
	compare(format('SELECT s %s ''{1:1,8:2}/8'' AS d FROM t ORDER BY s %1$s ''{1:1,8:2}/8'' LIMIT 20', operator)) c;
SELECT operator, c.* FROM unnest('{<~>,<%>}'::text[]) operator,
	compare(format('SELECT b %s B''10101010'' AS d FROM t ORDER BY b %1$s B''10101010'' LIMIT 20', operator)) c;
SELECT * FROM compare($$SELECT v::halfvec(8) <-> '[1,0,0,0,0,0,0,2]' AS d FROM t ORDER BY v::halfvec(8) <-> '[1,0,0,0,0,0,0,2]' LIMIT 20$$);

-- conditions, and what finds the rows
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE part = 7 AND note <> 'x' ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id IN (1, 2, 3) OR part IN (8, 9) ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT id FROM t WHERE id BETWEEN 10 AND 19 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
SELECT * FROM compare($$SELECT id, v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t WHERE part = 7 AND note <> 'x' ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5$$);
SELECT * FROM compare($$SELECT id, v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t WHERE id < 3 OR part = 8 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 50$$);
SELECT * FROM compare($$SELECT v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t WHERE part = 1000 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5$$);
SELECT * FROM compare($$SELECT v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t WHERE v <-> '[1,0,0,0,0,0,0,2]' < 2 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' OFFSET 10 LIMIT 30$$);
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE random() < 2 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;

-- more rows than there is memory for take more passes
SET work_mem = '64kB';
SELECT * FROM compare($$SELECT v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 1000000$$);
CREATE TABLE large AS SELECT i, ARRAY[i * 7919 % 100003, i % 10]::vector AS v FROM generate_series(1, 50000) i;
ANALYZE large;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]';
CREATE FUNCTION passes(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line LIKE '%Passes%' THEN
			RETURN trim(line);
		END IF;
	END LOOP;
END $$;
SELECT passes($$SELECT i FROM large ORDER BY v <-> '[0,0]' LIMIT 2000$$);
SELECT passes($$SELECT i FROM large ORDER BY v <-> '[0,0]'$$);
SELECT count(*), count(DISTINCT i), count(*) FILTER (WHERE d < before) AS out_of_order
FROM (SELECT i, d, lag(d) OVER () AS before FROM (SELECT i, v <-> '[0,0]' AS d FROM large ORDER BY v <-> '[0,0]' OFFSET 0) o) s;
RESET enable_sort;
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]';	-- so many passes take longer than a sort
RESET work_mem;

-- distances that are no numbers, or none at all
CREATE TABLE odd (id int, v vector(2));
INSERT INTO odd VALUES (1, '[1e30,1e30]'), (2, '[0,0]'), (3, NULL), (4, '[1,1]'), (5, '[-1,-1]'), (6, '[0,0]'), (7, NULL), (8, '[3e38,3e38]');
SELECT id, v <=> '[1,1]' FROM odd ORDER BY v <=> '[1,1]', id;
SELECT * FROM compare($$SELECT v <=> '[1,1]' AS d FROM odd ORDER BY v <=> '[1,1]'$$);
SELECT * FROM compare($$SELECT v <#> '[3e38,3e38]' AS d FROM odd ORDER BY v <#> '[3e38,3e38]'$$);
SELECT * FROM compare($$SELECT v <-> '[-3e38,-3e38]' AS d FROM odd ORDER BY v <-> '[-3e38,-3e38]'$$);
SELECT * FROM compare($$SELECT v <#> '[0,0]' AS d FROM odd ORDER BY v <#> '[0,0]'$$);
SELECT count(*) FROM (SELECT id FROM odd ORDER BY v <-> NULL LIMIT 5) s;
SELECT id FROM t ORDER BY v <-> '[1,2]' LIMIT 1;	-- fails: another number of dimensions
SELECT id FROM t WHERE id < 0 ORDER BY v <-> '[1,2]' LIMIT 1;

-- orders that are not this one
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' DESC LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' NULLS FIRST LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY -(v <-> '[1,0,0,0,0,0,0,2]') LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY (v <-> '[1,0,0,0,0,0,0,2]') + (v <-> '[0,0,0,0,0,0,0,1]') LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> v LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t TABLESAMPLE SYSTEM (50) ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
SELECT id, v <-> unnest('{"[1,0,0,0,0,0,0,2]","[0,0,0,0,0,0,0,1]"}'::vector[]) AS d FROM t ORDER BY d LIMIT 0;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]', id LIMIT 5;
SELECT * FROM compare($$SELECT b <~> B'10101010' AS d, id FROM t ORDER BY b <~> B'10101010', id LIMIT 50$$);
SELECT * FROM compare($$SELECT b <~> B'10101010' AS d, id FROM t ORDER BY b <~> B'10101010', id LIMIT 50$$, 'id');

-- questions from elsewhere
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 2;
SELECT id FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 1;
SELECT q.id, n.id FROM t q CROSS JOIN LATERAL (SELECT id FROM t ORDER BY v <-> q.v LIMIT 1) n WHERE q.id IN (5, 500, 1500) ORDER BY 1;
SELECT q.id, n.c FROM t q CROSS JOIN LATERAL (SELECT sum(id) AS c FROM (SELECT id FROM t WHERE part = q.part AND id <> q.id ORDER BY v <-> q.v LIMIT 3) s) n
WHERE q.id IN (5, 500, 3001) ORDER BY 1;
SET vdb.enable_exact_scan = off;
SELECT q.id, n.c FROM t q CROSS JOIN LATERAL (SELECT sum(id) AS c FROM (SELECT id FROM t WHERE part = q.part AND id <> q.id ORDER BY v <-> q.v LIMIT 3) s) n
WHERE q.id IN (5, 500) ORDER BY 1;
RESET vdb.enable_exact_scan;
PREPARE nearest (vector, int) AS SELECT id FROM t WHERE part < 50 ORDER BY v <-> $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest ('[1,0,0,0,0,0,0,2]', 3);
EXECUTE nearest ('[1,0,0,0,0,0,0,2]', 3);
EXECUTE nearest ('[0,0,0,0,0,0,0,1]', 1);
SELECT count(*) FROM t;
EXECUTE nearest (NULL, 0);
RESET plan_cache_mode;

-- the same question again
SELECT x, (SELECT min(id) FROM (SELECT id FROM t WHERE x > 0 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 1) s) FROM generate_series(0, 2) x;
SET enable_material = off; SET enable_memoize = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT x, n.id FROM generate_series(1, 3) x LEFT JOIN (SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 2) n ON n.id > x ORDER BY 1, 2;
RESET enable_material; RESET enable_memoize; RESET enable_hashjoin; RESET enable_mergejoin;

-- joins: rows beyond the first few are wanted where others are left out
EXPLAIN (COSTS OFF) SELECT t.id FROM t JOIN odd o ON o.id = t.part ORDER BY t.v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
SELECT * FROM compare($$SELECT t.v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t JOIN odd o ON o.id = t.part ORDER BY t.v <-> '[1,0,0,0,0,0,0,2]' LIMIT 200$$);

-- rows that a join leaves out may be of other dimensions
CREATE TABLE mixed AS
SELECT i, i % 10 AS part, CASE WHEN i % 10 = 0 THEN '[1,2]'::vector ELSE ARRAY[i, 1, 2]::vector END AS v FROM generate_series(1, 500) i;
ANALYZE mixed;
SET enable_sort = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT m.i FROM mixed m JOIN odd o ON o.id = m.part ORDER BY m.v <-> '[0,0,0]' LIMIT 3;
SELECT m.i FROM mixed m JOIN odd o ON o.id = m.part ORDER BY m.v::vector(3) <-> '[0,0,0]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT i FROM mixed WHERE part <> 0 ORDER BY v <-> '[0,0,0]' LIMIT 3;
RESET enable_sort; RESET enable_hashjoin; RESET enable_mergejoin;
DROP TABLE mixed;

-- a join that asks with many rows: one pass over the table for many of them
CREATE TABLE asked AS
SELECT i, CASE WHEN i % 50 <> 7 THEN e::vector END AS v, e::halfvec AS h, e::vector::sparsevec AS s, (i % 256)::bit(8) AS b
FROM generate_series(1, 300) i, LATERAL (SELECT array_agg(cos(i * j)) AS e FROM generate_series(1, 8) j) f;
ANALYZE asked;
CREATE FUNCTION pass_count(query text) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		IF line ~ 'Vdb|Passes|Batches|Provider' THEN
			line := trim(regexp_replace(line, '\(actual.*', ''));
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
SET enable_sort = off;
SET vdb.provider = cpu;
SELECT pass_count($$SELECT a.i, l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t ORDER BY t.v <-> a.v LIMIT 5) l$$);
RESET vdb.provider;
SELECT pass_count($$SELECT a.i, l.d FROM asked a, LATERAL (SELECT t.b <~> a.b AS d FROM t ORDER BY t.b <~> a.b LIMIT 5) l WHERE a.i < 10$$);
SELECT pass_count($$SELECT a.i, l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t WHERE t.part = a.i % 10 ORDER BY t.v <-> a.v LIMIT 5) l WHERE a.i <= 10$$);
SELECT pass_count($$SELECT a.i, l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t ORDER BY t.v <-> a.v) l WHERE a.i <= 3$$);
RESET enable_sort;
SELECT operator, c.* FROM unnest('{v <->,v <#>,v <=>,v <+>,h <->,h <=>,s <->,s <#>,b <~>,b <%>}'::text[]) operator,
	compare(format('SELECT l.d FROM asked a, LATERAL (SELECT t.%s a.%s AS d FROM t ORDER BY t.%1$s a.%2$s LIMIT 5) l', operator, left(operator, 1))) c;
SELECT * FROM compare('SELECT l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t WHERE part IN (3, 77) AND note <> ''x'' ORDER BY t.v <-> a.v LIMIT 100) l');
SELECT * FROM compare('SELECT l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t WHERE id > 2990 ORDER BY t.v <-> a.v LIMIT 100) l');	-- some without vectors
SELECT * FROM compare('SELECT l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t WHERE part = a.i ORDER BY t.v <-> a.v OFFSET 2 LIMIT 10) l WHERE a.i < 100');
SELECT * FROM compare('SELECT l.d FROM asked a LEFT JOIN LATERAL (SELECT t.v <-> a.v AS d, t.id FROM t ORDER BY t.v <-> a.v LIMIT 20) l ON l.id % 3 = 0');
SELECT * FROM compare('SELECT l.d FROM asked a, LATERAL (SELECT max(d) AS d FROM (SELECT t.v <-> a.v AS d FROM t ORDER BY t.v <-> a.v LIMIT 7) s) l');
SELECT * FROM compare('SELECT l.d FROM asked a, LATERAL (SELECT (SELECT u.v <-> a.v FROM t u WHERE u.part = a.i % 100 ORDER BY u.v <-> a.v LIMIT 1) AS d FROM t ORDER BY t.v <-> a.v LIMIT 2) l');	-- with the same parameter
SET work_mem = '64kB';
SELECT * FROM compare('SELECT l.d FROM asked a, LATERAL (SELECT t.v <-> a.v AS d FROM t ORDER BY t.v <-> a.v LIMIT 1000) l WHERE a.i < 40');
RESET work_mem;

-- a question that nobody comes to is not asked; one of other dimensions is as wrong as it is by itself
CREATE TABLE mixed AS SELECT i, CASE WHEN i = 20 THEN '[1,2]'::vector ELSE v END AS v FROM asked WHERE v IS NOT NULL;
SET enable_sort = off;
SELECT count(*) FROM (SELECT l.d FROM (SELECT * FROM mixed ORDER BY i) a, LATERAL (SELECT t.v <-> a.v AS d FROM t ORDER BY t.v <-> a.v LIMIT 2) l LIMIT 30) s;
SELECT count(*) FROM mixed a, LATERAL (SELECT t.v <-> a.v AS d FROM t ORDER BY t.v <-> a.v LIMIT 2) l;	-- fails
SELECT count(*) FROM asked a, LATERAL (SELECT m.v <-> a.v AS d FROM mixed m ORDER BY m.v <-> a.v LIMIT 2) l;	-- fails
RESET enable_sort;
DROP TABLE asked, mixed;
DROP FUNCTION pass_count;

-- cursors
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]';
FETCH 3 FROM c;
DELETE FROM t WHERE id % 2 = 0;
FETCH 2 FROM c;
FETCH BACKWARD 3 FROM c;
FETCH LAST FROM c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]';
FETCH 2 FROM c;
UPDATE t SET note = 'found' WHERE CURRENT OF c;
SELECT id FROM t WHERE note = 'found';
ROLLBACK;

-- rows that are changed by their place
BEGIN;
SELECT id FROM t WHERE part = 7 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 2 FOR UPDATE;
DELETE FROM t WHERE id IN (SELECT id FROM t WHERE part = 7 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 2) RETURNING id;
UPDATE t SET note = 'y' FROM (SELECT ctid, tableoid FROM t WHERE part = 7 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 1) n
WHERE t.ctid = n.ctid AND t.tableoid = n.tableoid RETURNING id;
ROLLBACK;

-- partitions and inheritance
CREATE TABLE parts (id int, p int, v vector(8)) PARTITION BY LIST (p);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts_1 (v vector(8), dropped int, p int, id int);
ALTER TABLE parts_1 DROP COLUMN dropped;
ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES IN (1);
INSERT INTO parts SELECT id, id % 2, v FROM t;
ANALYZE parts;
EXPLAIN (COSTS OFF) SELECT id FROM parts ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
SELECT * FROM compare($$SELECT v <-> '[1,0,0,0,0,0,0,2]' AS d FROM parts ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 100$$);

-- several processes
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 5;
SELECT * FROM compare($$SELECT v <-> '[1,0,0,0,0,0,0,2]' AS d FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 100$$);
SELECT * FROM compare($$SELECT v <-> (SELECT v FROM t WHERE id = 5) AS d FROM t ORDER BY v <-> (SELECT v FROM t WHERE id = 5) LIMIT 100$$);
-- rows that processes share are not read again: it has to be certain that none is wanted that memory does not hold
PREPARE all_of AS SELECT v <-> '[0,0]' AS d FROM large ORDER BY v <-> '[0,0]';
PREPARE first_of AS SELECT v <-> '[0,0]' AS d FROM large ORDER BY v <-> '[0,0]' LIMIT 2000;
SET enable_sort = off; SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE all_of;
EXPLAIN (COSTS OFF) EXECUTE first_of;
SET work_mem = '64kB';
CREATE TABLE found AS EXECUTE all_of;
CREATE TABLE found_first AS EXECUTE first_of;
SELECT count(*), (SELECT count(*) FROM found_first) AS first, (SELECT max(d) FROM found_first) = (SELECT d FROM found ORDER BY d OFFSET 1999 LIMIT 1) AS same FROM found;
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]';
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]' LIMIT 1000;
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]' LIMIT current_setting('server_version_num')::int / 1000;
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]' FETCH FIRST 1000 ROWS WITH TIES;
EXPLAIN (COSTS OFF) SELECT i FROM large ORDER BY v <-> '[0,0]', i LIMIT 1000;
SELECT count(*) FROM (SELECT i FROM large ORDER BY v <-> '[0,0]' LIMIT 40000) s;
RESET work_mem; RESET enable_sort; RESET plan_cache_mode;
DEALLOCATE all_of; DEALLOCATE first_of; DROP TABLE found, found_first;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size; RESET max_parallel_workers_per_gather;

-- values out of line, compressed and not
CREATE TABLE wide (id int, v vector(2000));
INSERT INTO wide SELECT i, array_agg(sin(i * j)) FROM generate_series(1, 100) i, generate_series(1, 2000) j GROUP BY i;
ALTER TABLE wide ALTER v SET STORAGE EXTENDED;
INSERT INTO wide SELECT i, array_agg(i) FROM generate_series(101, 200) i, generate_series(1, 2000) j GROUP BY i;
UPDATE wide SET v = v + v WHERE id % 3 = 0;
SELECT * FROM compare($$SELECT v <-> (SELECT v FROM wide WHERE id = 50) AS d FROM wide ORDER BY v <-> (SELECT v FROM wide WHERE id = 50)$$);
SELECT id FROM wide ORDER BY v <-> (SELECT v FROM wide WHERE id = 50) LIMIT 1;

-- who may see what
CREATE ROLE exec_reader;
CREATE TABLE secret (id int, owner name, v vector(2));
INSERT INTO secret SELECT i, CASE WHEN i % 2 = 0 THEN 'exec_reader' ELSE 'other' END, ARRAY[i, i]::vector FROM generate_series(1, 100) i;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user);
GRANT SELECT (id, v) ON secret TO exec_reader;
GRANT SELECT ON t TO exec_reader;
CREATE FUNCTION leak(vector) RETURNS boolean STABLE LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'seen %', $1; RETURN true; END $$;
SET enable_sort = off;
SET ROLE exec_reader;
EXPLAIN (COSTS OFF) SELECT id FROM secret WHERE leak(v) ORDER BY v <-> '[1,1]' LIMIT 3;
SELECT id FROM secret WHERE id < 8 ORDER BY v <-> '[1,1]' LIMIT 3;
SELECT id FROM secret WHERE id < 4 AND leak(v) ORDER BY v <-> '[1,1]' LIMIT 3;
SELECT owner FROM secret ORDER BY v <-> '[1,1]' LIMIT 3;	-- fails: no privilege
RESET ROLE;
REVOKE EXECUTE ON FUNCTION l2_distance(vector, vector) FROM PUBLIC;
SET ROLE exec_reader;
SELECT id FROM t ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 1;	-- fails: no privilege
RESET ROLE;
GRANT EXECUTE ON FUNCTION l2_distance(vector, vector) TO PUBLIC;
RESET enable_sort;
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, v FROM t WHERE part = 7;
EXPLAIN (COSTS OFF) SELECT id FROM barrier WHERE id > 100 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 3;
SELECT * FROM compare($$SELECT v <-> '[1,0,0,0,0,0,0,2]' AS d FROM barrier WHERE id > 100 ORDER BY v <-> '[1,0,0,0,0,0,0,2]' LIMIT 3$$);

-- a LIMIT keeps some times as many rows; who leaves out more has all that memory holds by another pass
CREATE TABLE many AS SELECT i AS id, ('[' || (i * 7919) % 30000 || ',1]')::vector(2) AS v FROM generate_series(0, 29999) i;
CREATE TABLE wanted AS SELECT id FROM many WHERE id % 7 = 3;
CREATE UNIQUE INDEX ON wanted (id);
VACUUM ANALYZE many, wanted;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_sort = off;
SELECT passes('SELECT m.v <-> ''[0,0]'' AS d FROM many m ORDER BY m.v <-> ''[0,0]'' LIMIT 10');
SELECT passes('SELECT m.v <-> ''[0,0]'' AS d FROM many m JOIN wanted w ON w.id = m.id ORDER BY m.v <-> ''[0,0]'' LIMIT 10');
SELECT passes('SELECT m.v <-> ''[0,0]'' AS d FROM many m JOIN wanted w ON w.id = m.id AND w.id > 29000 ORDER BY m.v <-> ''[0,0]'' LIMIT 50');
SELECT * FROM compare('SELECT m.v <-> ''[0,0]'' AS d FROM many m JOIN wanted w ON w.id = m.id AND w.id > 29000 ORDER BY m.v <-> ''[0,0]'' LIMIT 50');
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_sort;
DROP TABLE many, wanted;

DROP OWNED BY exec_reader;
DROP ROLE exec_reader;
DROP VIEW barrier;
DROP TABLE t, large, odd, parts, wide, secret;
DROP FUNCTION compare, passes, leak;
