-- Claims that an exact search above a bitmap scan finds what one above a sequential scan
-- does: where the bitmap has rows, where it has kept no more than pages, where rows are gone, and
-- where it is scanned again.
SET max_parallel_workers_per_gather = 0;

CREATE TABLE item (id int, kind int, pad text, v vector(16));
INSERT INTO item SELECT i, i * 7919 % 1000, repeat('x', 300), (SELECT array_agg(sin(i * j)) FROM generate_series(1, 16) j)::vector
FROM generate_series(1, 30000) i;
CREATE INDEX item_v ON item USING hnsw (v vector_l2_ops);
CREATE INDEX item_kind ON item (kind);
VACUUM ANALYZE item;
DELETE FROM item WHERE id % 3 = 0;

-- As "rows: same" where both ways give the same; with the nodes of the first.
CREATE FUNCTION compare(query text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    line text;
    nodes text := '';
    found int[];
    expected int[];
BEGIN
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_indexscan = off;
    SET LOCAL enable_bitmapscan = on;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        nodes := nodes || coalesce(substring(line FROM 'VdbExactScan|Bitmap Heap Scan|Nested Loop') || ', ', '');
    END LOOP;
    EXECUTE format('SELECT array_agg(n) FROM (%s) s (n)', query) INTO found;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_bitmapscan = off;
    SET LOCAL vdb.enable_exact_scan = off;
    EXECUTE format('SELECT array_agg(n) FROM (%s) s (n)', query) INTO expected;
    SET LOCAL vdb.enable_exact_scan = on;
    RETURN nodes || coalesce(cardinality(found), 0) || ' rows: ' ||
        CASE WHEN found IS NOT DISTINCT FROM expected THEN 'same' ELSE 'other' END;
END
$$;

SELECT condition, compare(format('SELECT id FROM item WHERE %s ORDER BY v <-> array_fill(0.3, ARRAY[16])::vector LIMIT 50', condition))
FROM unnest(ARRAY['kind = 5', 'kind < 10', 'kind < 600', 'kind IN (3, 500)', 'kind < 0', 'kind < 10 OR kind > 990']) condition;

-- no more than pages
SET work_mem = '64kB';
SET enable_seqscan = off;
SET enable_indexscan = off;
CREATE FUNCTION is_lossy(query text) RETURNS bool LANGUAGE plpgsql AS
$$
DECLARE
    line text;
    lossy bool := false;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ' || query LOOP
        lossy := lossy OR line ~ 'lossy=[1-9]';
    END LOOP;
    RETURN lossy;
END
$$;
SELECT is_lossy('SELECT id FROM item WHERE kind < 600 ORDER BY v <-> array_fill(0.3, ARRAY[16])::vector LIMIT 50');
RESET enable_seqscan;
RESET enable_indexscan;
SELECT compare('SELECT id FROM item WHERE kind < 600 ORDER BY v <-> array_fill(0.3, ARRAY[16])::vector LIMIT 50');
RESET work_mem;

-- again and again, with other rows each time, and for many questions at once
SELECT compare('SELECT n.id FROM generate_series(1, 40) k CROSS JOIN LATERAL
    (SELECT id FROM item WHERE kind = k ORDER BY v <-> array_fill(0.3, ARRAY[16])::vector LIMIT 5) n');
SELECT compare('SELECT n.id FROM (SELECT v FROM item WHERE id < 60) q CROSS JOIN LATERAL
    (SELECT id FROM item WHERE kind < 10 ORDER BY v <-> q.v LIMIT 5) n');

DROP FUNCTION compare, is_lossy;
DROP TABLE item;
