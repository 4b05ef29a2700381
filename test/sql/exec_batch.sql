-- vdb.search_batch(): for each query the rows that ORDER BY distance LIMIT k would return, whoever computes.
CREATE TABLE t (id int PRIMARY KEY, part int, v vector(8), h halfvec(8), s sparsevec(8), b bit(8));
INSERT INTO t
SELECT i, i % 100, e::vector, e::halfvec, e::vector::sparsevec, (i % 256)::bit(8)
FROM generate_series(1, 3000) i, LATERAL (SELECT array_agg(sin(i * j)) AS e FROM generate_series(1, 8) j) f;
INSERT INTO t (id, part) SELECT i, 0 FROM generate_series(3001, 3010) i;	-- without vectors
INSERT INTO t SELECT i, part, v, h, s, b FROM generate_series(3011, 3030) i, t WHERE id = 5;	-- equal ones
CREATE INDEX t_v_l2 ON t USING hnsw (v vector_l2_ops);
CREATE INDEX t_v_ip ON t USING ivfflat (v vector_ip_ops);
CREATE INDEX t_v_cosine ON t USING ivfpq (v vector_cosine_ops);
CREATE INDEX t_v_l1 ON t USING hnsw (v vector_l1_ops);
CREATE INDEX t_h_l2 ON t USING hnsw (h halfvec_l2_ops);
CREATE INDEX t_h_ip ON t USING hnsw (h halfvec_ip_ops);
CREATE INDEX t_h_cosine ON t USING hnsw (h halfvec_cosine_ops);
CREATE INDEX t_h_l1 ON t USING hnsw (h halfvec_l1_ops);
CREATE INDEX t_s_l2 ON t USING hnsw (s sparsevec_l2_ops);
CREATE INDEX t_s_ip ON t USING hnsw (s sparsevec_ip_ops);
CREATE INDEX t_s_cosine ON t USING hnsw (s sparsevec_cosine_ops);
CREATE INDEX t_s_l1 ON t USING hnsw (s sparsevec_l1_ops);
CREATE INDEX t_b_hamming ON t USING hnsw (b bit_hamming_ops);
CREATE INDEX t_b_jaccard ON t USING hnsw (b bit_jaccard_ops);
CREATE INDEX t_part ON t (part);
VACUUM ANALYZE t;

-- How many rows come, and how many are not those of the plain query, in its order and with its distances to the last
-- bit.  Rows equally far come in the order of their places.
CREATE FUNCTION compare(index regclass, value text, operator text, queries anyarray, k int DEFAULT 10, condition text DEFAULT 'true')
RETURNS TABLE (rows bigint, wrong bigint) LANGUAGE plpgsql
SET vdb.enable_exact_scan = off SET enable_indexscan = off AS $$
BEGIN
	RETURN QUERY EXECUTE format('
		WITH found AS (
			SELECT query_no, row_number() OVER (PARTITION BY query_no ORDER BY place) AS rank, key, distance
			FROM vdb.search_batch($1, $2, $3) WITH ORDINALITY f (query_no, key, distance, place)),
		expected AS (
			SELECT q.query_no, row_number() OVER (PARTITION BY q.query_no ORDER BY n.d, n.ctid) AS rank, n.ctid, n.d
			FROM unnest($2) WITH ORDINALITY q (query, query_no) CROSS JOIN LATERAL (
				SELECT ctid, %1$s %2$s q.query AS d FROM ONLY %3$s
				WHERE %4$s AND %1$s IS NOT NULL AND q.query IS NOT NULL ORDER BY %1$s %2$s q.query, ctid LIMIT $3) n)
		SELECT count(key), count(*) FILTER (WHERE key IS DISTINCT FROM ctid OR float8send(distance) IS DISTINCT FROM float8send(d))
		FROM found FULL JOIN expected USING (query_no, rank)',
		value, operator, (SELECT indrelid::regclass FROM pg_index WHERE indexrelid = index), condition)
	USING index, queries, k;
END $$;

-- every type, distance and access method, whoever computes
CREATE FUNCTION compare_all() RETURNS TABLE (index text, rows bigint, wrong bigint) LANGUAGE sql AS $$
	SELECT 't_v_' || i, c.* FROM (VALUES ('l2', '<->'), ('ip', '<#>'), ('cosine', '<=>'), ('l1', '<+>')) o (i, op),
		compare(('t_v_' || i)::regclass, 'v', op, (SELECT array_agg(v + '[0,0,0.1,0,0,0,0,0]' ORDER BY id) FROM t WHERE part = 7)) c
	UNION ALL
	SELECT 't_h_' || i, c.* FROM (VALUES ('l2', '<->'), ('ip', '<#>'), ('cosine', '<=>'), ('l1', '<+>')) o (i, op),
		compare(('t_h_' || i)::regclass, 'h', op, (SELECT array_agg(h + '[0,0,0.1,0,0,0,0,0]' ORDER BY id) FROM t WHERE part = 7)) c
	UNION ALL
	SELECT 't_s_' || i, c.* FROM (VALUES ('l2', '<->'), ('ip', '<#>'), ('cosine', '<=>'), ('l1', '<+>')) o (i, op),
		compare(('t_s_' || i)::regclass, 's', op, (SELECT array_agg(s ORDER BY id) FROM t WHERE part = 7)) c
	UNION ALL
	SELECT 't_b_' || i, c.* FROM (VALUES ('hamming', '<~>'), ('jaccard', '<%>')) o (i, op),
		compare(('t_b_' || i)::regclass, 'b', op, (SELECT array_agg(b ORDER BY id) FROM t WHERE part = 7)) c
$$;
SELECT * FROM compare_all();
SET vdb.provider = cpu;
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM compare_all();
SET vdb.provider = blas;
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM compare_all();
SET vdb.provider = fault;
SET vdb.provider_fault = slow;
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', ARRAY['[1,0,0,0,0,0,0,2]']::vector[]);

-- a provider that fails leaves a right answer, and one line in the log of a session
SET client_min_messages = log;
SET vdb.provider_fault = out_of_memory;
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM compare_all();
\c -
SET client_min_messages = log;
SET vdb.provider = fault;
SET vdb.provider_fault = timeout;
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM compare_all();
\c -
SET client_min_messages = log;
SET vdb.provider = fault;
SET vdb.provider_fault = device_lost;
SELECT sum(rows) AS rows, sum(wrong) AS wrong FROM compare_all();
SET vdb.provider_fault = none;	-- fails

-- OpenBLAS is opened when it is asked for, if it is there, and has no threads
\c -
SET vdb.provider = cpu;
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', array_fill('[1,0,0,0,0,0,0,2]'::vector, '{8}'));
SELECT pg_read_file('/proc/self/maps') LIKE '%openblas%' AS opened;
RESET vdb.provider;
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', array_fill('[1,0,0,0,0,0,0,2]'::vector, '{7}'));
SELECT pg_read_file('/proc/self/maps') LIKE '%openblas%' AS opened;
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', array_fill('[1,0,0,0,0,0,0,2]'::vector, '{8}'));
SELECT substring(pg_read_file('/proc/self/status') FROM 'Threads:\s*(\d+)') AS threads;
\c -
SET client_min_messages = log;
LOAD 'vdb';
SET vdb.stop_at = 'compute-no-library';
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', array_fill('[1,0,0,0,0,0,0,2]'::vector, '{8}'));
SET vdb.provider = blas;
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', ARRAY['[1,0,0,0,0,0,0,2]']::vector[]);
RESET vdb.stop_at;

-- it is not asked for anything where there is not the memory that it reserves
\c -
SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
\! prlimit --pid $PID --as=$(($(awk '/VmSize/ {print $2}' /proc/$PID/status) * 1024 + 100000000))
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', array_fill('[1,0,0,0,0,0,0,2]'::vector, '{8}'));
\c -
RESET vdb.provider;

-- the result: numbers of queries, nulls among them, and how many rows
SELECT query_no, id, distance FROM vdb.search_batch('t_v_l2', (SELECT ARRAY[v, NULL, v] FROM t WHERE id = 100), 2) JOIN t ON ctid = key ORDER BY 1, 3;
SELECT query_no, count(*) FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]']::vector[]) GROUP BY 1;
SELECT count(*) FROM vdb.search_batch('t_v_l2', '{}'::vector[]);
SELECT count(*) FROM vdb.search_batch('t_v_l2', '{NULL,NULL}'::vector[]);
SELECT count(*) FROM vdb.search_batch('t_v_l2', NULL::vector[]);
SELECT * FROM compare('t_v_l2', 'v', '<->', '[3:4]={"[1,0,0,0,0,0,0,2]","[0,0,0,0,0,0,0,0]"}'::vector[], 20);
SELECT * FROM compare('t_v_l2', 'v', '<->', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 10000);
SELECT * FROM compare('t_v_l2', 'v', '<->', (SELECT array_agg(v) FROM t), 3);
CREATE DOMAIN question AS vector;
SELECT * FROM compare('t_v_l2', 'v', '<->', ARRAY['[1,0,0,0,0,0,0,2]']::question[]);
DROP DOMAIN question;

-- a join by place reads the rows that were found
EXPLAIN (COSTS OFF) SELECT s.query_no, t.id FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]', '[0,0,0,0,0,0,0,1]']::vector[], 5) s JOIN t ON t.ctid = s.key;
CREATE FUNCTION estimate(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	EXECUTE 'EXPLAIN ' || query INTO line;
	RETURN substring(line FROM 'rows=\d+');
END $$;
SELECT estimate($$SELECT FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]', '[0,0,0,0,0,0,0,1]']::vector[], 5)$$);
SELECT estimate($$SELECT FROM vdb.search_batch('t_v_l2', '{"[1,0,0,0,0,0,0,2]"}'::vector[])$$);
SELECT estimate($$SELECT FROM vdb.search_batch('t_v_l2', NULL::vector[], NULL)$$);

-- distances that are no numbers, and numbers of any size
CREATE TABLE odd (id int, v vector(2));
INSERT INTO odd VALUES (1, '[1e30,1e30]'), (2, '[0,0]'), (3, NULL), (4, '[1,1]'), (5, '[-1,-1]'), (6, '[0,0]'), (7, '[1e-30,1e-30]'), (8, '[3e38,3e38]'),
	(9, '[3e38,-3e38]'), (10, '[1e-44,0]'), (11, '[2e19,1]'), (12, '[1,-2e19]'), (13, '[1e-20,1e-21]'), (14, '[1e19,1e19]');
CREATE INDEX odd_l2 ON odd USING hnsw (v vector_l2_ops);
CREATE INDEX odd_ip ON odd USING hnsw (v vector_ip_ops);
CREATE INDEX odd_cosine ON odd USING hnsw (v vector_cosine_ops);
SELECT id, distance FROM vdb.search_batch('odd_cosine', ARRAY['[1,1]']::vector[], 20) WITH ORDINALITY f (query_no, key, distance, n) JOIN odd ON ctid = key ORDER BY n;
CREATE FUNCTION compare_odd() RETURNS TABLE (provider text, k int, index regclass, rows bigint, wrong bigint) LANGUAGE sql AS $$
	SELECT current_setting('vdb.provider'), k, i, c.* FROM generate_series(1, 14) k,
		(VALUES ('odd_l2'::regclass, '<->'), ('odd_ip', '<#>'), ('odd_cosine', '<=>')) o (i, op),
		compare(i, 'v', op, (SELECT array_agg(v ORDER BY id) FROM odd), k) c
$$;
SELECT index, sum(rows) AS rows, sum(wrong) AS wrong FROM compare_odd() GROUP BY 1 ORDER BY 1;
SET vdb.provider = cpu;
SELECT index, sum(rows) AS rows, sum(wrong) AS wrong FROM compare_odd() GROUP BY 1 ORDER BY 1;
RESET vdb.provider;
DROP TABLE odd;

-- vectors that lie so closely that products do not tell them apart
CREATE TABLE close (v vector(3));
INSERT INTO close SELECT ARRAY[1000 + i % 7 * 0.0001, 2000 + i % 11 * 0.0002, 3000]::vector FROM generate_series(1, 2000) i;
CREATE INDEX close_l2 ON close USING hnsw (v vector_l2_ops);
CREATE INDEX close_cosine ON close USING hnsw (v vector_cosine_ops);
SELECT * FROM compare('close_l2', 'v', '<->', (SELECT array_agg(v) FROM (SELECT v FROM close LIMIT 40) q), 50);
SELECT * FROM compare('close_cosine', 'v', '<=>', (SELECT array_agg(v) FROM (SELECT v FROM close LIMIT 40) q), 50);
DROP TABLE close;

-- what an index is of: part of the table, an expression, columns with odd names; a view that is kept
CREATE INDEX t_some ON t USING hnsw (v vector_l2_ops, part) WHERE part < 3 AND id <> 101;
SELECT * FROM compare('t_some', 'v', '<->', (SELECT array_agg(v) FROM t WHERE id BETWEEN 98 AND 110), 10, 'part < 3 AND id <> 101');
CREATE FUNCTION twice(vector) RETURNS vector IMMUTABLE LANGUAGE sql AS 'SELECT $1 OPERATOR(public.+) $1';
CREATE INDEX t_twice ON t USING hnsw ((twice(v)::halfvec(8)) halfvec_l2_ops);
SELECT * FROM compare('t_twice', 'twice(v)::halfvec(8)', '<->', (SELECT array_agg(h) FROM t WHERE part = 7));
CREATE SCHEMA "Odd one";
CREATE TABLE "Odd one"."a ""table""" ("a column" vector(2), "select" int);
INSERT INTO "Odd one"."a ""table""" SELECT ARRAY[i, i]::vector, i FROM generate_series(1, 10) i;
CREATE INDEX "an ""index""" ON "Odd one"."a ""table""" USING hnsw ("a column" vector_l2_ops) WHERE "select" > 5;
SELECT * FROM vdb.search_batch('"Odd one"."an ""index"""', ARRAY['[1,1]']::vector[], 2);
CREATE TABLE child () INHERITS ("Odd one"."a ""table""");
INSERT INTO child VALUES ('[1,1]', 7);
SELECT * FROM vdb.search_batch('"Odd one"."an ""index"""', ARRAY['[1,1]']::vector[], 2);
CREATE MATERIALIZED VIEW kept AS SELECT id, v FROM t;
CREATE INDEX kept_v ON kept USING hnsw (v vector_l2_ops);
SELECT * FROM compare('kept_v', 'v', '<->', ARRAY['[1,0,0,0,0,0,0,2]']::vector[]);
DROP MATERIALIZED VIEW kept;

-- a search_path does not change what it is of
CREATE SCHEMA mine;
CREATE FUNCTION mine.never(int, int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR mine.< (FUNCTION = mine.never, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR mine.> (FUNCTION = mine.never, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION mine.twice(vector) RETURNS vector IMMUTABLE LANGUAGE sql AS 'SELECT NULL::vector';
CREATE TABLE mine.t (id int);
CREATE DOMAIN mine.halfvec AS text;
SELECT key, distance FROM vdb.search_batch('t_some', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 2) EXCEPT
SELECT key, distance FROM vdb.search_batch('t_some', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 1);
SELECT key, distance FROM vdb.search_batch('t_twice', ARRAY['[1,0,0,0,0,0,0,2]']::halfvec[], 1);
SET search_path = mine, pg_catalog, public;
SELECT key, distance FROM vdb.search_batch('t_some', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 2) EXCEPT
SELECT key, distance FROM vdb.search_batch('t_some', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 1);
SELECT key, distance FROM vdb.search_batch('t_twice', ARRAY['[1,0,0,0,0,0,0,2]']::public.halfvec[], 1);
SET search_path = '';
SELECT key, distance FROM vdb.search_batch('public.t_twice', ARRAY['[1,0,0,0,0,0,0,2]']::public.halfvec[], 1);
RESET search_path;
DROP INDEX t_some, t_twice;

-- values out of line, compressed and not
CREATE TABLE wide (id int, v vector(2000), h halfvec(2000));
INSERT INTO wide SELECT i, array_agg(sin(i * j)), array_agg(sin(i * j)) FROM generate_series(1, 100) i, generate_series(1, 2000) j GROUP BY i;
ALTER TABLE wide ALTER v SET STORAGE EXTENDED;
INSERT INTO wide SELECT i, array_agg(i), array_agg(i) FROM generate_series(101, 200) i, generate_series(1, 2000) j GROUP BY i;
UPDATE wide SET v = v + v WHERE id % 3 = 0;
CREATE INDEX wide_v ON wide USING hnsw (v vector_l2_ops);
CREATE INDEX wide_h ON wide USING hnsw (h halfvec_cosine_ops);
SELECT * FROM compare('wide_v', 'v', '<->', (SELECT array_agg(v) FROM wide WHERE id % 10 = 0));
SELECT * FROM compare('wide_h', 'h', '<=>', (SELECT array_agg(h) FROM wide WHERE id % 10 = 0));
SET vdb.provider = cpu;
SELECT * FROM compare('wide_v', 'v', '<->', (SELECT array_agg(v) FROM wide WHERE id % 10 = 0));
RESET vdb.provider;

-- rows are those of the query's snapshot
BEGIN;
INSERT INTO t (id, v) VALUES (5000, '[7,7,7,7,7,7,7,7]');
UPDATE t SET v = '[8,8,8,8,8,8,8,8]' WHERE id = 5000;
SELECT id, distance FROM vdb.search_batch('t_v_l2', ARRAY['[7,7,7,7,7,7,7,7]']::vector[], 1) JOIN t ON ctid = key;
WITH gone AS (DELETE FROM t WHERE id = 5000)
SELECT distance FROM vdb.search_batch('t_v_l2', ARRAY['[8,8,8,8,8,8,8,8]']::vector[], 1);
SELECT distance > 1 AS another FROM vdb.search_batch('t_v_l2', ARRAY['[8,8,8,8,8,8,8,8]']::vector[], 1);
ROLLBACK;

-- who may see what
CREATE ROLE exec_batch_reader;
CREATE TABLE secret (id int, owner name, v vector(2));
INSERT INTO secret SELECT i, CASE WHEN i % 2 = 0 THEN 'exec_batch_reader' ELSE 'other' END, ARRAY[i, i]::vector FROM generate_series(1, 100) i;
CREATE INDEX secret_v ON secret USING hnsw (v vector_l2_ops);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user);
SET ROLE exec_batch_reader;
SELECT * FROM vdb.search_batch('secret_v', ARRAY['[1,1]']::vector[], 2);	-- fails: no privilege
RESET ROLE;
GRANT SELECT (id, v) ON secret TO exec_batch_reader;
SET ROLE exec_batch_reader;
SELECT * FROM vdb.search_batch('secret_v', ARRAY['[1,1]']::vector[], 2);	-- fails: not of all that is read
RESET ROLE;
GRANT SELECT (ctid) ON secret TO exec_batch_reader;
SET ROLE exec_batch_reader;
SELECT id, distance FROM vdb.search_batch('secret_v', ARRAY['[1,1]']::vector[], 2) JOIN secret ON ctid = key ORDER BY 2;
SELECT * FROM vdb.search_batch('"Odd one"."an ""index"""', ARRAY['[1,1]']::vector[], 2);	-- fails: nor of the schema
RESET ROLE;
CREATE FUNCTION of_owner() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS $$ SELECT count(*) FROM vdb.search_batch('secret_v', ARRAY['[1,1]']::vector[], 200) $$;
SET ROLE exec_batch_reader;
SELECT count(*), of_owner() FROM vdb.search_batch('secret_v', ARRAY['[1,1]']::vector[], 200);
RESET ROLE;
REVOKE EXECUTE ON FUNCTION l2_distance(vector, vector) FROM PUBLIC;
SET ROLE exec_batch_reader;
SELECT * FROM vdb.search_batch('secret_v', ARRAY['[1,1]']::vector[], 2);	-- fails: not of the operator's function
RESET ROLE;
GRANT EXECUTE ON FUNCTION l2_distance(vector, vector) TO PUBLIC;
DROP OWNED BY exec_batch_reader;
DROP ROLE exec_batch_reader;

-- what cannot be asked
SELECT * FROM vdb.search_batch('t_v_l2', ARRAY['[1,2]']::vector[], 1);
SELECT * FROM vdb.search_batch('t_b_hamming', ARRAY[B'1']::bit[], 1);
SELECT * FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]']::halfvec[], 1);
SELECT * FROM vdb.search_batch('t_h_l2', ARRAY[1.5, 2.5], 1);
SELECT * FROM vdb.search_batch('t_v_l2', ARRAY[ARRAY['[1,0,0,0,0,0,0,2]']]::vector[], 1);
SELECT * FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 0);
SELECT * FROM vdb.search_batch('t_part', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 1);
SELECT * FROM vdb.search_batch('t', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 1);
SET work_mem = '64kB';
SELECT * FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 4097);
SELECT count(*) FROM vdb.search_batch('t_v_l2', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 4096);
SELECT * FROM vdb.search_batch('t_v_l2', (SELECT array_agg(v) FROM t), 2147483647);
RESET work_mem;
CREATE TABLE parts (id int, v vector(2)) PARTITION BY LIST (id);
CREATE INDEX parts_v ON parts USING hnsw (v vector_l2_ops);
SELECT * FROM vdb.search_batch('parts_v', ARRAY['[1,1]']::vector[], 1);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_v_l1'::regclass;
SELECT * FROM vdb.search_batch('t_v_l1', ARRAY['[1,0,0,0,0,0,0,2]']::vector[], 1);
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 't_v_l1'::regclass;

-- between blocks the query can be cancelled, and leaves nothing open
SET vdb.provider = fault;
SET vdb.provider_fault = slow;
BEGIN;
SAVEPOINT before;
SET LOCAL statement_timeout = '100ms';
SELECT count(*) FROM vdb.search_batch('t_v_l2', (SELECT array_agg(v) FROM t), 2);
ROLLBACK TO before;
SELECT count(*) FROM pg_locks WHERE relation = 't_v_l2'::regclass;
SELECT rows, wrong FROM compare('t_v_l2', 'v', '<->', ARRAY['[1,0,0,0,0,0,0,2]']::vector[]);
COMMIT;
SELECT count(*) FROM pg_backend_memory_contexts WHERE name LIKE 'vdb b%';

SET client_min_messages = warning;
DROP TABLE t, wide, secret, parts, mine.t;
DROP SCHEMA "Odd one", mine CASCADE;
DROP FUNCTION compare, compare_all, compare_odd, estimate, twice, of_owner;
