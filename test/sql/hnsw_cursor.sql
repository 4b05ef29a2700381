-- Claims that a cursor over an hnsw index gives each row once, in order, as far
-- as it is read, and goes back only where its rows are kept.

CREATE TABLE point (id int, v vector(2));
INSERT INTO point SELECT i, ARRAY[i, 0] FROM generate_series(1, 1000) i;
CREATE INDEX point_v ON point USING hnsw (v vector_l2_ops);
ANALYZE point;
SET enable_seqscan = off;
SET enable_sort = off;
SET hnsw.ef_search = 40;

-- beyond hnsw.ef_search, by fetches of all kinds

BEGIN;
EXPLAIN (COSTS OFF) DECLARE c CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
DECLARE c CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
FETCH 3 FROM c;
FETCH c;
MOVE 90 IN c;
FETCH 3 FROM c;
FETCH RELATIVE 400 FROM c;
FETCH ABSOLUTE 800 FROM c;
MOVE 198 IN c;
FETCH ALL FROM c;
FETCH c;
CLOSE c;

-- It cannot go back, except where the server is told to keep its rows.

DECLARE c CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
FETCH 2 FROM c;
FETCH PRIOR FROM c;
ROLLBACK;

BEGIN;
EXPLAIN (COSTS OFF) DECLARE c SCROLL CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
DECLARE c SCROLL CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
FETCH 100 FROM c \g /dev/null
FETCH BACKWARD 3 FROM c;
FETCH FIRST FROM c;
FETCH LAST FROM c;
MOVE BACKWARD ALL IN c;
FETCH c;
CLOSE c;

-- rows that come after the cursor's snapshot

DECLARE c CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
FETCH c;
INSERT INTO point VALUES (0, '[1.5,0]');
DELETE FROM point WHERE id = 2;
FETCH 2 FROM c;
CLOSE c;
ROLLBACK;

-- two at a time over one index, with different questions

BEGIN;
DECLARE a CURSOR FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
DECLARE b CURSOR FOR SELECT id FROM point ORDER BY v <-> '[1001,0]';
FETCH 2 FROM a;
FETCH 2 FROM b;
MOVE 100 IN a;
MOVE 100 IN b;
FETCH 2 FROM a;
FETCH 2 FROM b;
COMMIT;

-- WITH HOLD: all rows are read at the end of the transaction

BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM point ORDER BY v <-> '[0,0]';
FETCH 2 FROM c;
COMMIT;
DELETE FROM point WHERE id = 3;
FETCH 2 FROM c;
MOVE 994 IN c;
FETCH 3 FROM c;
CLOSE c;

-- a row that the cursor stands on

BEGIN;
DECLARE c CURSOR FOR SELECT id FROM point ORDER BY v <-> '[500.2,0]' FOR UPDATE;
FETCH c;
DELETE FROM point WHERE CURRENT OF c;
FETCH c;
ROLLBACK;

-- in PL/pgSQL: a loop that stops by itself reads no further

CREATE FUNCTION within(question vector, radius float8) RETURNS SETOF int LANGUAGE plpgsql STABLE AS
$$
DECLARE
    c CURSOR FOR SELECT id, v <-> question AS distance FROM point ORDER BY v <-> question;
BEGIN
    FOR r IN c LOOP
        EXIT WHEN r.distance >= radius;
        RETURN NEXT r.id;
    END LOOP;
END
$$;
SELECT count(*), min(within), max(within) FROM within('[400,0]', 100.5);

DROP FUNCTION within;
DROP TABLE point;
