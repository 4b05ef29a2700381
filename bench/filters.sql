-- filters.sql: nearest rows among those that satisfy a condition: how long a query
-- takes and how many of the true ten it finds, for conditions that let few or many
-- rows pass, and for some that have to do with where the question is.
--
--   psql -v table=items -v questions=questions -f bench/filters.sql
--
-- items(id, r, c, embedding): r is from 0 to 999, at random; c is from 0 to 999 in the
-- order of the embeddings along some direction.  questions(id, c, embedding): c is
-- where the question would be in that order.  The index is vdb's on (embedding
-- vector_cosine_ops, r, c), or pgvector's on the embedding.  -v ef='{40,80}' gives
-- values of hnsw.ef_search, -v kinds='{relaxed_order}' of hnsw.iterative_scan, -v
-- tuples=200000 one of hnsw.max_scan_tuples.
--
-- True answers are kept in ITEMS_exact for the next time.  Milliseconds are processor
-- time of the server for one question, in one statement for all of them; the better
-- of two runs.

\set ON_ERROR_STOP on
\pset footer off
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
\if :{?ef}
\else
\set ef '{10,20,40,80,160,320}'
\endif
\if :{?kinds}
\else
\set kinds '{strict_order}'
\endif
\if :{?tuples}
\else
\set tuples 20000
\endif
SET hnsw.max_scan_tuples = :tuples;

CREATE TEMP TABLE filters (nr serial, name text, condition text);
INSERT INTO filters (name, condition) VALUES
	('all', 'true'), ('50 %', 'r < 500'), ('10 %', 'r < 100'), ('1 %', 'r < 10'), ('0.1 %', 'r < 1'),
	('10 % here', 'c BETWEEN q.c - 50 AND q.c + 49'),
	('10 % elsewhere', 'c BETWEEN (q.c + 450) % 1000 AND (q.c + 450) % 1000 + 99'),
	('1 % elsewhere', 'c BETWEEN (q.c + 495) % 1000 AND (q.c + 495) % 1000 + 9'),
	('50 % elsewhere', 'c BETWEEN CASE WHEN q.c < 500 THEN 500 ELSE 0 END AND CASE WHEN q.c < 500 THEN 999 ELSE 499 END');

-- user and system time of this process
CREATE FUNCTION pg_temp.processor_ms() RETURNS float8 LANGUAGE sql AS
$$
	SELECT (f[12]::float8 + f[13]::float8) * 10
	FROM (SELECT string_to_array(substr(line, strpos(line, ') ') + 2), ' ') AS f
		FROM pg_read_file('/proc/self/stat') line) s
$$;

CREATE FUNCTION pg_temp.query(filter filters, "table" text, questions text, plain bool) RETURNS text LANGUAGE sql AS
$$
	SELECT format('SELECT %L, q.id, s.id, s.embedding <=> q.embedding FROM %I q, LATERAL (SELECT id, embedding FROM %I WHERE %s ORDER BY (embedding <=> q.embedding)%s LIMIT 10) s',
		filter.name, questions, "table", filter.condition, CASE WHEN plain THEN ' + 0' END)
$$;
SELECT :'table' || '_exact' AS exact \gset
SELECT to_regclass(:'exact') IS NULL AS missing \gset
\if :missing
CREATE TABLE :exact (name text, question int, d float8);
SELECT format('INSERT INTO %I SELECT name, question, max(d) FROM (%s) s (name, question, id, d) GROUP BY 1, 2',
	:'exact', pg_temp.query(filters, :'table', :'questions', true)) FROM filters \gexec
\endif
CREATE TEMP VIEW exact AS SELECT * FROM :exact;

CREATE FUNCTION pg_temp.measure(filter filters, "table" text, questions text, ef int, kind text,
	OUT ms numeric, OUT recall numeric, OUT rows numeric) LANGUAGE plpgsql AS
$$
DECLARE
	query text := pg_temp.query(filter, "table", questions, false);
	number float8 := (SELECT count(*) FROM exact WHERE name = filter.name);
	wanted float8;
	begun float8;
	best float8;
BEGIN
	PERFORM set_config('hnsw.ef_search', ef::text, true), set_config('hnsw.iterative_scan', kind, true),
		set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	EXECUTE format('SELECT count(*) / %s::float8, count(*) FILTER (WHERE f.d <= e.d * (1 + 1e-6) + 1e-9) / %1$s::float8 / 10 FROM (%s) f (name, question, id, d) JOIN exact e USING (name, question)',
		number, query) INTO rows, recall;
	FOR run IN 1..2 LOOP
		begun := pg_temp.processor_ms();
		EXECUTE format('SELECT count(id) FROM (%s) f (name, question, id, d)', query) INTO wanted;
		best := least(best, pg_temp.processor_ms() - begun);
	END LOOP;
	ms := round((best / number)::numeric, 3);
	recall := round(recall, 3);
	rows := round(rows, 1);
END
$$;

SELECT name AS filter, kind, ef, m.*
FROM filters, unnest(:'kinds'::text[]) kind, unnest(:'ef'::int[]) ef,
	LATERAL pg_temp.measure(filters, :'table', :'questions', ef, kind) m
ORDER BY nr, kind, ef;
