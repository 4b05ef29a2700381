-- Claims that an index of every kind gives the answers of exact search
-- whatever befalls its table, and that it does not grow as rows come and go.

\set ECHO none
\getenv test PG_ABS_SRCDIR
\set kinds :test '/life/kinds.sql'
\set steps :test '/life/steps.sql'
SET client_min_messages = warning;
\i :kinds
CREATE TABLE life.sizes (kind text, before bigint, after bigint);
SELECT min(name) AS kind FROM life.kinds \gset
\i :steps
\set ECHO all

-- nothing above said a word; all of it was done

SELECT count(DISTINCT kind) - (SELECT count(*) FROM life.kinds) AS kinds_left_out,
    (SELECT last_value FROM life.checks) / count(DISTINCT kind) AS checks_of_each
FROM life.sizes;

-- ten rounds without growth; a list that other rows come to than have gone may take an extent

SELECT * FROM life.sizes WHERE after > before + CASE WHEN kind LIKE 'ivf%' THEN 65536 ELSE 0 END;

DROP SCHEMA life CASCADE;
