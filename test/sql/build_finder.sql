-- Claims that indexes are built by whoever finds nearest codes, and by the processor where that fails: at
-- once, late, in the middle.

CREATE TABLE points (id int, v vector(12));
SELECT setseed(.25);
INSERT INTO points SELECT i, array_agg(random() + i % 7)::vector FROM generate_series(1, 2500) i, generate_series(1, 12) GROUP BY i;

CREATE FUNCTION build(definition text) RETURNS TABLE (live bigint, finds boolean) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE INDEX points_v ON points USING ' || definition;
	RETURN QUERY SELECT c.live, r.recall > .8 FROM vdb.check_index('points_v', true) c, vdb.recall('points_v', 10, 50) r;
	DROP INDEX points_v;
END $$;
CREATE FUNCTION build_all() RETURNS TABLE (definition text, live bigint, finds boolean) LANGUAGE sql AS $$
	SELECT d, b.* FROM unnest('{hnsw (v vector_l2_ops), hnsw (v vector_ip_ops), ivfflat (v vector_l2_ops) WITH (lists = 20),
		"ivfpq (v vector_l2_ops) WITH (lists = 20, spill = 1)"}'::text[]) WITH ORDINALITY u(d, n), build(d) b ORDER BY n
$$;

SET hnsw.ef_search = 60;
SET ivfpq.probes = 10;
SET ivfflat.probes = 10;
SELECT * FROM build_all();
SET vdb.provider = cuda;
SELECT * FROM build_all();
SET vdb.provider = fault;
SET client_min_messages = log;
SET vdb.provider_fault = slow;
SELECT * FROM build_all();
SET vdb.provider_fault = out_of_memory;
SELECT * FROM build_all();
\c -
SET client_min_messages = log;
SET vdb.provider = fault;
SET hnsw.ef_search = 60;
SET ivfpq.probes = 10;
SET ivfflat.probes = 10;
SET vdb.provider_fault = timeout;
SELECT * FROM build_all();
SET vdb.provider_fault = device_lost;
SELECT * FROM build_all();
DROP TABLE points;
DROP FUNCTION build, build_all;
