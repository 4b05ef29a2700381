-- Claims that rows whose vectors are stored out of line come in exact order however
-- those are stored, and that a scan between two rows keeps nothing of them pinned.

CREATE EXTENSION pg_buffercache;
SET enable_seqscan = off;
SET hnsw.ef_search = 100;
SELECT setseed(0.5);

-- Are the nearest by the index those by a sort?  All rows are nearly equal, so they are measured.
CREATE FUNCTION far_agree() RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	query vector;
	by_index float8[];
	by_sort float8[];
	agreed bool := true;
BEGIN
	FOR query IN SELECT v FROM far WHERE id % 20 = 1 LOOP
		SELECT array_agg(d) INTO by_index FROM (SELECT v <-> query AS d FROM far ORDER BY v <-> query LIMIT 40) s;
		SELECT array_agg(d) INTO by_sort FROM (SELECT v <-> query AS d FROM far ORDER BY (v <-> query) + 0 LIMIT 40) s;
		agreed := agreed AND by_index = by_sort;
	END LOOP;
	RETURN agreed;
END $$;

-- plain, compressed out of line, and compressed in place where that does
CREATE TABLE far (id int, v vector(3000));
CREATE FUNCTION far_store(storage text, noisy int) RETURNS TABLE (stored text, compressed bool, out_of_line bool, agree bool) LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE far;
	CREATE TABLE far (id int, v vector(3000));
	EXECUTE format('ALTER TABLE far ALTER v SET STORAGE %s', storage);
	INSERT INTO far SELECT g, array_agg(CASE WHEN i > 3000 - noisy THEN sin(i * 0.37) + random() * 0.001 ELSE 1 END ORDER BY i)::vector
	FROM generate_series(1, 60) g, generate_series(1, 3000) i GROUP BY g;
	CREATE INDEX far_v ON far USING hnsw (v vector_l2_ops);
	RETURN QUERY SELECT storage, bool_and(pg_column_compression(v) IS NOT NULL),
		pg_relation_size((SELECT reltoastrelid FROM pg_class WHERE oid = 'far'::regclass)) > 0, far_agree() FROM far;
END $$;
SELECT s.* FROM (VALUES ('external', 3000), ('extended', 1500), ('main', 100)) how (storage, noisy), far_store(storage, noisy) s;

-- values that a cursor sees, and others no longer
SELECT * FROM far_store('external', 3000);
CREATE TEMP TABLE sorted AS
SELECT row_number() OVER () AS at, id FROM (SELECT id FROM far ORDER BY (v <-> (SELECT v FROM far WHERE id = 7)) + 0) s;
CREATE FUNCTION far_fetch(c refcursor, first int, last int) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	row int;
	agreed bool := true;
BEGIN
	FOR i IN first..last LOOP
		FETCH c INTO row;
		agreed := agreed AND row = (SELECT id FROM sorted WHERE at = i);
	END LOOP;
	RETURN agreed;
END $$;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM far ORDER BY v <-> (SELECT v FROM far WHERE id = 7);
SELECT far_fetch('c', 1, 5);
SELECT count(*) AS pinned FROM pg_buffercache b, pg_class t, pg_index i
WHERE t.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'far'::regclass) AND i.indrelid = t.oid
	AND b.reldatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND b.relfilenode IN (pg_relation_filenode(t.oid), pg_relation_filenode(i.indexrelid)) AND b.pinning_backends > 0;
UPDATE far SET v = array_fill(id, ARRAY[3000])::vector;
SELECT far_fetch('c', 6, 15);
SAVEPOINT s;
SELECT far_fetch('c', 16, 25);
ROLLBACK TO s;
SELECT far_fetch('c', 26, 35);
DELETE FROM far;
DO $$ BEGIN PERFORM far_fetch('c', 36, 45); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$;
SELECT far_fetch('c', 46, 60);
FETCH c;
ROLLBACK;

-- an error while a scan is going on
SELECT count(1 / (id - id)) FROM (SELECT id FROM far ORDER BY v <-> (SELECT v FROM far WHERE id = 7) LIMIT 5) s;
SELECT far_agree();

-- where a value began is remembered, and may be another's by now, or nowhere
VACUUM FULL far;
SELECT far_agree();
UPDATE far SET v = v + array_fill(0.001 * id, ARRAY[3000])::vector WHERE id % 2 = 0;
VACUUM far;
INSERT INTO far SELECT id + 100, v * array_fill(1.1, ARRAY[3000])::vector FROM far WHERE id % 2 = 1;
SELECT far_agree();
DELETE FROM far WHERE id > 10;
VACUUM far;
SELECT far_agree();
TRUNCATE far;
INSERT INTO far SELECT g, array_fill(1 + 0.0001 * g, ARRAY[3000])::vector FROM generate_series(1, 60) g;
SELECT far_agree(), pg_relation_size((SELECT reltoastrelid FROM pg_class WHERE oid = 'far'::regclass)) > 0 AS out_of_line;

DROP TABLE far;
DROP FUNCTION far_agree, far_store, far_fetch;
DROP EXTENSION pg_buffercache;
