-- where the library is not preloaded, there are no statistics, and whoever asks is told
CREATE TABLE stats_items (v vector(3));
INSERT INTO stats_items SELECT ARRAY[i, 0, 0]::vector FROM generate_series(1, 20) i;
CREATE INDEX ON stats_items USING hnsw (v vector_l2_ops);
SET enable_seqscan = off;
SELECT v FROM stats_items ORDER BY v <-> '[3,0,0]' LIMIT 1;
SELECT * FROM vdb_stat_index;
SELECT * FROM vdb_stat_query;
SELECT * FROM vdb_stat_table();
SELECT vdb_stat_reset();
SELECT vdb_stat_reset('stats_items_v_idx');
DROP TABLE stats_items;
