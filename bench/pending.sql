-- What rows that wait to be linked cost: inserts with and without fastupdate, searches
-- beside waiting rows, and the merge.  Processor time of the session, 784 dimensions.
--
--   psql -X -f bench/pending.sql
--
-- Needs a superuser (for /proc) and an empty database with the extension.  docs/design/018.

\set QUIET on
SET jit = off;
CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1000 $$;
CREATE FUNCTION noise(i int) RETURNS vector VOLATILE LANGUAGE sql AS
$$ SELECT array_agg(random())::vector(784) FROM generate_series(1, 784 + 0 * i) $$;
CREATE TABLE source AS SELECT i AS id, noise(i) AS v FROM generate_series(1, 7048) i;
CREATE TABLE plain (id int PRIMARY KEY, v vector(784));
CREATE TABLE indexed (LIKE plain INCLUDING ALL);
INSERT INTO indexed SELECT * FROM source WHERE id <= 4000;
CREATE INDEX indexed_v ON indexed USING hnsw (v vector_l2_ops);

-- rows one by one into a table; microseconds and bytes of WAL of each
CREATE FUNCTION insert_rows(tab text, first int, last int, OUT us numeric, OUT wal numeric) LANGUAGE plpgsql AS $$
DECLARE
    vectors vector[];
    start_us float8;
    start_wal pg_lsn;
BEGIN
    SELECT array_agg(v ORDER BY id) INTO vectors FROM source WHERE id BETWEEN first AND last;
    start_wal := pg_current_wal_insert_lsn();
    start_us := cpu();
    FOR i IN first..last LOOP
        EXECUTE format('INSERT INTO %I VALUES ($1, $2)', tab) USING i, vectors[i - first + 1];
    END LOOP;
    us := round((cpu() - start_us)::numeric / (last - first + 1), 1);
    wal := round((pg_current_wal_insert_lsn() - start_wal) / (last - first + 1));
END $$;

-- microseconds of a search for ten rows
CREATE FUNCTION search_rows(number int) RETURNS numeric VOLATILE LANGUAGE plpgsql SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
    questions vector[];
    start_us float8;
BEGIN
    SELECT array_agg(noise(i)) INTO questions FROM generate_series(1, number) i;
    FOR round IN 1..2 LOOP
        start_us := cpu();
        FOR i IN 1..number LOOP
            PERFORM id FROM indexed ORDER BY v <-> questions[i] LIMIT 10;
        END LOOP;
    END LOOP;
    RETURN round((cpu() - start_us)::numeric / number, 1);
END $$;

CHECKPOINT;
SELECT insert_rows('plain', 1, 10), insert_rows('indexed', 4001, 4010) \g /dev/null
\echo 'inserts, a row, the least of some turns: without an index, linked at once'
SELECT min(p.us) AS plain, min(i.us) AS indexed, min(p.wal) AS plain_wal, min(i.wal) AS indexed_wal
FROM generate_series(4011, 4911, 100) first,
    LATERAL insert_rows('plain', first, first + 99) p, LATERAL insert_rows('indexed', first, first + 99) i;
\echo 'searches'
SELECT min(search_rows(100)) AS us FROM generate_series(1, 10);
ALTER INDEX indexed_v SET (fastupdate = on);
\echo 'without an index, with fastupdate'
SELECT min(p.us) AS plain, min(i.us) AS indexed, min(p.wal) AS plain_wal, min(i.wal) AS indexed_wal
FROM generate_series(5011, 6911, 100) first,
    LATERAL insert_rows('plain', first, first + 99) p, LATERAL insert_rows('indexed', first, first + 99) i;
SELECT pending FROM vdb.check_index('indexed_v');
\echo 'searches beside waiting rows'
SELECT min(search_rows(100)) AS us FROM generate_series(1, 10);
\echo 'merge, a row'
SELECT cpu() AS us, pg_current_wal_insert_lsn() AS wal \gset
SELECT vdb.merge_pending('indexed_v') AS merged \gset
SELECT :merged AS rows, round((cpu() - :us)::numeric / :merged, 1) AS us, round((pg_current_wal_insert_lsn() - :'wal') / :merged) AS wal;
\echo 'searches afterwards'
SELECT min(search_rows(100)) AS us FROM generate_series(1, 10);
DROP TABLE source, plain, indexed;
DROP FUNCTION insert_rows, search_rows, noise, cpu;
