--
-- single.sql
--	  One session, random pages of each relation: psql -v reps=60 -f single.sql
--
-- A repeat lasts a few milliseconds, less than a scheduler's time slice, and
-- methods take turns, so that noise from outside hits all of them alike.  The
-- tenth percentile (the machine undisturbed) and the median are shown.
--
\if :{?reps}
\else
  \set reps 60
\endif

SELECT format(
	'INSERT INTO page_access_result
	 SELECT 1, %L, m, b, false, page_access(%L, m, b, 32000)
	 FROM (SELECT m, b
	       FROM generate_series(1, %s) r,
	            unnest(''{64,192,768,1400}''::int[]) b,
	            unnest(''{N,A,B,C,D,E,F,G,H,S,U,W}''::"char"[]) WITH ORDINALITY t(m, o)
	       ORDER BY r, b, o OFFSET 0) x',
	rel, rel, :'reps')
FROM unnest('{page_access_32,page_access_192,page_access_1024}'::text[]) rel
\gexec

SELECT method, rel, bytes,
	   round(percentile_cont(0.1) WITHIN GROUP (ORDER BY ns)::numeric) AS tenth,
	   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ns)::numeric) AS median
FROM page_access_result WHERE NOT hot
GROUP BY 1, 2, 3
ORDER BY length(rel), rel, bytes, method;
