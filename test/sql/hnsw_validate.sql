-- Claims that amvalidate accepts the operator classes of the extension and says
-- what is wrong with others.

SELECT opcname, amvalidate(c.oid)
FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
WHERE amname = 'hnsw' ORDER BY 1;

-- nothing in it

CREATE OPERATOR CLASS bad_empty FOR TYPE vector USING hnsw AS STORAGE vector;
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'bad_empty';

-- no support function

CREATE OPERATOR CLASS bad_support FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops;
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'bad_support';

-- an operator that compares instead of measuring, and a second one

CREATE OPERATOR CLASS bad_operator FOR TYPE vector USING hnsw AS
    OPERATOR 1 < (vector, vector),
    OPERATOR 2 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vdb_vector_l2_support(internal);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'bad_operator';

-- stored as something else

CREATE OPERATOR CLASS bad_storage FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 vdb_vector_l2_support(internal),
    STORAGE text;

-- a function of another shape

CREATE OPERATOR CLASS bad_function FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) vector_cmp(vector, vector);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'bad_function';

DROP OPERATOR FAMILY bad_empty USING hnsw;
DROP OPERATOR FAMILY bad_support USING hnsw;
DROP OPERATOR FAMILY bad_operator USING hnsw;
DROP OPERATOR FAMILY bad_function USING hnsw;
