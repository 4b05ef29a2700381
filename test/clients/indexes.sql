-- Asked after a program: whether its queries were served by its indexes, and
-- whether those are sound.
SELECT CASE WHEN count(*) > 0 AND bool_and(s.idx_scan > 0) THEN 'ok' ELSE 'not ok' END
	|| format(' - %s of %s indexes served its queries', count(*) FILTER (WHERE s.idx_scan > 0), count(*))
FROM pg_stat_user_indexes s JOIN pg_class i ON i.oid = s.indexrelid JOIN pg_am a ON a.oid = i.relam
WHERE a.amname = 'hnsw';

SELECT format('ok - %s indexes are sound', count(*))
FROM pg_class i JOIN pg_am a ON a.oid = i.relam, vdb.check_index(i.oid, true)
WHERE a.amname = 'hnsw' AND i.relkind = 'i';
