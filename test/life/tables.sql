-- A table of each kind of kinds.sql, life.NAME (id, v), with the index
-- life.NAME_v; what fills them all, and what checks them all.

DO $$
DECLARE
    k life.kinds;
BEGIN
    FOR k IN SELECT * FROM life.kinds LOOP
        EXECUTE format('CREATE TABLE life.%I (id int, v %s)', k.name, k.type);
        EXECUTE format('CREATE INDEX %I ON life.%I USING %s (v %s %s) %s', k.name || '_v', k.name, k.method, k.opclass, k.further,
            k.storage);
    END LOOP;
END $$;

CREATE PROCEDURE life.fill(first int, last int) LANGUAGE plpgsql AS
$$
DECLARE
    k life.kinds;
BEGIN
    FOR k IN SELECT * FROM life.kinds LOOP
        EXECUTE format('INSERT INTO life.%I SELECT i, %s FROM generate_series(%s, %s) i', k.name, k.value, first, last);
    END LOOP;
END
$$;

-- A statement for each table, with %I for its name.

CREATE PROCEDURE life.each(statement text) LANGUAGE plpgsql AS
$$
DECLARE
    kind text;
BEGIN
    FOR kind IN SELECT name FROM life.kinds LOOP
        EXECUTE format(statement, kind);
    END LOOP;
END
$$;

CREATE PROCEDURE life.expect_each(expected bigint) LANGUAGE plpgsql AS
$$
DECLARE
    kind text;
BEGIN
    FOR kind IN SELECT name FROM life.kinds LOOP
        CALL life.expect(format('life.%I', kind || '_v')::regclass, expected);
    END LOOP;
END
$$;
