-- What tests of an index's life share: the kinds of index there are, and a
-- comparison with exact search.  A test reads it with \i, and drops the schema.

CREATE SCHEMA life;

-- One row a kind of index: a new type or distance is a line here.  `value`
-- makes the i-th of many different values.  `further` are columns of the index
-- after the vector: the table has a column id.  `method` is the access method,
-- `options` are some that it has; `storage` is what CREATE INDEX says of them.

CREATE TABLE life.kinds (name text PRIMARY KEY, type text, opclass text, value text, further text DEFAULT '',
    method text DEFAULT 'hnsw', options text DEFAULT 'm = 4, ef_construction = 20',
    storage text DEFAULT '');

CREATE FUNCTION life.numbers(i int, dims int DEFAULT 64) RETURNS real[] IMMUTABLE LANGUAGE sql AS
$$ SELECT array_agg(sin(i * j * 1.7 + j)::real ORDER BY j) FROM generate_series(1, dims) j $$;

CREATE FUNCTION life.sparse(i int) RETURNS sparsevec IMMUTABLE LANGUAGE sql AS
$$
    SELECT ('{' || string_agg(k || ':' || x, ',' ORDER BY k) || '}/1000')::sparsevec
    FROM (
        SELECT abs(i * j * j + 31 * j) % 1000 + 1 AS k, max(sin(i * j * 1.7 + j)::real + 0.1) AS x
        FROM generate_series(1, 30) j GROUP BY 1) s
$$;

CREATE FUNCTION life.bits(i int) RETURNS bit(128) IMMUTABLE LANGUAGE sql AS
$$ SELECT ('x' || md5(i::text))::bit(128) $$;

INSERT INTO life.kinds VALUES
    ('vector_l2', 'vector(64)', 'vector_l2_ops', 'life.numbers(i)::vector'),
    ('vector_ip', 'vector(64)', 'vector_ip_ops', 'life.numbers(i)::vector'),
    ('vector_cosine', 'vector(64)', 'vector_cosine_ops', 'life.numbers(i)::vector'),
    ('vector_l1', 'vector(64)', 'vector_l1_ops', 'life.numbers(i)::vector'),
    ('halfvec_l2', 'halfvec(64)', 'halfvec_l2_ops', 'life.numbers(i)::halfvec'),
    ('halfvec_ip', 'halfvec(64)', 'halfvec_ip_ops', 'life.numbers(i)::halfvec'),
    ('halfvec_cosine', 'halfvec(64)', 'halfvec_cosine_ops', 'life.numbers(i)::halfvec'),
    ('halfvec_l1', 'halfvec(64)', 'halfvec_l1_ops', 'life.numbers(i)::halfvec'),
    ('sparsevec_l2', 'sparsevec(1000)', 'sparsevec_l2_ops', 'life.sparse(i)'),
    ('sparsevec_ip', 'sparsevec(1000)', 'sparsevec_ip_ops', 'life.sparse(i)'),
    ('sparsevec_cosine', 'sparsevec(1000)', 'sparsevec_cosine_ops', 'life.sparse(i)'),
    ('sparsevec_l1', 'sparsevec(1000)', 'sparsevec_l1_ops', 'life.sparse(i)'),
    ('bit_hamming', 'bit(128)', 'bit_hamming_ops', 'life.bits(i)'),
    ('bit_jaccard', 'bit(128)', 'bit_jaccard_ops', 'life.bits(i)');

INSERT INTO life.kinds VALUES
    ('vector_further', 'vector(64)', 'vector_l2_ops', 'life.numbers(i)::vector', ', id, (id % 3 = 0)'),
    ('bit_further', 'bit(128)', 'bit_hamming_ops', 'life.bits(i)', ', id');

-- of so many dimensions that some are coarse in node codes
INSERT INTO life.kinds VALUES
    ('vector_wide', 'vector(768)', 'vector_cosine_ops', 'life.numbers(i, 768)::vector'),
    ('halfvec_wide', 'halfvec(1024)', 'halfvec_l1_ops', 'life.numbers(i, 1024)::halfvec');

INSERT INTO life.kinds VALUES
    ('ivfflat_l2', 'vector(64)', 'vector_l2_ops', 'life.numbers(i)::vector', '', 'ivfflat', 'lists = 8'),
    ('ivfflat_cosine', 'halfvec(64)', 'halfvec_cosine_ops', 'life.numbers(i)::halfvec', '', 'ivfflat', 'lists = 8'),
    ('ivfflat_hamming', 'bit(128)', 'bit_hamming_ops', 'life.bits(i)', '', 'ivfflat', 'lists = 8'),
    ('ivfpq_l2', 'halfvec(64)', 'halfvec_l2_ops', 'life.numbers(i)::halfvec', '', 'ivfpq', 'lists = 8'),
    ('ivfpq_ip', 'vector(64)', 'vector_ip_ops', 'life.numbers(i)::vector', '', 'ivfpq', 'lists = 8'),
    ('ivfpq_further', 'vector(768)', 'vector_cosine_ops', 'life.numbers(i, 768)::vector', ', id, (id % 3 = 0)', 'ivfpq', 'lists = 8'),
    ('ivfpq_spill', 'vector(64)', 'vector_cosine_ops', 'life.numbers(i)::vector', ', id', 'ivfpq', 'lists = 8, spill = 1');

-- whose rows wait to be linked
INSERT INTO life.kinds (name, type, opclass, value, further, storage) VALUES
    ('vector_pending', 'vector(64)', 'vector_cosine_ops', 'life.numbers(i)::vector', '', 'WITH (fastupdate)'),
    ('bit_pending', 'bit(128)', 'bit_hamming_ops', 'life.bits(i)', ', id', 'WITH (fastupdate, pending_limit = 64)');

CREATE FUNCTION life.value(kind text, i int) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    result text;
BEGIN
    EXECUTE (SELECT format('SELECT (%s)::text FROM (SELECT $1 AS i) s', value) FROM life.kinds WHERE name = kind)
    INTO STRICT result USING i;
    RETURN result;
END
$$;

-- The whole table in the order of a distance: once through an index of that
-- name, once by sorting.  Returns how many rows there are, and how many of them
-- are missing, too many or at a wrong place.  Rows without a distance do not
-- count.  Two rows at the same distance may change places.

CREATE FUNCTION life.compare(tab regclass, index name, expression text, condition text, operator text,
    question text, OUT rows bigint, OUT differences bigint)
LANGUAGE plpgsql
SET hnsw.ef_search = 1000 SET hnsw.max_scan_tuples = 1000000 SET hnsw.iterative_scan = strict_order
SET ivfflat.probes = 1000 SET ivfpq.probes = 1000 SET ivfpq.refine_factor = 1000
SET enable_seqscan = on SET enable_bitmapscan = off SET enable_sort = on SET enable_indexscan = off
AS
$$
DECLARE
    statement text := format('SELECT array_agg(d), array_agg(t) FROM (SELECT %1$s %2$s %3$L AS d, tableoid || ctid::text AS t FROM %4$s WHERE %5$s ORDER BY %1$s %2$s %3$L) s WHERE d <> ''NaN''',
        expression, operator, question, tab, condition);
    right_d float8[];
    right_t text[];
    found_d float8[];
    found_t text[];
    plan json;
BEGIN
    EXECUTE statement INTO right_d, right_t;
    IF cardinality(right_d) > 1000 THEN
        RAISE EXCEPTION 'more rows than hnsw.ef_search: the answer need not be exact';
    END IF;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_sort = off;
    SET LOCAL enable_indexscan = on;
    EXECUTE 'EXPLAIN (FORMAT json) ' || statement INTO plan;
    IF position('"' || index || '"' IN plan::text) = 0 THEN
        RAISE EXCEPTION 'index % is not used', index USING DETAIL = plan::text;
    END IF;
    EXECUTE statement INTO found_d, found_t;
    rows := coalesce(cardinality(right_d), 0);
    differences := (SELECT count(*) FROM unnest(right_d, found_d) AS u (r, f) WHERE r IS DISTINCT FROM f)
        + (SELECT count(*) FROM (SELECT unnest(right_t) EXCEPT ALL SELECT unnest(found_t)) s)
        + (SELECT count(*) FROM (SELECT unnest(found_t) EXCEPT ALL SELECT unnest(right_t)) s);
END
$$;

-- Verifies an index, asks it some questions, and claims that so many rows come
-- back, none of them wrong.  Counts in a sequence, which no rollback takes back.

CREATE SEQUENCE life.checks;

CREATE PROCEDURE life.expect(index regclass, expected bigint) LANGUAGE plpgsql AS
$$
DECLARE
    answer record;
BEGIN
    PERFORM vdb.check_index(index, true);
    IF NOT pg_is_in_recovery() THEN
        PERFORM nextval('life.checks');
    END IF;
    FOR answer IN
        SELECT c.*, question
        FROM pg_index i
            JOIN pg_class ON pg_class.oid = indexrelid
            JOIN pg_attribute ON attrelid = indexrelid AND attnum = 1
            JOIN pg_opclass ON pg_opclass.oid = indclass[0]
            JOIN pg_am ON pg_am.oid = opcmethod
            JOIN pg_amop ON amopfamily = opcfamily AND amoplefttype = opcintype AND amopstrategy = 1
            JOIN pg_operator o ON o.oid = amopopr,
            LATERAL pg_get_indexdef(indexrelid, 1, false) AS expression,
            LATERAL (
                SELECT life.value(name, 1000 + n) AS question
                FROM life.kinds, generate_series(1, 3) n
                WHERE opclass = opcname AND method = amname AND starts_with(type, format_type(atttypid, atttypmod))) q,
            LATERAL life.compare(indrelid, relname, expression, coalesce(pg_get_expr(indpred, indrelid), 'true'),
                format('OPERATOR(%s.%s)', oprnamespace::regnamespace, oprname), question) c
        WHERE indexrelid = index
    LOOP
        IF answer.rows <> expected OR answer.differences <> 0 THEN
            RAISE EXCEPTION '% is wrong in % places: % rows, expected are %', index, answer.differences, answer.rows, expected
                USING DETAIL = answer.question;
        END IF;
    END LOOP;
    IF answer IS NULL THEN
        RAISE EXCEPTION '% is an index of no kind in life.kinds', index;
    END IF;
END
$$;
