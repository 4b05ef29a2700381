--
-- pairs.sql
--	  Other methods relative to E, repeat by repeat, at one slot size:
--	  psql -v bytes=192 -v reps=300 -f pairs.sql
--
\if :{?bytes}
\else
  \set bytes 192
\endif
\if :{?reps}
\else
  \set reps 300
\endif

SELECT format(
	'SELECT %L AS rel, m AS method,
	        round(percentile_cont(0.1) WITHIN GROUP (ORDER BY ns)::numeric) AS tenth,
	        round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ns / e)::numeric, 2) AS ratio_to_e,
	        round(percentile_cont(0.25) WITHIN GROUP (ORDER BY ns / e)::numeric, 2) AS lower_quartile,
	        round(percentile_cont(0.75) WITHIN GROUP (ORDER BY ns / e)::numeric, 2) AS upper_quartile
	 FROM (SELECT m, ns, max(ns) FILTER (WHERE m = ''E'') OVER (PARTITION BY r) AS e
	       FROM (SELECT r, m, page_access(%L, m, %s, 16000) AS ns
	             FROM (SELECT r, m
	                   FROM generate_series(1, %s) r,
	                        unnest(''{E,F,U,H,G}''::"char"[]) WITH ORDINALITY t(m, o)
	                   ORDER BY r, (o + r) %% 5 OFFSET 0) x
	             OFFSET 0) y) z
	 GROUP BY m ORDER BY m',
	rel, rel, :'bytes', :'reps')
FROM unnest('{page_access_32,page_access_192,page_access_1024}'::text[]) rel
\gexec
