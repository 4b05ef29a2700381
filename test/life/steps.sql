-- The life of an index of one kind, in a schema of its own, checked at every
-- step; then that of the next kind.  The caller has set kind to the first one.

SELECT type, opclass, value, further, method, options, storage FROM life.kinds WHERE name = :'kind' \gset
CREATE SCHEMA :kind;
SET search_path = :kind, public;
CREATE FUNCTION value(i int) RETURNS :type LANGUAGE sql RETURN :value;
CREATE TABLE t (id int, note text, v :type) WITH (fillfactor = 70);
CREATE PROCEDURE fill(first int, last int) LANGUAGE sql AS
$$ INSERT INTO t SELECT i, '', value(i) FROM generate_series(first, last) i $$;

CALL fill(1, 150);
CREATE INDEX t_v ON t USING :method (v :opclass :further) :storage;
CALL life.expect('t_v', 150);
CALL fill(151, 200);
CALL life.expect('t_v', 200);
UPDATE t SET v = value(id + 1000) WHERE id % 3 = 0;
CALL life.expect('t_v', 200);
UPDATE t SET note = 'longer' WHERE id % 5 = 0;
CALL life.expect('t_v', 200);
DELETE FROM t WHERE id % 2 = 0;
CALL life.expect('t_v', 100);
VACUUM (INDEX_CLEANUP ON) t;
CALL life.expect('t_v', 100);
CALL fill(201, 300);
CALL life.expect('t_v', 200);

-- vacuum truncates the table: new rows get the identifiers of old ones

DELETE FROM t;
VACUUM (INDEX_CLEANUP ON) t;
CALL life.expect('t_v', 0);
CALL fill(1, 150);
CALL life.expect('t_v', 150);

-- transactions

BEGIN;
CALL fill(301, 325);
SAVEPOINT a;
CALL fill(326, 350);
SAVEPOINT b;
DELETE FROM t WHERE id > 310;
CALL life.expect('t_v', 160);
ROLLBACK TO b;
CALL life.expect('t_v', 200);
ROLLBACK TO a;
CALL life.expect('t_v', 175);
CALL fill(351, 360);
COMMIT;
CALL life.expect('t_v', 185);

BEGIN;
TRUNCATE t;
CALL life.expect('t_v', 0);
CALL fill(1, 25);
CALL life.expect('t_v', 25);
SAVEPOINT a;
TRUNCATE t;
CALL fill(26, 30);
CALL life.expect('t_v', 5);
ROLLBACK TO a;
CALL life.expect('t_v', 25);
CALL fill(26, 35);
ROLLBACK;
CALL life.expect('t_v', 185);
TRUNCATE t RESTART IDENTITY;
CALL life.expect('t_v', 0);
CALL fill(1, 100);
CALL life.expect('t_v', 100);

BEGIN;
SAVEPOINT a;
CREATE INDEX t_w ON t USING :method (v :opclass :further) :storage;
CALL fill(101, 105);
SAVEPOINT b;
DROP INDEX t_v;
CALL life.expect('t_w', 105);
ROLLBACK TO a;
CALL life.expect('t_v', 100);
ROLLBACK;

BEGIN;
DROP TABLE t;
CREATE TABLE t (id int, note text, v :type);
CREATE INDEX t_v ON t USING :method (v :opclass :further) :storage;
CALL fill(1, 50);
CALL life.expect('t_v', 50);
TRUNCATE t;
CALL life.expect('t_v', 0);
CALL fill(1, 40);
CALL life.expect('t_v', 40);
SAVEPOINT a;
TRUNCATE t;
CALL fill(1, 5);
CALL life.expect('t_v', 5);
ROLLBACK TO a;
CALL life.expect('t_v', 40);
CALL fill(41, 45);
COMMIT;
CALL life.expect('t_v', 45);

-- rewriting

CALL fill(46, 150);
DELETE FROM t WHERE id % 4 = 0;
REINDEX INDEX t_v;
CALL life.expect('t_v', 113);
REINDEX INDEX CONCURRENTLY t_v;
CALL life.expect('t_v', 113);
VACUUM FULL t;
CALL life.expect('t_v', 113);
CREATE INDEX t_id ON t (id);
CLUSTER t USING t_id;
CALL life.expect('t_v', 113);
ALTER TABLE t ALTER id TYPE bigint;
CALL life.expect('t_v', 113);
ALTER TABLE t DROP note;
ALTER TABLE t ADD number float DEFAULT random();
CALL life.expect('t_v', 113);
ALTER TABLE t SET UNLOGGED;
CALL life.expect('t_v', 113);
INSERT INTO t SELECT i, value(i) FROM generate_series(151, 160) i;
CALL life.expect('t_v', 123);
ALTER TABLE t SET LOGGED;
CALL life.expect('t_v', 123);
ALTER INDEX t_v SET (:options);
INSERT INTO t SELECT i, value(i) FROM generate_series(161, 170) i;
CALL life.expect('t_v', 133);
REINDEX INDEX t_v;
CALL life.expect('t_v', 133);

-- the index does not grow: each round takes a tenth away and brings as many

INSERT INTO t SELECT i, value(i) FROM generate_series(1, 170) i WHERE i NOT IN (SELECT id FROM t);
SELECT pg_relation_size('t_v') AS size \gset
SELECT step
FROM generate_series(0, 9) round,
    LATERAL unnest(ARRAY[
        format('DELETE FROM t WHERE id %% 10 = %s', round % 10),
        'VACUUM (INDEX_CLEANUP ON) t',
        format('INSERT INTO t SELECT i, value(1000 * %s + i) FROM generate_series(1, 170) i WHERE i %% 10 = %s', round, round % 10)])
    WITH ORDINALITY AS s (step, nr)
ORDER BY round, nr \gexec
CALL life.expect('t_v', 170);
INSERT INTO life.sizes SELECT :'kind', :size, pg_relation_size('t_v');

-- temporary

CREATE TEMP TABLE p (id int, v :type) ON COMMIT DELETE ROWS;
CREATE INDEX p_v ON p USING :method (v :opclass :further) :storage;
BEGIN;
INSERT INTO p SELECT i, value(i) FROM generate_series(1, 50) i;
CALL life.expect('p_v', 50);
COMMIT;
CALL life.expect('p_v', 0);
BEGIN;
INSERT INTO p SELECT i, value(i) FROM generate_series(1, 25) i;
SAVEPOINT a;
INSERT INTO p SELECT i, value(i) FROM generate_series(26, 30) i;
ROLLBACK TO a;
CALL life.expect('p_v', 25);
COMMIT;
DROP TABLE p;

RESET search_path;
DROP SCHEMA :kind CASCADE;

SELECT min(name) AS kind, count(*) > 0 AS more FROM life.kinds WHERE name > :'kind' \gset
\if :more
    \i :steps
\endif
