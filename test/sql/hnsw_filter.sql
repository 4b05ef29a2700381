-- Claims that an index with further columns returns the rows that satisfy the
-- conditions on these, whatever the type and the operator, in the order of the
-- distance; that it looks at them itself; and that it follows its table.

\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\set ECHO none
\i :kinds
\set ECHO all

CREATE TYPE mood AS ENUM ('calm', 'glad', 'cross');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE t (
    id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, o oid, b bool, d date, ts timestamp, tz timestamptz,
    f4 float4, f8 float8, n numeric, u uuid, s text, vc varchar(20), bp char(5), m mood, p percent,
    ia int[], ta text[], v vector(64));
CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql AS
$$
    INSERT INTO t SELECT i, i % 100 - 50, i % 1000 - 500, (i % 7 - 3) * 3000000000, 4294967295 - i % 5, i % 2 = 0,
        '2026-01-01'::date + i % 30, '2026-01-01'::timestamp + (i % 50) * interval '1 hour',
        '2026-01-01 00:00 UTC'::timestamptz + (i % 50) * interval '1 hour',
        (i % 11 - 5) * 0.5, CASE i % 5 WHEN 0 THEN float8 'NaN' WHEN 1 THEN '-0' WHEN 2 THEN '-Infinity' ELSE i % 13 END,
        (i % 20)::numeric / 3, md5((i % 10)::text)::uuid, 'word ' || i % 10, 'word ' || i % 10, 'w' || i % 10,
        (enum_range(NULL::mood))[i % 3 + 1], i % 100, ARRAY[i % 10, i % 17], ARRAY['a' || i % 40, 'b' || i % 3, NULL],
        life.numbers(i)::vector
    FROM generate_series(first, last) i
$$;
SELECT fill(1, 3000);
UPDATE t SET i2 = NULL, i4 = NULL, b = NULL, s = NULL, ia = NULL WHERE id % 50 = 1;
UPDATE t SET ia = '{}' WHERE id % 50 = 2;
CREATE INDEX t_v ON t USING hnsw (
    v vector_l2_ops, i2, i4, i8, o, b, d, ts, tz, f4, f8, n, u, s, vc, bp, m, p, ia, ta, lower(s), (id % 4));
ANALYZE t;
SELECT live, unreachable FROM vdb.check_index('t_v', true);

-- The nearest rows of a condition, by the index and by sorting: how many there
-- are, and how many are at a wrong place.  Fails if the index is not given all of
-- the condition.

CREATE FUNCTION compare(condition text, OUT rows bigint, OUT wrong bigint) LANGUAGE plpgsql
SET enable_bitmapscan = off SET hnsw.ef_search = 100 AS
$$
DECLARE
    question vector := life.numbers(1000000)::vector;
    statement text := format('SELECT array_agg(d) FROM (SELECT v <-> %L AS d FROM t WHERE %s ORDER BY v <-> %1$L LIMIT 30) s',
        question, condition);
    exact float8[];
    found float8[];
    line text;
    plan text := '';
BEGIN
    SET LOCAL enable_indexscan = off;
    EXECUTE statement INTO exact;
    SET LOCAL enable_indexscan = on;
    SET LOCAL enable_seqscan = off;
    FOR line IN EXECUTE 'EXPLAIN ' || statement LOOP
        plan := plan || line || E'\n';
    END LOOP;
    IF plan NOT LIKE '%using t_v%' OR plan LIKE '%Filter: %' THEN
        RAISE EXCEPTION 'another plan' USING DETAIL = plan;
    END IF;
    EXECUTE statement INTO found;
    rows := coalesce(cardinality(found), 0);
    wrong := (SELECT count(*) FROM unnest(exact, found) u (e, f) WHERE e IS DISTINCT FROM f);
END
$$;

SELECT condition, rows, wrong FROM unnest(ARRAY[
    'i2 = 7', 'i2 < -49', 'i2 <= -49', 'i2 > 48', 'i2 >= 48', '40 < i2', 'i2 BETWEEN -3 AND 3', 'i2 IN (1, 2, 100000)',
    'i2 = 7::int8', 'i2 < 1000000', 'i2 > -1000000', 'i2 < -1000000', 'i2 = 65543', 'i2 >= ANY (ARRAY[40, 45, NULL])',
    'i4 = -500', 'i4 = 5000000007', 'i4 < 5000000007', 'i4 > -5000000007', 'i4 = ANY (ARRAY[1, 2]::int8[])',
    'i4 = ANY (ARRAY[NULL]::int[])', 'i4 = ANY (''{}''::int[])', 'i4 < 499 AND i4 > 497',
    'i8 = 9000000000', 'i8 > 6000000000', 'i8 <= -9000000000::int8', 'i8 < 1::int2', 'i8 = 0', 'o = 4294967295', 'o > 4294967293',
    'b', 'NOT b', 'b = true', 'b = false', 'b IS TRUE', 'b IS FALSE', 'b IS NULL', 'b IS NOT NULL AND i2 IS NOT NULL',
    'd = ''2026-01-05''', 'd < ''2026-01-02''', 'd > ''infinity''', 'd <= ''infinity''', 'ts < ''2026-01-01 02:00''',
    'ts >= ''2026-01-03 01:00''', 'tz = ''2026-01-01 05:00 UTC''', 'tz > ''2026-01-02 23:00 UTC''',
    'f4 = 0.5::float4', 'f4 < -2', 'f4 >= 2.25::float8', 'f8 = 0', 'f8 < 0', 'f8 = ''NaN''', 'f8 > 11', 'f8 = 3::float4',
    'n = 2', 'n < 1::numeric / 3', 'n <= 1::numeric / 3', 'n > 6', 'n IN (1, 2)',
    'u = md5(''3'')::uuid', 'u IN (md5(''3'')::uuid, md5(''4'')::uuid)', 's = ''word 3''', 's IN (''word 3'', ''word 5'')',
    's IS NULL', 'lower(s) = ''word 3''', 'vc = ''word 3''', 'vc IN (''word 3'', ''no word'')', 'bp = ''w3''', 'm = ''glad''',
    'm IN (''glad'', ''cross'')', 'p = 3', 'p < 3', 'ia && ''{3}''', 'ia && ''{3,12}''', 'ia @> ''{3,12}''', 'ia <@ ''{3,12,NULL}''',
    'ia = ''{3,3}''', 'ia && ''{}''', 'ia @> ''{}''', 'ia IS NULL', 'ta && ''{a7,c}''', 'ta @> ''{a7,b1}''', 'ta @> ''{b1,NULL}''',
    'id % 4 = 2', 'i2 = 7 AND b = false AND s = ''word 7'' AND m = ''glad'' AND ia && ''{7}''', 'b AND NOT b', 'v IS NOT NULL AND i2 = 3']) condition,
    compare(condition);

-- the planner's view of it

SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
PREPARE three(vector) AS SELECT id FROM t WHERE i2 = 7 AND b AND s IN ('word 7', 'y') AND id < 1000 ORDER BY v <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE three(NULL);
PREPARE within(vector, float8) AS SELECT id FROM t WHERE i2 <> 7 AND NOT b AND v <-> $1 < $2 ORDER BY v <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE within(NULL, NULL);

-- what few rows satisfy is left to an index that finds these

PREPARE few(vector) AS SELECT id FROM t WHERE id < 4 AND NOT b ORDER BY v <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE few(NULL);

-- conditions come from elsewhere: parameters, a join, a subquery

PREPARE one(int, vector) AS SELECT id FROM t WHERE i4 = $1 ORDER BY v <-> $2 LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE one(7, NULL);
EXECUTE one(7, life.numbers(507)::vector);
EXECUTE one(NULL, life.numbers(507)::vector);
RESET plan_cache_mode;
SELECT k, array_agg(s.id) FROM generate_series(1, 3) k, LATERAL (
    SELECT id FROM t WHERE i4 = k AND i2 = (SELECT k - 50) ORDER BY v <-> life.numbers(501)::vector LIMIT 2) s GROUP BY 1 ORDER BY 1;
RESET enable_seqscan;

-- more rows than a search asks for at a time, and settings that end it

SET enable_seqscan = off;
SET hnsw.ef_search = 10;
SELECT count(*), count(DISTINCT id), bool_and(b) FROM (SELECT id, b FROM t WHERE b ORDER BY v <-> life.numbers(7)::vector LIMIT 1200) s;
SELECT count(*), bool_and(i2 = 7) FROM (SELECT i2 FROM t WHERE i2 = 7 ORDER BY v <-> life.numbers(7)::vector) s;
-- a sweep keeps so many, and a walk before it may have found some
SET hnsw.max_scan_tuples = 10;
SELECT count(*) BETWEEN 10 AND 20 AS few, count(DISTINCT id) = count(*) AS once, bool_and(i2 = 7) FROM (SELECT id, i2 FROM t WHERE i2 = 7 ORDER BY v <-> life.numbers(7)::vector) s;
RESET hnsw.max_scan_tuples;
SET hnsw.iterative_scan = off;
SELECT count(*) FROM (SELECT i2 FROM t WHERE i2 = 7 ORDER BY v <-> life.numbers(7)::vector) s;
RESET hnsw.iterative_scan;
RESET hnsw.ef_search;
RESET enable_seqscan;

-- what is written later: another value of a further column is another version of the row

SELECT fill(3001, 3300);
UPDATE t SET i2 = 7 WHERE id % 20 = 3;
UPDATE t SET s = NULL, ia = '{1,2,3}' WHERE id % 20 = 4;
DELETE FROM t WHERE id % 3 = 0;
SELECT condition, rows, wrong FROM unnest(ARRAY['i2 = 7', 's IS NULL', 'ia @> ''{1,2}''', 'i4 < -400']) condition, compare(condition);
VACUUM (INDEX_CLEANUP ON) t;
SELECT fill(3301, 3600);
SELECT live = (SELECT count(*) FROM t) AS all_live, unreachable FROM vdb.check_index('t_v', true);
SELECT condition, rows, wrong FROM unnest(ARRAY['i2 = 7', 's IS NULL', 'ia @> ''{1,2}''', 'i4 < -400']) condition, compare(condition);
REINDEX INDEX t_v;
SELECT live = (SELECT count(*) FROM t) AS all_live FROM vdb.check_index('t_v', true);
SELECT recall > 0.95 AS good FROM vdb.recall('t_v', 10, 50);

-- what cannot be

CREATE INDEX ON t USING hnsw (i4, v vector_l2_ops);
CREATE INDEX ON t USING hnsw (i4);
CREATE INDEX ON t USING hnsw (v vector_l2_ops, v vector_ip_ops);
CREATE INDEX ON t USING hnsw (v vector_l2_ops, (ROW(i4, i8)));
CREATE INDEX ON t USING hnsw (v vector_l2_ops) INCLUDE (i4);
CREATE INDEX ON t USING hnsw (v vector_l2_ops, i4 DESC);
DROP TABLE t;

-- half of the rows pass, all of them far from the question: the walk gives up

CREATE TABLE t (id int, far bool, v vector(64));
INSERT INTO t SELECT i, i % 2 = 1, life.numbers(i)::vector + array_fill(i % 2 * 100, ARRAY[64])::vector FROM generate_series(1, 6000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, far);
ANALYZE t;
SELECT rows, wrong FROM compare('far');
DROP TABLE t;

-- what the index does not look at itself: arrays of a domain over arrays, the operator
-- class's own idea of equality, several bounds of the distance

CREATE DOMAIN labels AS text[];
CREATE TABLE t (id int, vc varchar(20), ta labels, v vector(64));
INSERT INTO t SELECT i, 'w' || i % 4 || repeat(' ', i % 8 / 4 * 2), ARRAY['a' || i % 5, 'b' || i % 3], life.numbers(i)::vector
FROM generate_series(1, 1000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, vc bpchar_ops, ta);
ANALYZE t;
SELECT condition, rows, wrong FROM unnest(ARRAY['vc::bpchar = ''w3''', 'ta IN (''{a1,b1}''::labels, ''{a2,b2}''::labels)',
    'ta && ANY (ARRAY[''{a1}'', ''{a2,b2}'']::labels[])', 'v OPERATOR(vdb.~<=) ANY (''{0,1}''::float8[])']) condition, compare(condition);
DROP TABLE t;
DROP DOMAIN labels;

-- values in the order of the table, so that few of the pages that are looked at beforehand have any that pass

CREATE TABLE t (id int, v vector(64));
INSERT INTO t SELECT i, life.numbers(i)::vector FROM generate_series(1, 6000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops, id) WITH (m = 4);
INSERT INTO t SELECT i, life.numbers(i)::vector FROM generate_series(6001, 7000) i;
SELECT condition, rows, wrong <= 3 AS found FROM unnest(ARRAY['id <= 3500', 'id > 3500', 'id > 6000', 'id > 6960', 'id <= 700',
    'id BETWEEN 3000 AND 3100', 'id BETWEEN 3050 AND 3060', 'id > 7000']) condition, compare(condition);
DROP TABLE t;

-- an index whose only codes are in hot slots is measured by them, wherever these begin

CREATE TABLE t (id int, b bit(256));
INSERT INTO t SELECT i, ('x' || md5(i::text) || md5((-i)::text))::bit(256) FROM generate_series(1, 2000) i;
CREATE INDEX t_b ON t USING hnsw (b bit_hamming_ops);
CREATE INDEX t_b_id ON t USING hnsw (b bit_hamming_ops, id);
SELECT a.ef_search, abs(a.recall - b.recall) < 0.15 AS alike
FROM vdb.calibration('t_b') a, vdb.calibration('t_b_id') b WHERE a.ef_search = b.ef_search AND a.ef_search IN (10, 43) ORDER BY 1;
DROP TABLE t;

DROP FUNCTION compare, fill;
DROP DOMAIN percent;
DROP TYPE mood;
DROP SCHEMA life CASCADE;
