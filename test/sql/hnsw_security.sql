-- Claims that row security, views and privileges hold under an hnsw index: each
-- role gets as many rows as LIMIT asks for out of those that it may see, and
-- learns nothing of the others.

CREATE ROLE vdb_ann;
CREATE ROLE vdb_bob;
CREATE ROLE vdb_carl;

-- one row in five is ann's, one in fifty bob's, none carl's
CREATE TABLE doc (id int, owner text, v vector(2));
INSERT INTO doc SELECT i, CASE WHEN i % 50 = 0 THEN 'vdb_bob' WHEN i % 5 = 0 THEN 'vdb_ann' ELSE 'nobody' END,
    ARRAY[i, 0] FROM generate_series(1, 5000) i;
CREATE INDEX doc_v ON doc USING hnsw (v vector_l2_ops);
ANALYZE doc;
GRANT SELECT, UPDATE, DELETE ON doc TO PUBLIC;
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;

-- Each role's answers: how many, and the first and last of them.
CREATE PROCEDURE ask() LANGUAGE plpgsql AS
$$
DECLARE
    who text;
    k int;
    answer text;
BEGIN
    FOREACH who IN ARRAY ARRAY['vdb_ann', 'vdb_bob', 'vdb_carl'] LOOP
        EXECUTE 'SET LOCAL ROLE ' || who;
        FOREACH k IN ARRAY ARRAY[1, 10, 90, 200] LOOP
            EXECUTE format('SELECT concat(count(*), '' rows, '', min(id), '' to '', max(id)) FROM '
                '(SELECT id FROM doc ORDER BY v <-> ''[0,0]'' LIMIT %s) s', k) INTO answer;
            RAISE INFO '% asks for %: %', who, k, answer;
        END LOOP;
        RESET ROLE;
    END LOOP;
END
$$;

SET enable_seqscan = off;
SET enable_sort = off;

-- a policy of the server's own functions, which leak nothing

CREATE POLICY own ON doc USING (owner = current_user);
SET ROLE vdb_ann;
EXPLAIN (COSTS OFF) SELECT id FROM doc ORDER BY v <-> '[0,0]' LIMIT 10;
RESET ROLE;
CALL ask();

-- a policy with a function that might leak, and a table of its own

CREATE TABLE share (owner text, reader text);
INSERT INTO share VALUES ('vdb_ann', 'vdb_ann'), ('vdb_bob', 'vdb_bob'), ('vdb_ann', 'vdb_bob');
GRANT SELECT ON share TO PUBLIC;
CREATE FUNCTION may_read(document_owner text) RETURNS bool LANGUAGE plpgsql STABLE AS
$$
BEGIN
    RETURN EXISTS (SELECT FROM share s WHERE s.owner = document_owner AND s.reader = current_user);
END
$$;
DROP POLICY own ON doc;
CREATE POLICY shared ON doc USING (may_read(owner));
CALL ask();
DROP POLICY shared ON doc;
CREATE POLICY shared ON doc USING (owner IN (SELECT s.owner FROM share s WHERE s.reader = current_user));
CALL ask();

-- policies that add to each other, and one that takes away

CREATE POLICY first_ones ON doc USING (id <= 10);
CREATE POLICY not_the_very_first ON doc AS RESTRICTIVE USING (id > 3);
CALL ask();
DROP POLICY first_ones ON doc;
DROP POLICY not_the_very_first ON doc;
DROP POLICY shared ON doc;

-- A function in WHERE that tells of each row it is called for is not called for
-- rows that the policy hides, however cheap it says it is.

CREATE POLICY own ON doc USING (owner = current_user);
CREATE FUNCTION tell(id int) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS
$$ BEGIN RAISE NOTICE 'row %', id; RETURN true; END $$;
SET ROLE vdb_ann;
SELECT id FROM doc WHERE tell(id) ORDER BY v <-> '[0,0]' LIMIT 2;

-- commands that change rows see the same ones

UPDATE doc SET id = id WHERE id IN (SELECT id FROM doc ORDER BY v <-> '[0,0]' LIMIT 2) RETURNING id;
RESET ROLE;

-- The owner sees all rows, and no more than others where told so.

ALTER TABLE doc OWNER TO vdb_bob;
SET ROLE vdb_bob;
SELECT id FROM doc ORDER BY v <-> '[0,0]' LIMIT 2;
ALTER TABLE doc FORCE ROW LEVEL SECURITY;
SELECT id FROM doc ORDER BY v <-> '[0,0]' LIMIT 2;
ALTER TABLE doc NO FORCE ROW LEVEL SECURITY;
RESET ROLE;

-- Recall would tell of rows that are hidden; an index is verified by its owner.

SET ROLE vdb_ann;
SELECT * FROM vdb.recall('doc_v');
SELECT * FROM vdb.check_index('doc_v');
SET ROLE vdb_bob;
SELECT recall > 0.9 AS good FROM vdb.recall('doc_v');
SELECT live, attached FROM vdb.check_index('doc_v', true);
RESET ROLE;
ALTER TABLE doc DISABLE ROW LEVEL SECURITY;

-- A view's condition comes first where it is a barrier, which an order from
-- outside does not pass; any other view is looked through.

CREATE VIEW plain AS SELECT id, v FROM doc WHERE owner = current_user;
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, v FROM doc WHERE owner = current_user;
GRANT SELECT ON plain, barrier TO PUBLIC;
SET ROLE vdb_ann;
EXPLAIN (COSTS OFF) SELECT id FROM plain ORDER BY v <-> '[0,0]' LIMIT 2;
SELECT id FROM plain ORDER BY v <-> '[0,0]' LIMIT 2;
SELECT id FROM barrier ORDER BY v <-> '[0,0]' LIMIT 2;
SELECT id FROM barrier WHERE tell(id) AND id < 15 ORDER BY v <-> '[0,0]' LIMIT 2;
RESET ROLE;

-- privileges on columns: to order by a vector is to read it

REVOKE SELECT ON doc FROM PUBLIC;
GRANT SELECT (id) ON doc TO vdb_ann;
GRANT SELECT (id, v) ON doc TO vdb_carl;
SET ROLE vdb_ann;
SELECT id FROM doc ORDER BY v <-> '[0,0]' LIMIT 2;
SET ROLE vdb_carl;
SELECT id FROM doc ORDER BY v <-> '[0,0]' LIMIT 2;
SELECT * FROM doc ORDER BY v <-> '[0,0]' LIMIT 2;
SELECT * FROM vdb.recall('doc_v');
RESET ROLE;

RESET enable_seqscan;
RESET enable_sort;
DROP VIEW plain, barrier;
DROP TABLE doc, share;
DROP PROCEDURE ask;
DROP FUNCTION may_read, tell;
DROP ROLE vdb_ann, vdb_bob, vdb_carl;
