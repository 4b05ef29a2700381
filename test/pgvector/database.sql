-- A database that uses whatever pgvector has, in the ways that a dump tells
-- apart: column types with and without dimensions, defaults, checks, generated
-- columns, domains, arrays, every access method and operator class, options,
-- expressions, partitions, views, functions, policies, settings, comments.
--
-- Numbers are multiples of 1/64, which every type holds exactly.

CREATE EXTENSION vector;
COMMENT ON EXTENSION vector IS 'the comment that came along';

ALTER DATABASE :DBNAME SET hnsw.ef_search = 200;
ALTER DATABASE :DBNAME SET ivfflat.probes = 5;

CREATE SCHEMA app;

-- Number k of the n numbers of row i: a permutation of what lies around 0.
CREATE FUNCTION app.number(i integer, k integer) RETURNS real
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN ((i * 7919 + k * 104729 + i * k * 31) % 257 - 128) / 64.0;

CREATE FUNCTION app.numbers(i integer, n integer) RETURNS real[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN ARRAY(SELECT app.number(i, k) FROM generate_series(1, n) k);

CREATE DOMAIN app.direction AS vector(3) CHECK (vector_norm(VALUE) BETWEEN 0.99 AND 1.01);

CREATE TYPE app.pair AS (a vector(2), b halfvec(2));

-- --- every type ------------------------------------------------------------

CREATE TABLE app.items (
	id integer PRIMARY KEY,
	title text NOT NULL,
	embedding vector(8) NOT NULL,
	half halfvec(8),
	sparse sparsevec(12),
	bits bit(16),
	any_vector vector DEFAULT '[1,2]',
	any_half halfvec DEFAULT '[0.5]',
	any_sparse sparsevec DEFAULT '{1:1,3:2}/5',
	history vector(2)[] DEFAULT '{}',
	pair app.pair,
	heading app.direction DEFAULT '[0,0,1]',
	norm double precision GENERATED ALWAYS AS (vector_norm(embedding)) STORED,
	head halfvec(4) GENERATED ALWAYS AS (subvector(embedding, 1, 4)::halfvec(4)) STORED,
	signs bit varying GENERATED ALWAYS AS (binary_quantize(embedding)) STORED,
	CONSTRAINT items_not_empty CHECK (embedding <> '[0,0,0,0,0,0,0,0]'),
	CONSTRAINT items_short CHECK (vector_dims(any_vector) <= 100)
);
ALTER TABLE app.items ALTER COLUMN embedding SET STORAGE PLAIN;
ALTER TABLE app.items ALTER COLUMN half SET STATISTICS 0;
COMMENT ON COLUMN app.items.embedding IS 'where the item lies';

INSERT INTO app.items (id, title, embedding, half, sparse, bits, any_vector, history, pair)
SELECT i, 'item ' || i, app.numbers(i, 8)::vector, app.numbers(i + 1000, 8)::halfvec,
	(SELECT array_agg(CASE WHEN (i + k) % 3 = 0 THEN app.number(i, k) ELSE 0 END ORDER BY k)
	 FROM generate_series(1, 12) k)::sparsevec,
	(i * 40503 % 65536)::bit(16),
	app.numbers(i, 1 + i % 5)::vector,
	ARRAY[app.numbers(i, 2)::vector, app.numbers(-i, 2)::vector],
	ROW(app.numbers(i, 2)::vector, app.numbers(i, 2)::halfvec)::app.pair
FROM generate_series(1, 120) i;
INSERT INTO app.items (id, title, embedding, any_vector, any_half, any_sparse, history)
VALUES (121, 'nulls', app.numbers(121, 8)::vector, NULL, NULL, NULL, NULL),
	(122, 'defaults', app.numbers(122, 8)::vector, DEFAULT, DEFAULT, DEFAULT, DEFAULT);

-- --- every operator class --------------------------------------------------

CREATE INDEX items_l2 ON app.items USING hnsw (embedding vector_l2_ops);
CREATE INDEX items_ip ON app.items USING hnsw (embedding vector_ip_ops) WITH (m = 8);
CREATE INDEX items_cosine ON app.items USING hnsw (embedding vector_cosine_ops)
	WITH (m = 24, ef_construction = 100);
CREATE INDEX items_l1 ON app.items USING hnsw (embedding vector_l1_ops) WITH (ef_construction = 40);
CREATE INDEX items_half_l2 ON app.items USING hnsw (half halfvec_l2_ops);
CREATE INDEX items_half_ip ON app.items USING hnsw (half halfvec_ip_ops);
CREATE INDEX items_half_cosine ON app.items USING hnsw (half halfvec_cosine_ops);
CREATE INDEX items_half_l1 ON app.items USING hnsw (half halfvec_l1_ops);
CREATE INDEX items_sparse_l2 ON app.items USING hnsw (sparse sparsevec_l2_ops);
CREATE INDEX items_sparse_ip ON app.items USING hnsw (sparse sparsevec_ip_ops);
CREATE INDEX items_sparse_cosine ON app.items USING hnsw (sparse sparsevec_cosine_ops);
CREATE INDEX items_sparse_l1 ON app.items USING hnsw (sparse sparsevec_l1_ops);
CREATE INDEX items_hamming ON app.items USING hnsw (bits bit_hamming_ops);
CREATE INDEX items_jaccard ON app.items USING hnsw (bits bit_jaccard_ops);

CREATE INDEX items_lists_l2 ON app.items USING ivfflat (embedding) WITH (lists = 4);
CREATE INDEX items_lists_ip ON app.items USING ivfflat (embedding vector_ip_ops) WITH (lists = 4);
CREATE INDEX items_lists_cosine ON app.items USING ivfflat (embedding vector_cosine_ops) WITH (lists = 4);
CREATE INDEX items_lists_half_l2 ON app.items USING ivfflat (half halfvec_l2_ops) WITH (lists = 4);
CREATE INDEX items_lists_half_ip ON app.items USING ivfflat (half halfvec_ip_ops) WITH (lists = 4);
CREATE INDEX items_lists_half_cosine ON app.items USING ivfflat (half halfvec_cosine_ops) WITH (lists = 4);
CREATE INDEX items_lists_hamming ON app.items USING ivfflat (bits bit_hamming_ops) WITH (lists = 4);

-- of an expression, and of some rows
CREATE INDEX items_as_half ON app.items USING hnsw ((embedding::halfvec(8)) halfvec_l2_ops) WITH (m = 10);
CREATE INDEX items_as_bits ON app.items
	USING hnsw ((binary_quantize(embedding)::bit(8)) bit_hamming_ops);
CREATE INDEX items_part ON app.items
	USING hnsw ((subvector(embedding, 1, 3)::vector(3)) vector_l2_ops) WHERE id % 2 = 0;
CREATE INDEX items_of_two ON app.items USING hnsw ((any_vector::vector(2)) vector_l2_ops)
	WHERE vector_dims(any_vector) = 2;

-- values that can be compared
ALTER TABLE app.items ADD CONSTRAINT items_once UNIQUE (embedding);
CREATE INDEX items_ordered ON app.items (half, sparse DESC NULLS LAST, any_vector vector_ops);

COMMENT ON INDEX app.items_cosine IS 'the one for meaning';

-- --- partitions, inheritance, unlogged -------------------------------------

CREATE TABLE app.log (tenant integer, id integer, embedding vector(4), PRIMARY KEY (tenant, id))
	PARTITION BY LIST (tenant);
CREATE TABLE app.log_1 PARTITION OF app.log FOR VALUES IN (1);
CREATE TABLE app.log_2 PARTITION OF app.log FOR VALUES IN (2, 3);
CREATE TABLE app.log_rest PARTITION OF app.log DEFAULT;
CREATE INDEX log_embedding_idx ON app.log USING hnsw (embedding vector_l2_ops) WITH (m = 6);
INSERT INTO app.log SELECT i % 4, i, app.numbers(i, 4)::vector FROM generate_series(1, 80) i;

CREATE TABLE app.hashed (embedding vector(2)) PARTITION BY RANGE (embedding);
CREATE TABLE app.hashed_low PARTITION OF app.hashed FOR VALUES FROM (MINVALUE) TO ('[0,0]');
CREATE TABLE app.hashed_high PARTITION OF app.hashed FOR VALUES FROM ('[0,0]') TO (MAXVALUE);
INSERT INTO app.hashed SELECT app.numbers(i, 2)::vector FROM generate_series(1, 20) i;

CREATE TABLE app.item_with_note (note halfvec(2) DEFAULT '[1,1]') INHERITS (app.items);
CREATE UNLOGGED TABLE app.cache AS SELECT id, embedding FROM app.items WHERE id <= 10;
CREATE INDEX cache_embedding_idx ON app.cache USING hnsw (embedding vector_cosine_ops);

-- --- what reads them -------------------------------------------------------

CREATE VIEW app.near AS
SELECT a.id, b.id AS other, a.embedding <-> b.embedding AS l2, a.embedding <#> b.embedding AS ip,
	a.embedding <=> b.embedding AS cosine, a.embedding <+> b.embedding AS l1,
	a.bits <~> b.bits AS hamming, a.bits <%> b.bits AS jaccard,
	a.half <-> b.half AS half_l2, a.sparse <#> b.sparse AS sparse_ip
FROM app.items a JOIN app.items b ON a.id = b.id - 1 AND a.embedding < b.embedding;

CREATE VIEW app.totals AS
SELECT id % 3 AS class, avg(embedding) AS mean, sum(half) AS half_sum,
	sum(embedding) + avg(embedding) - '[1,1,1,1,1,1,1,1]' AS shifted,
	max(l2_norm(sparse)) AS longest
FROM app.items GROUP BY id % 3;

CREATE MATERIALIZED VIEW app.units AS
SELECT id, l2_normalize(embedding) AS unit, embedding || '[1]' AS longer, embedding * embedding AS squares
FROM app.items WHERE id <= 20;
CREATE INDEX units_unit_idx ON app.units USING hnsw (((unit)::vector(8)) vector_ip_ops);

CREATE FUNCTION app.nearest(q vector, k integer DEFAULT 5, seen halfvec DEFAULT '[1]')
	RETURNS TABLE (id integer, distance double precision)
	LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT i.id, i.embedding <-> q FROM app.items i ORDER BY i.embedding <-> q, i.id LIMIT k;
END;

CREATE FUNCTION app.check_norm() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF vector_norm(NEW.embedding) > 1000 THEN
		RAISE EXCEPTION 'too long';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER items_norm BEFORE INSERT OR UPDATE OF embedding ON app.items
	FOR EACH ROW WHEN (NEW.embedding IS NOT NULL) EXECUTE FUNCTION app.check_norm();

CREATE AGGREGATE app.total(vector) (SFUNC = vector_add, STYPE = vector, PARALLEL = SAFE);
CREATE OPERATOR app.<==> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = public.l2_distance);
CREATE FUNCTION app.first_of(app.pair) RETURNS vector LANGUAGE sql IMMUTABLE RETURN ($1).a;
CREATE CAST (app.pair AS vector) WITH FUNCTION app.first_of(app.pair);

ALTER TABLE app.log ENABLE ROW LEVEL SECURITY;
CREATE POLICY not_far ON app.log USING (embedding <-> '[0,0,0,0]' < 100);
CREATE STATISTICS app.items_statistics ON (vector_dims(any_vector)), (l2_norm(half)) FROM app.items;
CREATE PUBLICATION vectors FOR TABLE app.items;
REVOKE ALL ON FUNCTION public.jaccard_distance(bit, bit) FROM PUBLIC;
