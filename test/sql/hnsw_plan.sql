-- Claims that the planner takes the index where it is the faster way to the
-- rows that are asked for, and not where it would be slow or incomplete.

CREATE TABLE t (id int, kind int, v vector(100));
INSERT INTO t
SELECT i, i % 1000, ARRAY(SELECT sin(i * j) FROM generate_series(1, 100) j)::vector
FROM generate_series(1, 3000) i;
CREATE INDEX t_v ON t USING hnsw (v vector_l2_ops) WITH (ef_construction = 32);
VACUUM ANALYZE t;

CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ ' on t\y' THEN
            RETURN substring(line FROM '([A-Z][A-Za-z ]*Scan(?: using \w+)?)');
        END IF;
    END LOOP;
END
$$;

-- What the planner believes of a table's size.
CREATE FUNCTION resize(number int) RETURNS void LANGUAGE sql AS
$$
UPDATE pg_class SET reltuples = number WHERE relname = 't';
$$;

CREATE FUNCTION question() RETURNS vector LANGUAGE sql IMMUTABLE AS
$$
SELECT array_fill(0.1::real, ARRAY[100])::vector
$$;

-- a few nearest rows, at all sizes

SELECT n, resize(n), plan('SELECT id FROM t ORDER BY v <-> question() LIMIT 10')
FROM unnest(ARRAY[2000, 10000, 1000000]) n;

-- with a filter that one in two, in a hundred, in a thousand rows pass

SELECT n, resize(n), plan('SELECT id FROM t WHERE kind < 500 ORDER BY v <-> question() LIMIT 10')
FROM unnest(ARRAY[10000, 1000000]) n;
SELECT n, resize(n), plan('SELECT id FROM t WHERE kind < 10 ORDER BY v <-> question() LIMIT 10')
FROM unnest(ARRAY[10000, 1000000]) n;
SELECT n, resize(n), plan('SELECT id FROM t WHERE kind = 1 ORDER BY v <-> question() LIMIT 10')
FROM unnest(ARRAY[10000]) n;

-- a filter that an index of its own answers

SELECT resize(3000);
CREATE INDEX t_kind ON t (kind);
SELECT plan('SELECT id FROM t WHERE kind = 1 ORDER BY v <-> question() LIMIT 10');
DROP INDEX t_kind;

-- all rows, in order or not: never the index

SELECT n, resize(n), plan('SELECT id FROM t ORDER BY v <-> question()'),
    plan('SELECT id FROM t')
FROM unnest(ARRAY[10000, 1000000]) n;
SELECT plan('SELECT max(id) FROM t');
SELECT plan('SELECT id FROM t WHERE v <-> question() < 1');
SELECT plan('SELECT id FROM t ORDER BY v <-> question() DESC LIMIT 10');
SELECT plan('SELECT count(*) FROM (SELECT id FROM t ORDER BY v <-> question() OFFSET 0) s');

-- not all rows, though there is no LIMIT to see

SELECT plan('DECLARE c CURSOR FOR SELECT id FROM t ORDER BY v <-> question()');
SELECT plan('SELECT EXISTS (SELECT FROM (SELECT id FROM t ORDER BY v <-> question() OFFSET 0) s)');
SELECT plan('SELECT (SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY v <-> question() LIMIT 10) s)');

-- LIMIT as a parameter, in a plan made for all of its values

SET plan_cache_mode = force_generic_plan;
PREPARE nearest (vector, int) AS SELECT id FROM t ORDER BY v <-> $1 LIMIT $2;
SELECT resize(10000);
SELECT plan($$EXECUTE nearest ('[1]', 10)$$);
RESET plan_cache_mode;

-- told to, the planner uses it for all rows too, but not without an order

SET enable_seqscan = off;
SELECT plan('SELECT id FROM t ORDER BY v <-> question()');
SELECT plan('SELECT id FROM t');
RESET enable_seqscan;

-- a table so small that reading all of it is faster

DELETE FROM t WHERE id > 100;
VACUUM FULL ANALYZE t;
SELECT plan('SELECT id FROM t ORDER BY v <-> question() LIMIT 10');
SELECT plan('SELECT id FROM t WHERE kind < 500 ORDER BY v <-> question() LIMIT 10');

DROP TABLE t;
DROP FUNCTION plan;
DROP FUNCTION resize;
DROP FUNCTION question;
