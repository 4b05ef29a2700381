-- Claims that a query for rows within a distance, ordered by that distance, ends
-- where rows pass it, and gives the same answer as without an index.

\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\set ECHO none
\i :kinds
\set ECHO all

CREATE FUNCTION pseudorandom(i int, dims int) RETURNS vector LANGUAGE sql IMMUTABLE AS
$$
SELECT array_agg(x - floor(x))::vector
FROM generate_series(1, dims) j, LATERAL (SELECT sin(i * 12.9898 + j * 78.233) * 43758.5453 AS x) s
$$;
CREATE FUNCTION question() RETURNS vector LANGUAGE sql IMMUTABLE AS
$$ SELECT '[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]'::vector $$;
CREATE FUNCTION stable_question() RETURNS vector LANGUAGE plpgsql STABLE AS
$$ BEGIN RETURN question(); END $$;
CREATE FUNCTION stable_radius() RETURNS float8 LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 0.5; END $$;
CREATE FUNCTION volatile_radius() RETURNS float8 LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN 0.5; END $$;

CREATE TABLE item (id int PRIMARY KEY, kind int, r float8, v vector(8));
INSERT INTO item SELECT i, i % 50 + 1, 0.5, pseudorandom(i, 8) FROM generate_series(1, 3000) i;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);
CREATE TABLE asked (id int PRIMARY KEY, v vector(8), r float8);
INSERT INTO asked SELECT i, CASE WHEN i <> 49 THEN pseudorandom(-i, 8) END, CASE WHEN i % 10 <> 0 THEN i / 50.0 END
FROM generate_series(1, 50) i;
VACUUM ANALYZE item, asked;

-- what the server says of it

SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE v <-> '[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]' < 0.5
ORDER BY v <-> '[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]' LIMIT 100;
RESET enable_seqscan;

-- A query's answer by the index and without, and whether a scan has a radius.

CREATE FUNCTION compare(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    exact text;
    found text;
    plan text := '';
    line text;
BEGIN
    SET LOCAL enable_indexscan = off;
    EXECUTE 'SELECT array_agg(q)::text FROM (' || query || ') q' INTO exact;
    SET LOCAL enable_indexscan = on;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_bitmapscan = off;
    SET LOCAL enable_sort = off;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        plan := plan || line;
    END LOOP;
    EXECUTE 'SELECT array_agg(q)::text FROM (' || query || ') q' INTO found;
    RESET enable_seqscan;
    RESET enable_bitmapscan;
    RESET enable_sort;
    IF found IS DISTINCT FROM exact THEN
        RETURN format(E'%s\nbut exactly %s', found, exact);
    END IF;
    RETURN CASE WHEN plan !~ 'Index Scan using \w*_(v|idx)\d* ' THEN 'same, without the index'
        WHEN plan !~ 'Index Cond: .* OPERATOR\(vdb\.~<=\)' THEN 'same, without a radius'
        ELSE format('same, %s rows', coalesce(cardinality(found::text[]), 0)) END;
END
$$;

SET hnsw.ef_search = 200;

-- the condition: either way round, strict or not, of any type that compares

SELECT condition, compare(format('SELECT id FROM item WHERE %s ORDER BY v <-> question() LIMIT 100', condition))
FROM unnest(ARRAY[
    'v <-> question() < 0.5',
    'v <-> question() <= 0.5',
    '0.5 > v <-> question()',
    '0.5 >= v <-> question()',
    'question() <-> v < 0.5',
    '0.5 > question() <-> v',
    'NOT v <-> question() >= 0.5',
    'v <-> question() BETWEEN 0.4 AND 0.5',
    'v <-> question() < 0.5 AND v <-> question() < 0.6',
    'v <-> question() < 1',
    'v <-> question() < 0.55::real',
    'v <-> question() < 0.55::numeric',
    'v <-> question() < 0.5 AND kind < 25',
    'v <-> question() < stable_radius()',
    'v <-> question() < 2 * stable_radius() - 0.5',
    'v <-> question() < (SELECT max(r) - 0.4 FROM asked)',
    'v <-> question() < (SELECT r FROM asked WHERE id = 25)']) condition;
SELECT compare('SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY question() <-> v LIMIT 100');
SELECT compare('SELECT id FROM item WHERE v <-> stable_question() < 0.5 ORDER BY v <-> stable_question() LIMIT 100');

-- conditions that bound nothing, or something else

SELECT condition, compare(format('SELECT id FROM item WHERE %s ORDER BY v <-> question() LIMIT 10', condition))
FROM unnest(ARRAY[
    'v <-> question() > 0.5',
    'v <-> question() <> 0.5',
    'v <-> question() < r',
    'v <-> question() < volatile_radius()',
    'v <-> ''[1,1,1,1,1,1,1,1]'' < 0.8',
    'v <+> question() < 1',
    '(v <-> question()) + 0 < 0.5',
    'v <-> question() < 0.5 OR id = 1',
    'v <-> (SELECT v FROM asked WHERE id = 1) < 0.5']) condition;

-- the radius

SELECT r, operator,
    compare(format('SELECT id FROM item WHERE v <-> question() %s %L::float8 ORDER BY v <-> question() LIMIT 3000', operator, r))
FROM unnest(ARRAY['-Infinity', '-1', '0', '1e-300', '0.4', '0.6', '1e300', 'Infinity', 'NaN', NULL]) r,
    unnest(ARRAY['<', '<=']) operator
ORDER BY operator, r::float8;

-- One that is the very distance of a row, which is within it by <= only.

SELECT operator, count(*), compare(string_agg(format('SELECT %s, array_agg(id) FROM (SELECT id FROM item
    WHERE v <-> question() %s %L::float8 ORDER BY v <-> question() LIMIT 3000) s', n, operator, d), ' UNION ALL '))
FROM (SELECT v <-> question() AS d, row_number() OVER (ORDER BY v <-> question()) AS n FROM item LIMIT 20) s,
    unnest(ARRAY['<', '<=']) operator
GROUP BY 1 ORDER BY 1;

-- a question that is null, or of other dimensions

SELECT compare('SELECT id FROM item WHERE v <-> NULL::vector < 0.5 ORDER BY v <-> NULL::vector LIMIT 10');
SET enable_seqscan = off;
SELECT id FROM item WHERE v <-> '[1,2]' < 0.5 ORDER BY v <-> '[1,2]' LIMIT 10;
SELECT id FROM item WHERE v <-> '[1,2]' < NULL::float8 ORDER BY v <-> '[1,2]' LIMIT 10;
RESET enable_seqscan;

-- lateral: another question and another radius, some of them null, for each row

SELECT compare('SELECT a.id, n.id FROM asked a, LATERAL (SELECT id FROM item i WHERE i.v <-> a.v < a.r ORDER BY i.v <-> a.v LIMIT 30) n');
SELECT compare('SELECT a.id, n.id FROM asked a LEFT JOIN LATERAL (SELECT id FROM item i WHERE a.r >= a.v <-> i.v AND kind < 25 ORDER BY i.v <-> a.v LIMIT 30) n ON true');
SELECT compare('SELECT a.id, (SELECT count(*) FROM (SELECT id FROM item i WHERE i.v <-> a.v < a.r ORDER BY i.v <-> a.v LIMIT 100) s) FROM asked a');
SELECT compare('SELECT id, (SELECT min(i.v <-> a.v) FROM item i WHERE i.v <-> a.v < a.r) FROM asked a');

-- joins, subqueries, unions, windows

SELECT compare('SELECT i.id, a.id FROM item i JOIN asked a ON a.id = i.kind WHERE i.v <-> question() < 0.5 ORDER BY i.v <-> question() LIMIT 100');
SELECT compare('SELECT * FROM (SELECT id, v <-> question() AS d FROM item) s WHERE d < 0.5 ORDER BY d LIMIT 100');
SELECT compare('SELECT * FROM (SELECT id, v <-> question() AS d FROM item ORDER BY d LIMIT 100) s WHERE d < 0.5');
SELECT compare('WITH n AS MATERIALIZED (SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question()) SELECT count(*) FROM n');
SELECT compare('SELECT id, rank() OVER (ORDER BY v <-> question()) FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question() LIMIT 100');
SELECT compare('(SELECT id FROM item WHERE v <-> question() < 0.4 ORDER BY v <-> question()) UNION ALL (SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question())');
SELECT compare('SELECT i.id FROM item i, asked a WHERE a.id = 25 AND i.v <-> question() < a.r ORDER BY i.v <-> question() LIMIT 10');

-- partitions and other unions

CREATE TABLE part (id int, v vector(8)) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE part_2 (note text, v vector(8), id int);
ALTER TABLE part_2 DROP note;
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES WITH (MODULUS 3, REMAINDER 2);
CREATE INDEX ON part USING hnsw (v vector_l2_ops);
INSERT INTO part SELECT id, v FROM item;
ANALYZE part;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM part WHERE v <-> '[1,1,1,1,1,1,1,1]' < 0.6 ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 100;
RESET enable_seqscan;
SELECT compare('SELECT id FROM part WHERE v <-> question() < 0.5 ORDER BY v <-> question() LIMIT 100');
SELECT compare('SELECT id FROM part WHERE 0.5 > question() <-> v ORDER BY v <-> question() LIMIT 100');
SELECT compare('SELECT id FROM (SELECT id, v FROM part_0 UNION ALL SELECT id, v FROM part_2) u WHERE v <-> question() < 0.5 ORDER BY v <-> question() LIMIT 100');

-- indexes on an expression, on a part, and both

CREATE INDEX item_unit_v ON item USING hnsw ((l2_normalize(v)::vector(8)) vector_l2_ops) WHERE kind < 25;
SELECT compare('SELECT id FROM item WHERE kind < 25 AND l2_normalize(v)::vector(8) <-> question() < 0.7 ORDER BY l2_normalize(v)::vector(8) <-> question() LIMIT 100');
SELECT compare('SELECT id FROM item WHERE kind < 25 AND v <-> question() < 0.7 ORDER BY l2_normalize(v)::vector(8) <-> question() LIMIT 10');
CREATE INDEX item_half_v ON item USING hnsw ((v::halfvec(8)) halfvec_cosine_ops);
SELECT compare('SELECT id FROM item WHERE v::halfvec(8) <=> question()::halfvec(8) < 0.02 ORDER BY v::halfvec(8) <=> question()::halfvec(8) LIMIT 100');
DROP INDEX item_unit_v, item_half_v;

-- parameters: a plan for these values, and one for all

PREPARE nearest (vector, float8, int) AS SELECT id FROM item WHERE v <-> $1 < $2 ORDER BY v <-> $1 LIMIT $3;
PREPARE nearest_real (vector, real) AS SELECT id FROM item WHERE v <-> $1 < $2 ORDER BY v <-> $1 LIMIT 100;
CREATE FUNCTION answer(statement text) RETURNS int[] LANGUAGE plpgsql AS
$$
DECLARE
    ids int[];
    id int;
BEGIN
    FOR id IN EXECUTE statement LOOP
        ids := ids || id;
    END LOOP;
    RETURN ids;
END
$$;
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest (question(), 0.5, 100);
EXPLAIN (COSTS OFF) EXECUTE nearest_real (question(), 0.5);
SELECT name, values, answer(format('EXECUTE %s (%s)', name, values)) IS NOT DISTINCT FROM
    (SELECT array_agg(id) FROM (SELECT id FROM item WHERE (v <-> question()) + 0 < radius ORDER BY (v <-> question()) + 0) s) AS same
FROM (VALUES ('nearest', 'question(), 0.5, 100', 0.5), ('nearest', 'question(), 0.4, 100', 0.4),
    ('nearest', 'question(), -1, 100', -1), ('nearest', 'question(), NULL, 100', NULL),
    ('nearest', 'NULL, 0.5, 100', NULL), ('nearest_real', 'question(), 0.5', 0.5::real)) t (name, values, radius);
SET plan_cache_mode = force_custom_plan;
SELECT cardinality(answer('EXECUTE nearest (question(), 0.5, 100)')) AS rows;
RESET plan_cache_mode;
RESET enable_seqscan;
DEALLOCATE ALL;

-- a cursor, read to its end and beyond

BEGIN;
SET LOCAL enable_seqscan = off;
DECLARE c CURSOR FOR SELECT count(*) OVER (ORDER BY v <-> question()) FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question();
MOVE 27 IN c;
FETCH ALL FROM c;
FETCH c;
ROLLBACK;
BEGIN;
SET LOCAL enable_seqscan = off;
DECLARE c SCROLL CURSOR FOR SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question() LIMIT 100;
MOVE ALL IN c;
FETCH BACKWARD 2 FROM c;
MOVE ALL IN c;
ROLLBACK;

-- The scan ends.  Buffers that it takes, with a radius and without; and rows that
-- it returns in vain.  In relaxed order it goes on looking for late rows.

CREATE FUNCTION effort(mode text, query text, OUT buffers int, OUT rejected int) LANGUAGE plpgsql AS
$$
DECLARE
    plan json;
BEGIN
    PERFORM set_config('hnsw.iterative_scan', mode, true);
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || query INTO plan;
    plan := plan -> 0 -> 'Plan';
    buffers := (plan ->> 'Shared Hit Blocks')::int + (plan ->> 'Shared Read Blocks')::int;
    rejected := coalesce(plan -> 'Plans' -> 0 ->> 'Rows Removed by Filter', '0')::int;
END
$$;
RESET hnsw.ef_search;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT mode, r, plain.buffers > 5000 AS "many buffers without", bounded.buffers < 500 AS "few with",
    plain.rejected > 1000 AS "many in vain without", bounded.rejected < 10 AS "few with"
FROM unnest(ARRAY['off', 'strict_order', 'relaxed_order']) mode, unnest(ARRAY[-1, 0.1, 0.4, 0.5]) r,
    effort(mode, format('SELECT id FROM item WHERE v <-> question() < %s ORDER BY v <-> question() LIMIT 100', r)) bounded,
    effort(mode, format('SELECT id FROM item WHERE (v <-> question()) + 0 < %s ORDER BY v <-> question() LIMIT 100', r)) plain
ORDER BY 1, 2;

-- It loses no row that is found without a radius, even by a search that finds few.

CREATE FUNCTION lost(mode text, ef text, radius float8, k int, OUT rows bigint, OUT lost bigint) LANGUAGE plpgsql AS
$$
DECLARE
    q record;
    bounded int[];
    plain int[];
BEGIN
    PERFORM set_config('hnsw.iterative_scan', mode, true), set_config('hnsw.ef_search', ef, true);
    rows := 0;
    lost := 0;
    FOR q IN SELECT v FROM asked LOOP
        SELECT array_agg(id) FROM (SELECT id FROM item WHERE v <-> q.v < radius ORDER BY v <-> q.v LIMIT k) s INTO bounded;
        SELECT array_agg(id) FROM (SELECT id FROM item WHERE (v <-> q.v) + 0 < radius ORDER BY v <-> q.v LIMIT k) s INTO plain;
        rows := rows + coalesce(cardinality(plain), 0);
        lost := lost + (SELECT count(*) FROM (SELECT unnest(plain) EXCEPT SELECT unnest(bounded)) s);
    END LOOP;
END
$$;
CREATE INDEX item_w ON item USING hnsw (v vector_l2_ops) WITH (m = 2, ef_construction = 4);
DROP INDEX item_v;
SELECT mode, ef, r, k, rows > 0 AS rows, lost
FROM unnest(ARRAY['off', 'strict_order', 'relaxed_order']) mode, unnest(ARRAY['2', '10']) ef,
    unnest(ARRAY[0.4, 0.6]) r, unnest(ARRAY[10, 1000]) k, lost(mode, ef, r, k)
ORDER BY 1, 2, 3, 4;
DROP INDEX item_w;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);

-- Row security stands before every condition; the scan ends nevertheless.

CREATE ROLE range_reader;
GRANT SELECT ON item TO range_reader;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON item USING (kind < 25);
SET ROLE range_reader;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE v <-> '[1,1,1,1,1,1,1,1]' < 0.5 ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 10;
RESET ROLE;
ALTER TABLE item DISABLE ROW LEVEL SECURITY;
DROP POLICY own ON item;
REVOKE ALL ON item FROM range_reader;
DROP ROLE range_reader;
RESET enable_seqscan;
RESET enable_sort;

-- By hand, the operator of the plans says nothing but to an index.

SELECT count(*) FROM item WHERE v OPERATOR(vdb.~<=) 0.4;
SELECT count(*) FROM item WHERE v OPERATOR(vdb.~<=) NULL;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE v OPERATOR(vdb.~<=) 0.4;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE v OPERATOR(vdb.~<=) 0.4 ORDER BY v <-> '[1,1,1,1,1,1,1,1]' LIMIT 10;
SELECT count(*) FROM (SELECT id FROM item WHERE v OPERATOR(vdb.~<=) 0.4 ORDER BY v <-> question() LIMIT 1000) s
WHERE id NOT IN (SELECT id FROM item WHERE v <-> question() < 0.41);
RESET enable_seqscan;

-- An operator class of somebody's own may do without.

CREATE OPERATOR CLASS no_radius FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vdb_vector_l2_support(internal);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'no_radius';
DROP INDEX item_v;
CREATE INDEX item_v ON item USING hnsw (v no_radius);
SELECT compare('SELECT id FROM item WHERE v <-> question() < 0.5 ORDER BY v <-> question() LIMIT 100');
DROP TABLE item, asked, part;
DROP OPERATOR FAMILY no_radius USING hnsw;

-- Every kind of index: as many rows as without it, none of them wrong.

CREATE PROCEDURE make_tables() LANGUAGE plpgsql AS
$$
DECLARE
    k record;
BEGIN
    FOR k IN SELECT * FROM life.kinds LOOP
        EXECUTE format('CREATE TABLE life.%I (i int, v %s)', k.name, k.type);
        EXECUTE format('INSERT INTO life.%I SELECT i, %s FROM generate_series(1, 200) i', k.name, k.value);
        EXECUTE format('CREATE INDEX %I ON life.%I USING %s (v %s)', k.name || '_v', k.name, k.method, k.opclass);
        EXECUTE format('ANALYZE life.%I', k.name);
    END LOOP;
END
$$;
CALL make_tables();

-- Radii are the distances of the 1st, 20th and 200th row, and some that are none.
CREATE FUNCTION differences(kind text, OUT rows bigint, OUT differences bigint, OUT plans text) LANGUAGE plpgsql AS
$$
DECLARE
    name text := (SELECT oprname FROM life.kinds k JOIN pg_opclass c ON opcname = opclass
        JOIN pg_am a ON a.oid = opcmethod AND amname = method
        JOIN pg_amop ON amopfamily = opcfamily AND amopstrategy = 1 JOIN pg_operator o ON o.oid = amopopr
        WHERE k.name = kind);
    question text := life.value(kind, 1001);
    distance text := format('v %s %L', name, question);
    radii float8[];
    condition text;
    c record;
    line text;
BEGIN
    EXECUTE format('SELECT array_agg(d ORDER BY d) FROM (SELECT %s AS d FROM life.%I) s', distance, kind) INTO radii;
    rows := 0;
    differences := 0;
    FOR condition IN SELECT format('%s %s %L::float8', distance, operator, r)
        FROM unnest(ARRAY['<', '<=']) operator,
            unnest(ARRAY[radii[1], radii[20], radii[200], '-Infinity', -100, 0, 'Infinity', 'NaN']) r LOOP
        SELECT * FROM life.compare(format('life.%I', kind)::regclass, kind || '_v', 'v', condition, name, question) INTO c;
        rows := rows + c.rows;
        differences := differences + c.differences;
    END LOOP;
    SET LOCAL enable_seqscan = off;
    FOR line IN EXECUTE format('EXPLAIN (COSTS OFF) SELECT i FROM life.%I WHERE %s < 1 ORDER BY %2$s LIMIT 10', kind, distance) LOOP
        plans := coalesce(plans, substring(line FROM 'Index Cond: (.*)'));
    END LOOP;
    RESET enable_seqscan;
END
$$;
SELECT name, rows > 800 AS rows, differences, plans FROM life.kinds, differences(name) ORDER BY name;

SET client_min_messages = warning;
DROP SCHEMA life CASCADE;
DROP PROCEDURE make_tables;
DROP FUNCTION pseudorandom, question, stable_question, stable_radius, volatile_radius, compare, answer, effort, lost, differences;
