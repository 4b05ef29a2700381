-- Indexes on sparsevec: every distance, exact and in order, whatever a code leaves out.
SET enable_seqscan = off;
SELECT setseed(0.5);

-- up to 40 values among 1,000 places; one row in ten has several hundred
CREATE TABLE sparse (id serial, s sparsevec(1000));
INSERT INTO sparse (s)
SELECT ('{' || string_agg(place || ':' || value, ',' ORDER BY place) || '}/1000')::sparsevec
FROM (
	SELECT DISTINCT ON (g, place) g, place, value FROM (
		SELECT g, 1 + floor(random() * random() * 1000)::int AS place, round((random() * 3)::numeric, 3) + 0.1 AS value
		FROM generate_series(1, 400) g, generate_series(1, CASE WHEN g % 10 = 0 THEN 500 ELSE 5 + g % 36 END)
	) r ORDER BY g, place
) r GROUP BY g;
INSERT INTO sparse (s) VALUES (NULL), ('{}/1000'), ('{1000:2}/1000');

CREATE INDEX sparse_l2 ON sparse USING hnsw (s sparsevec_l2_ops);
CREATE INDEX sparse_ip ON sparse USING hnsw (s sparsevec_ip_ops);
CREATE INDEX sparse_cosine ON sparse USING hnsw (s sparsevec_cosine_ops);
CREATE INDEX sparse_l1 ON sparse USING hnsw (s sparsevec_l1_ops);

-- Do the first rows of an index scan have the distances that they should have?
CREATE FUNCTION sparse_agree(operator text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	query sparsevec;
	by_index float8[];
	by_sort float8[];
	agreed bool := true;
BEGIN
	FOR query IN SELECT s FROM sparse WHERE id % 20 = 1 AND s <> '{}/1000' LOOP
		EXECUTE format('SELECT array_agg(d) FROM (SELECT s %s $1 AS d FROM sparse ORDER BY s %1$s $1 LIMIT 50) r', operator)
			INTO by_index USING query;
		EXECUTE format('SELECT (array_agg(d ORDER BY d))[1:50] FROM (SELECT s %s $1 AS d FROM sparse WHERE s IS NOT NULL OFFSET 0) r', operator)
			INTO by_sort USING query;
		agreed := agreed AND by_index = by_sort;
	END LOOP;
	RETURN agreed;
END $$;

SET hnsw.ef_search = 400;
EXPLAIN (COSTS OFF) SELECT id FROM sparse ORDER BY s <#> '{1:1}/1000' LIMIT 3;
SELECT sparse_agree('<->') AS l2, sparse_agree('<#>') AS ip, sparse_agree('<=>') AS cosine, sparse_agree('<+>') AS l1;

-- a zero vector has no angle to anything, and is not indexed by it
SELECT i.name, c.live
FROM unnest('{sparse_l2,sparse_ip,sparse_cosine,sparse_l1}'::text[]) i (name), vdb.check_index(name::regclass, true) c;

-- after changes; rows larger than any that the index was built from
DELETE FROM sparse WHERE id % 3 = 0;
VACUUM sparse;
INSERT INTO sparse (s)
SELECT ('{' || string_agg(place || ':' || value, ',') || '}/1000')::sparsevec
FROM (SELECT g, place, round((random() + 0.01)::numeric, 2) AS value FROM generate_series(1, 20) g, generate_series(1, 1000) place) r
GROUP BY g;
SELECT sparse_agree('<->') AS l2, sparse_agree('<#>') AS ip, sparse_agree('<=>') AS cosine, sparse_agree('<+>') AS l1;
SELECT i.name, c.dangling_edges, c.unreachable
FROM unnest('{sparse_l2,sparse_ip,sparse_cosine,sparse_l1}'::text[]) i (name), vdb.check_index(name::regclass, true) c;

-- queries that are null, empty, of other dimensions
SELECT count(*) FROM (SELECT FROM sparse ORDER BY s <-> NULL LIMIT 5) r;
SELECT id, s <-> '{}/1000' FROM sparse ORDER BY s <-> '{}/1000' LIMIT 1;
SELECT count(*) FROM (SELECT FROM sparse ORDER BY s <=> '{}/1000' LIMIT 5) r;
SELECT id FROM sparse ORDER BY s <-> '{1:1}/7' LIMIT 1;
DROP TABLE sparse;
DROP FUNCTION sparse_agree;

-- an index that is created empty; a billion dimensions; as many values as there may be
CREATE TABLE wide (s sparsevec(1000000000));
CREATE INDEX ON wide USING hnsw (s sparsevec_l2_ops);
INSERT INTO wide VALUES ('{1:1,1000000000:-1}/1000000000'), ('{}/1000000000'), ('{500000000:0.5}/1000000000');
INSERT INTO wide SELECT ('{' || string_agg(i * 60000 || ':' || i, ',') || '}/1000000000')::sparsevec FROM generate_series(1, 16000) i;
SELECT s <-> '{1000000000:-1}/1000000000' AS d FROM wide ORDER BY d LIMIT 3;
SELECT live FROM vdb.check_index('wide_s_idx', true);
REINDEX INDEX wide_s_idx;
SELECT s <-> '{1000000000:-1}/1000000000' AS d FROM wide ORDER BY d LIMIT 3;
DROP TABLE wide;

CREATE TABLE undeclared (s sparsevec);
CREATE INDEX ON undeclared USING hnsw (s sparsevec_l2_ops);
CREATE INDEX ON undeclared USING hnsw ((s::sparsevec(3)) sparsevec_l2_ops);
INSERT INTO undeclared VALUES ('{1:1}/4');
DROP TABLE undeclared;

-- sums that overflow are no damage, in any index
CREATE TABLE huge (s sparsevec(10));
INSERT INTO huge VALUES ('{1:3e38,2:-3e38}/10'), ('{1:1}/10'), ('{3:3.4028235e38}/10'), ('{2:1e-45}/10');
CREATE INDEX huge_l2 ON huge USING hnsw (s sparsevec_l2_ops);
CREATE INDEX huge_ip ON huge USING hnsw (s sparsevec_ip_ops);
CREATE INDEX huge_cosine ON huge USING hnsw (s sparsevec_cosine_ops);
CREATE INDEX huge_l1 ON huge USING hnsw (s sparsevec_l1_ops);
SELECT i.name, c.live
FROM unnest('{huge_l2,huge_ip,huge_cosine,huge_l1}'::text[]) i (name), vdb.check_index(name::regclass, true) c;
SELECT s <-> '{2:1}/10' AS d FROM huge ORDER BY d;
DROP TABLE huge;
