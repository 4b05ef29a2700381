-- Indexes on halfvec: every distance, exact and in order.
SET enable_seqscan = off;
SET hnsw.ef_search = 400;
SELECT setseed(0.5);

CREATE TABLE halves (id serial, h halfvec(48));
INSERT INTO halves (h)
SELECT array_agg(random() * 3 - 1)::halfvec FROM generate_series(1, 400) g, generate_series(1, 48) GROUP BY g;
INSERT INTO halves (h) VALUES (NULL), (array_fill(0, ARRAY[48])::halfvec), (array_fill(65504, ARRAY[48])::halfvec);

CREATE INDEX halves_l2 ON halves USING hnsw (h halfvec_l2_ops);
CREATE INDEX halves_ip ON halves USING hnsw (h halfvec_ip_ops);
CREATE INDEX halves_cosine ON halves USING hnsw (h halfvec_cosine_ops);
CREATE INDEX halves_l1 ON halves USING hnsw (h halfvec_l1_ops);

-- Do the first rows of an index scan have the distances that they should have?
CREATE FUNCTION halves_agree(operator text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	query halfvec;
	by_index float8[];
	by_sort float8[];
	agreed bool := true;
BEGIN
	FOR query IN SELECT h FROM halves WHERE id % 20 = 1 LOOP
		EXECUTE format('SELECT array_agg(d) FROM (SELECT h %s $1 AS d FROM halves ORDER BY h %1$s $1 LIMIT 50) r', operator)
			INTO by_index USING query;
		EXECUTE format('SELECT (array_agg(d ORDER BY d))[1:50] FROM (SELECT h %s $1 AS d FROM halves WHERE h IS NOT NULL OFFSET 0) r', operator)
			INTO by_sort USING query;
		agreed := agreed AND by_index = by_sort;
	END LOOP;
	RETURN agreed;
END $$;

EXPLAIN (COSTS OFF) SELECT id FROM halves ORDER BY h <+> array_fill(1, ARRAY[48])::halfvec LIMIT 3;
SELECT halves_agree('<->') AS l2, halves_agree('<#>') AS ip, halves_agree('<=>') AS cosine, halves_agree('<+>') AS l1;
SELECT i.name, c.live
FROM unnest('{halves_l2,halves_ip,halves_cosine,halves_l1}'::text[]) i (name), vdb.check_index(name::regclass, true) c;

-- after changes
DELETE FROM halves WHERE id % 3 = 0;
VACUUM halves;
INSERT INTO halves (h) SELECT l2_normalize(h) FROM halves WHERE id % 4 = 1;
SELECT halves_agree('<->') AS l2, halves_agree('<#>') AS ip, halves_agree('<=>') AS cosine, halves_agree('<+>') AS l1;
SELECT i.name, c.dangling_edges, c.unreachable
FROM unnest('{halves_l2,halves_ip,halves_cosine,halves_l1}'::text[]) i (name), vdb.check_index(name::regclass, true) c;
SELECT count(*) FROM (SELECT FROM halves ORDER BY h <-> NULL LIMIT 5) r;
SELECT id FROM halves ORDER BY h <-> '[1,2]' LIMIT 1;
DROP TABLE halves;
DROP FUNCTION halves_agree;

-- 16,000 dimensions, and an expression that makes halves of a vector
CREATE TABLE long_halves (h halfvec(16000));
INSERT INTO long_halves SELECT array_fill(i, ARRAY[16000])::halfvec FROM generate_series(1, 5) i;
CREATE INDEX ON long_halves USING hnsw (h halfvec_l1_ops);
SELECT h <+> array_fill(2, ARRAY[16000])::halfvec AS d FROM long_halves ORDER BY d LIMIT 3;
SELECT live FROM vdb.check_index('long_halves_h_idx', true);
DROP TABLE long_halves;

CREATE TABLE vectors (id serial, v vector(3));
INSERT INTO vectors (v) SELECT ARRAY[i, i % 7, i % 11]::vector FROM generate_series(1, 300) i;
CREATE INDEX ON vectors USING hnsw ((v::halfvec(3)) halfvec_l2_ops);
CREATE INDEX ON vectors USING hnsw ((subvector(v, 1, 2)::vector(2)) vector_l2_ops);
EXPLAIN (COSTS OFF) SELECT id FROM vectors ORDER BY v::halfvec(3) <-> '[7,0,7]' LIMIT 2;
SELECT id FROM vectors ORDER BY v::halfvec(3) <-> '[7,0,7]' LIMIT 2;
EXPLAIN (COSTS OFF) SELECT id FROM vectors ORDER BY subvector(v, 1, 2)::vector(2) <-> '[8,1]' LIMIT 1;
SELECT id FROM vectors ORDER BY subvector(v, 1, 2)::vector(2) <-> '[8,1]' LIMIT 1;
CREATE INDEX ON vectors USING hnsw ((v::halfvec) halfvec_l2_ops);
CREATE INDEX ON vectors USING hnsw (v halfvec_l2_ops);
DROP TABLE vectors;
