-- What the database of database.sql answers.  Distances and what is computed
-- from roots are rounded; rows at the same distance are told apart by nothing,
-- so the nearest are asked for their distances.
SET search_path = app, public;
SET extra_float_digits = 0;

CREATE FUNCTION pg_temp.rounded(double precision[]) RETURNS numeric[]
	LANGUAGE sql RETURN ARRAY(SELECT round(x::numeric, 4) FROM unnest($1) x);

\qecho -- settings and comments
SHOW hnsw.ef_search;
SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname IN ('vector', 'vdb');
SELECT col_description('items'::regclass, attnum) FROM pg_attribute
WHERE attrelid = 'items'::regclass AND attname = 'embedding';
SELECT obj_description('items_cosine'::regclass);

\qecho -- columns
SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod), attstorage, attgenerated,
	pg_get_expr(adbin, adrelid)
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid IN ('items'::regclass, 'log'::regclass, 'item_with_note'::regclass, 'units'::regclass)
	AND attnum > 0
ORDER BY attrelid::regclass::text, attnum;

\qecho -- indexes
SELECT indexdef FROM pg_indexes WHERE schemaname = 'app' AND indexdef !~ 'USING ivfflat'
ORDER BY indexname;

\qecho -- contents
SELECT count(*), md5(string_agg(id || embedding::text, ';' ORDER BY id)),
	md5(string_agg(id || half::text, ';' ORDER BY id)),
	md5(string_agg(id || sparse::text, ';' ORDER BY id)),
	md5(string_agg(id || bits::text, ';' ORDER BY id)),
	md5(string_agg(id || any_vector::text || any_half::text || any_sparse::text, ';' ORDER BY id)),
	md5(string_agg(id || history::text, ';' ORDER BY id)),
	md5(string_agg(id || pair::text, ';' ORDER BY id)),
	md5(string_agg(id || heading::text || head::text || signs::text, ';' ORDER BY id)),
	md5(string_agg(id || round(norm::numeric, 4)::text, ';' ORDER BY id))
FROM items;
SELECT * FROM items WHERE id IN (1, 2, 122) ORDER BY id;
SELECT tableoid::regclass, count(*), sum(embedding) FROM log GROUP BY tableoid ORDER BY tableoid::regclass::text;
SELECT tableoid::regclass, count(*), sum(embedding) FROM hashed GROUP BY tableoid ORDER BY tableoid::regclass::text;
SELECT count(*), sum(embedding) FROM cache;

\qecho -- views, functions, casts, operators
SELECT id, other, pg_temp.rounded(ARRAY[l2, ip, cosine, l1, hamming, jaccard, half_l2, sparse_ip])
FROM near ORDER BY id;
SELECT class, mean, half_sum, shifted, round(longest::numeric, 4) FROM totals ORDER BY class;
SELECT id, pg_temp.rounded(unit::real[]::double precision[]), longer, squares FROM units ORDER BY id;
SELECT n.id, round(n.distance::numeric, 4)
FROM items i, nearest(i.embedding) n WHERE i.id IN (3, 33) ORDER BY i.id, n.distance;
SELECT id, pair::vector, heading OPERATOR(app.<==>) '[0,0,1]' FROM items WHERE id < 4 ORDER BY id;
SELECT id, half, sparse FROM items ORDER BY half DESC NULLS LAST, sparse LIMIT 5;
SELECT total(embedding) = sum(embedding) FROM items;

\qecho -- the nearest, by every operator class
SELECT q.id,
	pg_temp.rounded(ARRAY(SELECT q.embedding <-> embedding FROM ONLY items ORDER BY embedding <-> q.embedding LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.embedding <#> embedding FROM ONLY items ORDER BY embedding <#> q.embedding LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.embedding <=> embedding FROM ONLY items ORDER BY embedding <=> q.embedding LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.embedding <+> embedding FROM ONLY items ORDER BY embedding <+> q.embedding LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.half <-> half FROM ONLY items ORDER BY half <-> q.half LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.half <#> half FROM ONLY items ORDER BY half <#> q.half LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.half <=> half FROM ONLY items ORDER BY half <=> q.half LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.half <+> half FROM ONLY items ORDER BY half <+> q.half LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.sparse <-> sparse FROM ONLY items ORDER BY sparse <-> q.sparse LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.sparse <#> sparse FROM ONLY items ORDER BY sparse <#> q.sparse LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.sparse <=> sparse FROM ONLY items ORDER BY sparse <=> q.sparse LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.sparse <+> sparse FROM ONLY items ORDER BY sparse <+> q.sparse LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.bits <~> bits FROM ONLY items ORDER BY bits <~> q.bits LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT q.bits <%> bits FROM ONLY items ORDER BY bits <%> q.bits LIMIT 10))
FROM ONLY items q WHERE q.id % 17 = 5 AND q.id < 120 ORDER BY q.id;

\qecho -- by indexes on expressions, on some rows, on partitions, on an unlogged table, on a view
SELECT q.id,
	pg_temp.rounded(ARRAY(SELECT embedding::halfvec(8) <-> q.embedding::halfvec(8) FROM ONLY items
		ORDER BY embedding::halfvec(8) <-> q.embedding::halfvec(8) LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT binary_quantize(embedding)::bit(8) <~> binary_quantize(q.embedding) FROM ONLY items
		ORDER BY binary_quantize(embedding)::bit(8) <~> binary_quantize(q.embedding) LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT subvector(embedding, 1, 3)::vector(3) <-> '[0,1,-1]' FROM ONLY items WHERE id % 2 = 0
		ORDER BY subvector(embedding, 1, 3)::vector(3) <-> '[0,1,-1]' LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT any_vector::vector(2) <-> '[0.5,0.5]' FROM ONLY items WHERE vector_dims(any_vector) = 2
		ORDER BY any_vector::vector(2) <-> '[0.5,0.5]' LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT embedding <-> subvector(q.embedding, 1, 4) FROM log
		ORDER BY embedding <-> subvector(q.embedding, 1, 4) LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT embedding <=> q.embedding FROM cache ORDER BY embedding <=> q.embedding LIMIT 10)),
	pg_temp.rounded(ARRAY(SELECT unit::vector(8) <#> q.embedding FROM units ORDER BY unit::vector(8) <#> q.embedding LIMIT 10))
FROM ONLY items q WHERE q.id % 17 = 5 AND q.id < 120 ORDER BY q.id;
