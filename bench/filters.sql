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
-- tuples=200000 one of hnsw.max_scan_tuples, -v op='<->' another operator, -v
-- filters='{50 %,1 %}' some of the conditions.  -v am=ivfpq -v knob=probes: the
-- index is one of lists, and ef are values of ivfpq.probes.
--
-- True answers are kept in ITEMS_true for the next time.  Milliseconds are those of
-- one question, in one statement for all of them; the best of five runs.

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
\if :{?op}
\else
\set op <=>
\endif
\if :{?filters}
\else
\set filters '{all,50 %,10 %,1 %,0.1 %,10 % here,10 % elsewhere,1 % elsewhere,50 % elsewhere}'
\endif
\if :{?am}
\else
\set am hnsw
\endif
\if :{?knob}
\else
\set knob ef_search
\endif
SET hnsw.max_scan_tuples = :tuples;

CREATE TEMP TABLE filters (nr serial, name text, condition text);
INSERT INTO filters (name, condition) VALUES
	('all', 'true'), ('50 %', 'r < 500'), ('10 %', 'r < 100'), ('1 %', 'r < 10'), ('0.1 %', 'r < 1'),
	('10 % here', 'c BETWEEN q.c - 50 AND q.c + 49'),
	('10 % elsewhere', 'c BETWEEN (q.c + 450) % 1000 AND (q.c + 450) % 1000 + 99'),
	('1 % elsewhere', 'c BETWEEN (q.c + 495) % 1000 AND (q.c + 495) % 1000 + 9'),
	('50 % elsewhere', 'c BETWEEN CASE WHEN q.c < 500 THEN 500 ELSE 0 END AND CASE WHEN q.c < 500 THEN 999 ELSE 499 END');

DELETE FROM filters WHERE name <> ALL (:'filters');

CREATE FUNCTION pg_temp.query(filter filters, "table" text, questions text, op text, plain bool) RETURNS text LANGUAGE sql AS
$$
	SELECT format('SELECT %1$L, q.id, s.id, s.embedding %5$s q.embedding FROM %2$I q, LATERAL (SELECT id, embedding FROM %3$I WHERE %4$s ORDER BY (embedding %5$s q.embedding)%6$s LIMIT 10) s',
		filter.name, questions, "table", filter.condition, op, CASE WHEN plain THEN ' + 0' END)
$$;
SELECT :'table' || '_true' AS kept \gset
CREATE TABLE IF NOT EXISTS :kept (op text, name text, question int, d float8);
SELECT format('INSERT INTO %I SELECT %L, name, question, max(d) FROM (%s) s (name, question, id, d) GROUP BY 2, 3',
	:'kept', :'op', pg_temp.query(filters, :'table', :'questions', :'op', true))
FROM filters WHERE NOT EXISTS (SELECT FROM :kept k WHERE k.op = :'op' AND k.name = filters.name) \gexec
CREATE TEMP VIEW exact AS SELECT name, question, d FROM :kept WHERE op = :'op';

CREATE FUNCTION pg_temp.measure(filter filters, "table" text, questions text, op text, am text, knob text,
	ef int, kind text,
	OUT ms numeric, OUT recall numeric, OUT rows numeric) LANGUAGE plpgsql AS
$$
DECLARE
	query text := pg_temp.query(filter, "table", questions, op, false);
	number float8 := (SELECT count(*) FROM exact WHERE name = filter.name);
	wanted float8;
	begun timestamptz;
	best float8;
BEGIN
	PERFORM set_config(am || '.' || knob, ef::text, true), set_config(am || '.iterative_scan', kind, true),
		set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	EXECUTE format('SELECT count(*) / %s::float8, count(*) FILTER (WHERE f.d <= e.d * (1 + 1e-6) + 1e-9) / %1$s::float8 / 10 FROM (%s) f (name, question, id, d) JOIN exact e USING (name, question)',
		number, query) INTO rows, recall;
	FOR run IN 1..5 LOOP
		begun := clock_timestamp();
		EXECUTE format('SELECT count(id) FROM (%s) f (name, question, id, d)', query) INTO wanted;
		best := least(best, 1000 * extract(epoch FROM clock_timestamp() - begun));
	END LOOP;
	ms := round((best / number)::numeric, 3);
	recall := round(recall, 3);
	rows := round(rows, 1);
END
$$;

SELECT name AS filter, kind, ef, m.*
FROM filters, unnest(:'kinds'::text[]) kind, unnest(:'ef'::int[]) ef,
	LATERAL pg_temp.measure(filters, :'table', :'questions', :'op', :'am', :'knob', ef, kind) m
ORDER BY nr, kind, ef;
