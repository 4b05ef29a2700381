/* vdb--0.1.0.sql: everything that CREATE EXTENSION vdb creates */

\echo Use "CREATE EXTENSION vdb" to load this file. \quit

--
-- "vector" is the name of pgvector, and of this very extension where its alias
-- is installed.  Both at once would fail below, in words that explain nothing.
--

DO $$
BEGIN
	IF (SELECT count(*) > 1 FROM pg_catalog.pg_extension WHERE extname IN ('vdb', 'vector')) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = 'the extensions "vdb" and "vector" cannot be in one database',
			DETAIL = 'Both create the type "vector" and the access method "hnsw".',
			HINT = 'Use the one that is there: its type, operators and indexes are the same.';
	END IF;
END
$$;

--
-- The type vector
--

CREATE TYPE vector;

CREATE FUNCTION vector_in(cstring, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_out(vector) RETURNS cstring
	AS 'MODULE_PATHNAME', 'vdb_vector_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_vector_typmod_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_recv(internal, oid, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_send(vector) RETURNS bytea
	AS 'MODULE_PATHNAME', 'vdb_vector_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE vector (
	INPUT = vector_in,
	OUTPUT = vector_out,
	TYPMOD_IN = vector_typmod_in,
	RECEIVE = vector_recv,
	SEND = vector_send,
	STORAGE = external
);

--
-- Functions that read every element have COST 100.  In units of an int4
-- addition, whose cost is 1, l2_distance takes 17 for a vector of 448 dimensions
-- stored in its row and 520 for one of 768 that must first be fetched from TOAST.
-- The planner knows neither the length nor where the value lies; 100 is about
-- the geometric mean.  At 1 it would scan tables sequentially where an index is
-- faster, and shun parallel plans.
--

--
-- Distances
--

CREATE FUNCTION l2_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_l2_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION inner_product(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION cosine_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_cosine_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION l1_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_l1_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

-- not meant to be called by users

CREATE FUNCTION vector_l2_squared_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_l2_squared_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_negative_inner_product(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_negative_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_spherical_distance(vector, vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_spherical_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

--
-- Other functions
--

CREATE FUNCTION vector_dims(vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_dense_dims'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_norm(vector) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_vector_l2_norm'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION l2_normalize(vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_l2_normalize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION binary_quantize(vector) RETURNS bit
	AS 'MODULE_PATHNAME', 'vdb_vector_binary_quantize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION subvector(vector, integer, integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_subvector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- arithmetic

CREATE FUNCTION vector_add(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_add'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_sub(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_sub'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_mul(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_mul'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_concat(vector, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_concat'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- comparison

CREATE FUNCTION vector_lt(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_vector_lt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_le(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_vector_le'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_eq(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_vector_eq'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_ne(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_vector_ne'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_ge(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_vector_ge'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_gt(vector, vector) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_vector_gt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_cmp(vector, vector) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_vector_cmp'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

--
-- Aggregates
--

CREATE FUNCTION vector_accum(double precision[], vector) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_vector_accum'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_dense_combine'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION vector_avg(double precision[]) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_vector_avg'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE AGGREGATE avg(vector) (
	SFUNC = vector_accum,
	STYPE = double precision[],
	FINALFUNC = vector_avg,
	COMBINEFUNC = vector_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);

CREATE AGGREGATE sum(vector) (
	SFUNC = vector_add,
	STYPE = vector,
	COMBINEFUNC = vector_add,
	PARALLEL = SAFE
);

--
-- Casts
--

CREATE FUNCTION vector(vector, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_dense_enforce_typmod'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(integer[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_array_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(real[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_array_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(double precision[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_array_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_vector(numeric[], integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_array_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_to_float4(vector, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'vdb_vector_to_float4'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_to_float8(vector, integer, boolean) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_vector_to_float8'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (vector AS vector)
	WITH FUNCTION vector(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (vector AS real[])
	WITH FUNCTION vector_to_float4(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (vector AS double precision[])
	WITH FUNCTION vector_to_float8(vector, integer, boolean) AS ASSIGNMENT;

CREATE CAST (integer[] AS vector)
	WITH FUNCTION array_to_vector(integer[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (real[] AS vector)
	WITH FUNCTION array_to_vector(real[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (double precision[] AS vector)
	WITH FUNCTION array_to_vector(double precision[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (numeric[] AS vector)
	WITH FUNCTION array_to_vector(numeric[], integer, boolean) AS ASSIGNMENT;

--
-- Operators.  The distances commute, so that an index serves a constant on
-- either side.
--

CREATE OPERATOR <-> (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = l2_distance, COMMUTATOR = <->
);

CREATE OPERATOR <#> (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_negative_inner_product, COMMUTATOR = <#>
);

CREATE OPERATOR <=> (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = cosine_distance, COMMUTATOR = <=>
);

CREATE OPERATOR <+> (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = l1_distance, COMMUTATOR = <+>
);

CREATE OPERATOR + (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_add, COMMUTATOR = +
);

CREATE OPERATOR - (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_sub
);

CREATE OPERATOR * (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_mul, COMMUTATOR = *
);

CREATE OPERATOR || (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_concat
);

CREATE OPERATOR < (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_lt, COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);

CREATE OPERATOR <= (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_le, COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);

CREATE OPERATOR = (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_eq, COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);

CREATE OPERATOR <> (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_ne, COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);

CREATE OPERATOR >= (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_ge, COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);

CREATE OPERATOR > (
	LEFTARG = vector, RIGHTARG = vector,
	FUNCTION = vector_gt, COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

CREATE OPERATOR CLASS vector_ops
	DEFAULT FOR TYPE vector USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 vector_cmp(vector, vector);

--
-- The type halfvec: what vector has, for elements of half precision
--

CREATE TYPE halfvec;

CREATE FUNCTION halfvec_in(cstring, oid, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_out(halfvec) RETURNS cstring
	AS 'MODULE_PATHNAME', 'vdb_halfvec_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_halfvec_typmod_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_recv(internal, oid, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_send(halfvec) RETURNS bytea
	AS 'MODULE_PATHNAME', 'vdb_halfvec_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE halfvec (
	INPUT = halfvec_in,
	OUTPUT = halfvec_out,
	TYPMOD_IN = halfvec_typmod_in,
	RECEIVE = halfvec_recv,
	SEND = halfvec_send,
	STORAGE = external
);

--
-- Distances of half-precision vectors
--

CREATE FUNCTION l2_distance(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_l2_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION inner_product(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION cosine_distance(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_cosine_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION l1_distance(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_l1_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

-- not meant to be called by users

CREATE FUNCTION halfvec_l2_squared_distance(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_l2_squared_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_negative_inner_product(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_negative_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_spherical_distance(halfvec, halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_spherical_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

--
-- Other functions of half-precision vectors
--

CREATE FUNCTION vector_dims(halfvec) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_dense_dims'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION l2_norm(halfvec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_halfvec_l2_norm'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION l2_normalize(halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_l2_normalize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION binary_quantize(halfvec) RETURNS bit
	AS 'MODULE_PATHNAME', 'vdb_halfvec_binary_quantize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION subvector(halfvec, integer, integer) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_subvector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- arithmetic

CREATE FUNCTION halfvec_add(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_add'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_sub(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_sub'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_mul(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_mul'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_concat(halfvec, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_concat'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- comparison

CREATE FUNCTION halfvec_lt(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_halfvec_lt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_le(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_halfvec_le'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_eq(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_halfvec_eq'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_ne(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_halfvec_ne'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_ge(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_halfvec_ge'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_gt(halfvec, halfvec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_halfvec_gt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_cmp(halfvec, halfvec) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_halfvec_cmp'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

--
-- Aggregates of half-precision vectors
--

CREATE FUNCTION halfvec_accum(double precision[], halfvec) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_halfvec_accum'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_combine(double precision[], double precision[]) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_dense_combine'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION halfvec_avg(double precision[]) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_avg'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE AGGREGATE avg(halfvec) (
	SFUNC = halfvec_accum,
	STYPE = double precision[],
	FINALFUNC = halfvec_avg,
	COMBINEFUNC = halfvec_combine,
	INITCOND = '{0}',
	PARALLEL = SAFE
);

CREATE AGGREGATE sum(halfvec) (
	SFUNC = halfvec_add,
	STYPE = halfvec,
	COMBINEFUNC = halfvec_add,
	PARALLEL = SAFE
);

--
-- Casts of half-precision vectors
--

CREATE FUNCTION halfvec(halfvec, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_dense_enforce_typmod'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_to_vector(halfvec, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_halfvec_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_to_halfvec(vector, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_vector_to_halfvec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_halfvec(integer[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_array_to_halfvec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_halfvec(real[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_array_to_halfvec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_halfvec(double precision[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_array_to_halfvec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_halfvec(numeric[], integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_array_to_halfvec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_to_float4(halfvec, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'vdb_halfvec_to_float4'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_to_float8(halfvec, integer, boolean) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_halfvec_to_float8'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (halfvec AS halfvec)
	WITH FUNCTION halfvec(halfvec, integer, boolean) AS IMPLICIT;

CREATE CAST (halfvec AS vector)
	WITH FUNCTION halfvec_to_vector(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (vector AS halfvec)
	WITH FUNCTION vector_to_halfvec(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (halfvec AS real[])
	WITH FUNCTION halfvec_to_float4(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (halfvec AS double precision[])
	WITH FUNCTION halfvec_to_float8(halfvec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (integer[] AS halfvec)
	WITH FUNCTION array_to_halfvec(integer[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (real[] AS halfvec)
	WITH FUNCTION array_to_halfvec(real[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (double precision[] AS halfvec)
	WITH FUNCTION array_to_halfvec(double precision[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (numeric[] AS halfvec)
	WITH FUNCTION array_to_halfvec(numeric[], integer, boolean) AS ASSIGNMENT;

--
-- Operators of half-precision vectors
--

CREATE OPERATOR <-> (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = l2_distance, COMMUTATOR = <->
);

CREATE OPERATOR <#> (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_negative_inner_product, COMMUTATOR = <#>
);

CREATE OPERATOR <=> (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = cosine_distance, COMMUTATOR = <=>
);

CREATE OPERATOR <+> (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = l1_distance, COMMUTATOR = <+>
);

CREATE OPERATOR + (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_add, COMMUTATOR = +
);

CREATE OPERATOR - (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_sub
);

CREATE OPERATOR * (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_mul, COMMUTATOR = *
);

CREATE OPERATOR || (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_concat
);

CREATE OPERATOR < (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_lt, COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);

CREATE OPERATOR <= (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_le, COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);

CREATE OPERATOR = (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_eq, COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);

CREATE OPERATOR <> (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_ne, COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);

CREATE OPERATOR >= (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_ge, COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);

CREATE OPERATOR > (
	LEFTARG = halfvec, RIGHTARG = halfvec,
	FUNCTION = halfvec_gt, COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

CREATE OPERATOR CLASS halfvec_ops
	DEFAULT FOR TYPE halfvec USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 halfvec_cmp(halfvec, halfvec);

--
-- The type sparsevec
--

CREATE TYPE sparsevec;

CREATE FUNCTION sparsevec_in(cstring, oid, integer) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_out(sparsevec) RETURNS cstring
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_typmod_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_recv(internal, oid, integer) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_send(sparsevec) RETURNS bytea
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE sparsevec (
	INPUT = sparsevec_in,
	OUTPUT = sparsevec_out,
	TYPMOD_IN = sparsevec_typmod_in,
	RECEIVE = sparsevec_recv,
	SEND = sparsevec_send,
	STORAGE = external
);

--
-- Distances of sparse vectors
--

CREATE FUNCTION l2_distance(sparsevec, sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_l2_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION inner_product(sparsevec, sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION cosine_distance(sparsevec, sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_cosine_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION l1_distance(sparsevec, sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_l1_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

-- not meant to be called by users

CREATE FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_l2_squared_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_negative_inner_product'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

--
-- Other functions of sparse vectors
--

CREATE FUNCTION vector_dims(sparsevec) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_dims'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_nnz(sparsevec) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_nnz'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION l2_norm(sparsevec) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_norm'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION l2_normalize(sparsevec) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_l2_normalize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

-- comparison

CREATE FUNCTION sparsevec_lt(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_lt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_le(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_le'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_eq(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_eq'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_ne(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_ne'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_ge(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_ge'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_gt(sparsevec, sparsevec) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_gt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_cmp(sparsevec, sparsevec) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_cmp'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

--
-- Aggregates of sparse vectors
--

CREATE FUNCTION sparsevec_accum(internal, sparsevec) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_accum'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;

CREATE FUNCTION sparsevec_combine(internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_combine'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;

CREATE FUNCTION sparsevec_serialize(internal) RETURNS bytea
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_serialize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION sparsevec_deserialize(bytea, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_deserialize'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION sparsevec_sum(internal) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_sum'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;

CREATE FUNCTION sparsevec_avg(internal) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_avg'
	LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;

CREATE AGGREGATE avg(sparsevec) (
	SFUNC = sparsevec_accum,
	STYPE = internal,
	FINALFUNC = sparsevec_avg,
	COMBINEFUNC = sparsevec_combine,
	SERIALFUNC = sparsevec_serialize,
	DESERIALFUNC = sparsevec_deserialize,
	PARALLEL = SAFE
);

CREATE AGGREGATE sum(sparsevec) (
	SFUNC = sparsevec_accum,
	STYPE = internal,
	FINALFUNC = sparsevec_sum,
	COMBINEFUNC = sparsevec_combine,
	SERIALFUNC = sparsevec_serialize,
	DESERIALFUNC = sparsevec_deserialize,
	PARALLEL = SAFE
);

--
-- Casts of sparse vectors
--

CREATE FUNCTION sparsevec(sparsevec, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_enforce_typmod'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_to_sparsevec(vector, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_vector_to_sparsevec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_to_vector'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_halfvec_to_sparsevec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_to_halfvec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_sparsevec(integer[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_array_to_sparsevec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_sparsevec(real[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_array_to_sparsevec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_sparsevec(double precision[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_array_to_sparsevec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION array_to_sparsevec(numeric[], integer, boolean) RETURNS sparsevec
	AS 'MODULE_PATHNAME', 'vdb_array_to_sparsevec'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_to_float4(sparsevec, integer, boolean) RETURNS real[]
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_to_float4'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION sparsevec_to_float8(sparsevec, integer, boolean) RETURNS double precision[]
	AS 'MODULE_PATHNAME', 'vdb_sparsevec_to_float8'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE CAST (sparsevec AS sparsevec)
	WITH FUNCTION sparsevec(sparsevec, integer, boolean) AS IMPLICIT;

CREATE CAST (sparsevec AS vector)
	WITH FUNCTION sparsevec_to_vector(sparsevec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (vector AS sparsevec)
	WITH FUNCTION vector_to_sparsevec(vector, integer, boolean) AS IMPLICIT;

CREATE CAST (sparsevec AS halfvec)
	WITH FUNCTION sparsevec_to_halfvec(sparsevec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (halfvec AS sparsevec)
	WITH FUNCTION halfvec_to_sparsevec(halfvec, integer, boolean) AS IMPLICIT;

CREATE CAST (integer[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(integer[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (real[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(real[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (double precision[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(double precision[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (numeric[] AS sparsevec)
	WITH FUNCTION array_to_sparsevec(numeric[], integer, boolean) AS ASSIGNMENT;

CREATE CAST (sparsevec AS real[])
	WITH FUNCTION sparsevec_to_float4(sparsevec, integer, boolean) AS ASSIGNMENT;

CREATE CAST (sparsevec AS double precision[])
	WITH FUNCTION sparsevec_to_float8(sparsevec, integer, boolean) AS ASSIGNMENT;

--
-- Operators of sparse vectors
--

CREATE OPERATOR <-> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = l2_distance, COMMUTATOR = <->
);

CREATE OPERATOR <#> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_negative_inner_product, COMMUTATOR = <#>
);

CREATE OPERATOR <=> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = cosine_distance, COMMUTATOR = <=>
);

CREATE OPERATOR <+> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = l1_distance, COMMUTATOR = <+>
);

CREATE OPERATOR < (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_lt, COMMUTATOR = >, NEGATOR = >=,
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);

CREATE OPERATOR <= (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_le, COMMUTATOR = >=, NEGATOR = >,
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);

CREATE OPERATOR = (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_eq, COMMUTATOR = =, NEGATOR = <>,
	RESTRICT = eqsel, JOIN = eqjoinsel
);

CREATE OPERATOR <> (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_ne, COMMUTATOR = <>, NEGATOR = =,
	RESTRICT = neqsel, JOIN = neqjoinsel
);

CREATE OPERATOR >= (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_ge, COMMUTATOR = <=, NEGATOR = <,
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);

CREATE OPERATOR > (
	LEFTARG = sparsevec, RIGHTARG = sparsevec,
	FUNCTION = sparsevec_gt, COMMUTATOR = <, NEGATOR = <=,
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);

CREATE OPERATOR CLASS sparsevec_ops
	DEFAULT FOR TYPE sparsevec USING btree AS
	OPERATOR 1 <,
	OPERATOR 2 <=,
	OPERATOR 3 =,
	OPERATOR 4 >=,
	OPERATOR 5 >,
	FUNCTION 1 sparsevec_cmp(sparsevec, sparsevec);

--
-- Distances of the type bit
--

CREATE FUNCTION hamming_distance(bit, bit) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_bit_hamming_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE FUNCTION jaccard_distance(bit, bit) RETURNS double precision
	AS 'MODULE_PATHNAME', 'vdb_bit_jaccard_distance'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

CREATE OPERATOR <~> (
	LEFTARG = bit, RIGHTARG = bit,
	FUNCTION = hamming_distance, COMMUTATOR = <~>
);

CREATE OPERATOR <%> (
	LEFTARG = bit, RIGHTARG = bit,
	FUNCTION = jaccard_distance, COMMUTATOR = <%>
);

/*
 * What is not pgvector's has a schema of its own.
 */

CREATE SCHEMA vdb;

GRANT USAGE ON SCHEMA vdb TO PUBLIC;

/*
 * Access method hnsw
 */

CREATE FUNCTION hnswhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'vdb_hnsw_handler' LANGUAGE C;

CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hnswhandler;

COMMENT ON ACCESS METHOD hnsw IS 'hierarchical navigable small world graph';

/*
 * Access methods ivfflat and ivfpq
 */

CREATE FUNCTION ivfflathandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'vdb_ivfflat_handler' LANGUAGE C;

CREATE ACCESS METHOD ivfflat TYPE INDEX HANDLER ivfflathandler;

COMMENT ON ACCESS METHOD ivfflat IS 'inverted file, all rows of the lists probed in exact order';

CREATE FUNCTION ivfpqhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME', 'vdb_ivfpq_handler' LANGUAGE C;

CREATE ACCESS METHOD ivfpq TYPE INDEX HANDLER ivfpqhandler;

COMMENT ON ACCESS METHOD ivfpq IS 'inverted file of short codes';

/*
 * The planner puts ~<= in the place of "distance < radius" beside an order by
 * this distance.  It says nothing to anybody but an index scan, which has the
 * question, and is true everywhere else.
 */

CREATE FUNCTION vdb.may_be_within(vector, double precision) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_index_may_be_within' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR vdb.~<= (
	LEFTARG = vector, RIGHTARG = double precision,
	FUNCTION = vdb.may_be_within
);

COMMENT ON OPERATOR vdb.~<= (vector, double precision) IS
	'made by the planner: distance from the question of an index scan may be at most this';

CREATE FUNCTION vdb.may_be_within(halfvec, double precision) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_index_may_be_within' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR vdb.~<= (
	LEFTARG = halfvec, RIGHTARG = double precision,
	FUNCTION = vdb.may_be_within
);

COMMENT ON OPERATOR vdb.~<= (halfvec, double precision) IS
	'made by the planner: distance from the question of an index scan may be at most this';

CREATE FUNCTION vdb.may_be_within(sparsevec, double precision) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_index_may_be_within' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR vdb.~<= (
	LEFTARG = sparsevec, RIGHTARG = double precision,
	FUNCTION = vdb.may_be_within
);

COMMENT ON OPERATOR vdb.~<= (sparsevec, double precision) IS
	'made by the planner: distance from the question of an index scan may be at most this';

CREATE FUNCTION vdb.may_be_within(bit, double precision) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_index_may_be_within' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR vdb.~<= (
	LEFTARG = bit, RIGHTARG = double precision,
	FUNCTION = vdb.may_be_within
);

COMMENT ON OPERATOR vdb.~<= (bit, double precision) IS
	'made by the planner: distance from the question of an index scan may be at most this';

CREATE FUNCTION vdb_vector_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_vector_l2_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_vector_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_vector_ip_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_vector_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_vector_cosine_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_vector_l1_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_vector_l1_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE OPERATOR CLASS vector_l2_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (vector, double precision),
	FUNCTION 1 vdb_vector_l2_support(internal);

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (vector, double precision),
	FUNCTION 1 vdb_vector_ip_support(internal);

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (vector, double precision),
	FUNCTION 1 vdb_vector_cosine_support(internal);

CREATE OPERATOR CLASS vector_l1_ops
	FOR TYPE vector USING hnsw AS
	OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (vector, double precision),
	FUNCTION 1 vdb_vector_l1_support(internal);

CREATE FUNCTION vdb_halfvec_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_halfvec_l2_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_halfvec_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_halfvec_ip_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_halfvec_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_halfvec_cosine_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_halfvec_l1_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_halfvec_l1_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE OPERATOR CLASS halfvec_l2_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (halfvec, double precision),
	FUNCTION 1 vdb_halfvec_l2_support(internal);

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (halfvec, double precision),
	FUNCTION 1 vdb_halfvec_ip_support(internal);

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (halfvec, double precision),
	FUNCTION 1 vdb_halfvec_cosine_support(internal);

CREATE OPERATOR CLASS halfvec_l1_ops
	FOR TYPE halfvec USING hnsw AS
	OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (halfvec, double precision),
	FUNCTION 1 vdb_halfvec_l1_support(internal);

CREATE FUNCTION vdb_bit_hamming_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_bit_hamming_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_bit_jaccard_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_bit_jaccard_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE OPERATOR CLASS bit_hamming_ops
	FOR TYPE bit USING hnsw AS
	OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (bit, double precision),
	FUNCTION 1 vdb_bit_hamming_support(internal);

CREATE OPERATOR CLASS bit_jaccard_ops
	FOR TYPE bit USING hnsw AS
	OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (bit, double precision),
	FUNCTION 1 vdb_bit_jaccard_support(internal);

CREATE FUNCTION vdb_sparsevec_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_sparsevec_l2_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_sparsevec_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_sparsevec_ip_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_sparsevec_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_sparsevec_cosine_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_sparsevec_l1_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_sparsevec_l1_support' LANGUAGE C STABLE PARALLEL SAFE;

CREATE OPERATOR CLASS sparsevec_l2_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (sparsevec, double precision),
	FUNCTION 1 vdb_sparsevec_l2_support(internal);

CREATE OPERATOR CLASS sparsevec_ip_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (sparsevec, double precision),
	FUNCTION 1 vdb_sparsevec_ip_support(internal);

CREATE OPERATOR CLASS sparsevec_cosine_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (sparsevec, double precision),
	FUNCTION 1 vdb_sparsevec_cosine_support(internal);

CREATE OPERATOR CLASS sparsevec_l1_ops
	FOR TYPE sparsevec USING hnsw AS
	OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
	OPERATOR 2 vdb.~<= (sparsevec, double precision),
	FUNCTION 1 vdb_sparsevec_l1_support(internal);

/*
 * The inverted files take the same distances, but for L1 and Jaccard, and no sparse vectors.
 */

DO $do$
DECLARE
	class record;
BEGIN
	FOR class IN
		SELECT method, distance.*
		FROM unnest(ARRAY['ivfflat', 'ivfpq']) AS method,
			(VALUES ('vector', 'l2', '<->'), ('vector', 'ip', '<#>'), ('vector', 'cosine', '<=>'),
				('halfvec', 'l2', '<->'), ('halfvec', 'ip', '<#>'), ('halfvec', 'cosine', '<=>'),
				('bit', 'hamming', '<~>')) AS distance (type, name, operator)
	LOOP
		EXECUTE format('CREATE OPERATOR CLASS %1$s_%2$s_ops %3$s FOR TYPE %1$s USING %4$s AS '
			'OPERATOR 1 %5$s (%1$s, %1$s) FOR ORDER BY pg_catalog.float_ops, '
			'OPERATOR 2 vdb.~<= (%1$s, double precision), '
			'FUNCTION 1 vdb_%1$s_%2$s_support(internal)',
			class.type, class.name, CASE WHEN (class.type, class.name) = ('vector', 'l2') THEN 'DEFAULT' ELSE '' END,
			class.method, class.operator);
	END LOOP;
END
$do$;

/*
 * Further columns of an index: their values are looked at while the index is
 * searched.  Strategies 11 to 15 are <, <=, =, >= and >, 16 to 18 &&, @> and <@.
 */

CREATE FUNCTION vdb_int2_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_int2_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_int4_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_int4_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_int8_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_int8_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_bool_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_bool_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_oid_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_oid_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_date_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_date_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_timestamp_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_timestamp_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_float_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_float_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_numeric_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_numeric_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_hash_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_hash_attribute' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION vdb_array_attribute(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_index_array_attribute' LANGUAGE C STABLE PARALLEL SAFE;

DO $do$
DECLARE
	method text;
BEGIN
	FOREACH method IN ARRAY ARRAY['hnsw', 'ivfpq'] LOOP
		EXECUTE replace($classes$
CREATE OPERATOR FAMILY integer_ops USING @method@;

CREATE OPERATOR CLASS int2_ops
	DEFAULT FOR TYPE int2 USING @method@ FAMILY integer_ops AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_int2_attribute(internal);

CREATE OPERATOR CLASS int4_ops
	DEFAULT FOR TYPE int4 USING @method@ FAMILY integer_ops AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_int4_attribute(internal);

CREATE OPERATOR CLASS int8_ops
	DEFAULT FOR TYPE int8 USING @method@ FAMILY integer_ops AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_int8_attribute(internal);

ALTER OPERATOR FAMILY integer_ops USING @method@ ADD
	OPERATOR 11 < (int2, int4),
	OPERATOR 12 <= (int2, int4),
	OPERATOR 13 = (int2, int4),
	OPERATOR 14 >= (int2, int4),
	OPERATOR 15 > (int2, int4),
	OPERATOR 11 < (int2, int8),
	OPERATOR 12 <= (int2, int8),
	OPERATOR 13 = (int2, int8),
	OPERATOR 14 >= (int2, int8),
	OPERATOR 15 > (int2, int8),
	OPERATOR 11 < (int4, int2),
	OPERATOR 12 <= (int4, int2),
	OPERATOR 13 = (int4, int2),
	OPERATOR 14 >= (int4, int2),
	OPERATOR 15 > (int4, int2),
	OPERATOR 11 < (int4, int8),
	OPERATOR 12 <= (int4, int8),
	OPERATOR 13 = (int4, int8),
	OPERATOR 14 >= (int4, int8),
	OPERATOR 15 > (int4, int8),
	OPERATOR 11 < (int8, int2),
	OPERATOR 12 <= (int8, int2),
	OPERATOR 13 = (int8, int2),
	OPERATOR 14 >= (int8, int2),
	OPERATOR 15 > (int8, int2),
	OPERATOR 11 < (int8, int4),
	OPERATOR 12 <= (int8, int4),
	OPERATOR 13 = (int8, int4),
	OPERATOR 14 >= (int8, int4),
	OPERATOR 15 > (int8, int4);

CREATE OPERATOR FAMILY float_ops USING @method@;

CREATE OPERATOR CLASS float4_ops
	DEFAULT FOR TYPE float4 USING @method@ FAMILY float_ops AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_float_attribute(internal);

CREATE OPERATOR CLASS float8_ops
	DEFAULT FOR TYPE float8 USING @method@ FAMILY float_ops AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_float_attribute(internal);

ALTER OPERATOR FAMILY float_ops USING @method@ ADD
	OPERATOR 11 < (float4, float8),
	OPERATOR 12 <= (float4, float8),
	OPERATOR 13 = (float4, float8),
	OPERATOR 14 >= (float4, float8),
	OPERATOR 15 > (float4, float8),
	OPERATOR 11 < (float8, float4),
	OPERATOR 12 <= (float8, float4),
	OPERATOR 13 = (float8, float4),
	OPERATOR 14 >= (float8, float4),
	OPERATOR 15 > (float8, float4);

CREATE OPERATOR CLASS bool_ops
	DEFAULT FOR TYPE bool USING @method@ AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_bool_attribute(internal);

CREATE OPERATOR CLASS oid_ops
	DEFAULT FOR TYPE oid USING @method@ AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_oid_attribute(internal);

CREATE OPERATOR CLASS date_ops
	DEFAULT FOR TYPE date USING @method@ AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_date_attribute(internal);

CREATE OPERATOR CLASS timestamp_ops
	DEFAULT FOR TYPE timestamp USING @method@ AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_timestamp_attribute(internal);

CREATE OPERATOR CLASS numeric_ops
	DEFAULT FOR TYPE numeric USING @method@ AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_numeric_attribute(internal);

CREATE OPERATOR CLASS timestamptz_ops
	DEFAULT FOR TYPE timestamptz USING @method@ AS
	OPERATOR 11 <,
	OPERATOR 12 <=,
	OPERATOR 13 =,
	OPERATOR 14 >=,
	OPERATOR 15 >,
	FUNCTION 2 vdb_timestamp_attribute(internal);

CREATE OPERATOR CLASS uuid_ops
	DEFAULT FOR TYPE uuid USING @method@ AS
	OPERATOR 13 =,
	FUNCTION 2 vdb_hash_attribute(internal);

CREATE OPERATOR CLASS text_ops
	DEFAULT FOR TYPE text USING @method@ AS
	OPERATOR 13 =,
	FUNCTION 2 vdb_hash_attribute(internal);

CREATE OPERATOR CLASS bpchar_ops
	DEFAULT FOR TYPE bpchar USING @method@ AS
	OPERATOR 13 =,
	FUNCTION 2 vdb_hash_attribute(internal);

CREATE OPERATOR CLASS enum_ops
	DEFAULT FOR TYPE anyenum USING @method@ AS
	OPERATOR 13 =,
	FUNCTION 2 vdb_hash_attribute(internal);

CREATE OPERATOR CLASS array_ops
	DEFAULT FOR TYPE anyarray USING @method@ AS
	OPERATOR 13 =,
	OPERATOR 16 &&,
	OPERATOR 17 @>,
	OPERATOR 18 <@,
	FUNCTION 2 vdb_array_attribute(internal);
		$classes$, '@method@', method);
	END LOOP;
END
$do$;

/*
 * Looking after indexes
 */

CREATE FUNCTION vdb.check_index(
	index regclass, heap_all_indexed boolean DEFAULT false,
	OUT nodes bigint, OUT live bigint, OUT dead bigint, OUT free bigint,
	OUT upper_records bigint, OUT edges bigint, OUT dangling_edges bigint, OUT unreachable bigint,
	OUT attached bigint, OUT pending bigint)
	AS 'MODULE_PATHNAME', 'vdb_check_index' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.check_index(regclass, boolean) IS
	'verifies an index of this extension, raises an error for the first violated invariant';

CREATE FUNCTION vdb.recall(
	index regclass, OUT recall double precision,
	INOUT k integer DEFAULT 10, INOUT queries integer DEFAULT 100,
	OUT ef_search integer, OUT exact_ms double precision, OUT index_ms double precision,
	OUT probes integer)
	AS 'MODULE_PATHNAME', 'vdb_index_recall' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.recall(regclass, integer, integer) IS
	'recall of an index at the present settings, measured on sampled rows against exact search';

CREATE FUNCTION vdb.calibrate(
	index regclass, OUT ef_search integer, OUT recall double precision, OUT recall_100 double precision,
	OUT probes integer, OUT refine_factor integer)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_index_calibrate' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.calibrate(regclass) IS
	'measures what recall an index has at which ef_search, or probes, which hnsw.target_recall and ivfpq.target_recall go by';

CREATE FUNCTION vdb.calibrate(
	index regclass, queries anyarray,
	OUT ef_search integer, OUT recall double precision, OUT recall_100 double precision,
	OUT probes integer, OUT refine_factor integer)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_index_calibrate_for' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.calibrate(regclass, anyarray) IS
	'the same, measured with these queries';

CREATE FUNCTION vdb.calibration(
	index regclass, OUT ef_search integer, OUT recall double precision, OUT recall_100 double precision,
	OUT probes integer, OUT refine_factor integer)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_index_calibration' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.calibration(regclass) IS
	'what hnsw.target_recall and ivfpq.target_recall go by; no rows where hnsw.ef_search and ivfpq.probes decide';

CREATE FUNCTION vdb.search_batch_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'vdb_exec_batch_support' LANGUAGE C STRICT;

CREATE FUNCTION vdb.search_batch(
	index regclass, queries anyarray, k integer DEFAULT 10,
	OUT query_no integer, OUT key tid, OUT distance double precision)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_exec_search_batch'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 10000 SUPPORT vdb.search_batch_support;

COMMENT ON FUNCTION vdb.search_batch(regclass, anyarray, integer) IS
	'the exact k nearest rows of each query, in one pass over the table of an index';

CREATE FUNCTION vdb.merge_pending(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'vdb_hnsw_merge_named' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.merge_pending(regclass) IS
	'links the rows that an hnsw index with fastupdate has waiting, and returns how many';

CREATE FUNCTION vdb.pending(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'vdb_hnsw_pending_named' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.pending(regclass) IS
	'how many rows of an hnsw index with fastupdate wait to be linked, at most';

CREATE FUNCTION vdb.prewarm(index regclass, OUT kind text, OUT pages bigint, OUT bytes bigint)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_index_prewarm' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.prewarm(regclass) IS
	'reads an index into shared buffers, first what searches need most';

/*
 * Mirrors: copies of vectors in shared memory, where the library is preloaded
 */

CREATE FUNCTION vdb.load_mirror(index regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'vdb_mirror_load_named' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.load_mirror(regclass) IS
	'has exact searches read the vectors of an index in shared memory, and returns how many rows these are';

CREATE FUNCTION vdb.drop_mirror(index regclass) RETURNS boolean
	AS 'MODULE_PATHNAME', 'vdb_mirror_drop_named' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.drop_mirror(regclass) IS
	'gives up the mirror of an index, and returns whether there was one';

CREATE FUNCTION vdb.mirror_stat(
	OUT datid oid, OUT indexrelid oid, OUT state text, OUT rows bigint, OUT bytes bigint,
	OUT searches bigint, OUT since timestamptz)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_mirror_stat' LANGUAGE C STRICT ROWS 8;

CREATE VIEW vdb_stat_mirror AS
	SELECT m.datid, d.datname, m.indexrelid, n.nspname AS schemaname, t.relname, i.relname AS indexrelname,
		m.state, m.rows, m.bytes, m.searches, m.since
	FROM vdb.mirror_stat() m
		JOIN pg_database d ON d.oid = m.datid
		LEFT JOIN pg_class i ON i.oid = m.indexrelid AND d.datname = current_database()
		LEFT JOIN pg_index x ON x.indexrelid = i.oid
		LEFT JOIN pg_class t ON t.oid = x.indrelid
		LEFT JOIN pg_namespace n ON n.oid = t.relnamespace;

COMMENT ON VIEW vdb_stat_mirror IS 'the mirrors that there are, of indexes of all databases';

GRANT SELECT ON vdb_stat_mirror TO PUBLIC;

/*
 * Searches of mirrors on a device
 */

CREATE FUNCTION vdb.gpu_stat(
	OUT device text, OUT state text, OUT requests bigint, OUT questions bigint, OUT batches bigint,
	OUT fallbacks bigint, OUT bytes bigint, OUT last_error text)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_gpu_stat' LANGUAGE C STRICT ROWS 1;

COMMENT ON FUNCTION vdb.gpu_stat() IS 'what vdb_stat_gpu shows';

CREATE VIEW vdb_stat_gpu AS
	SELECT * FROM vdb.gpu_stat();

COMMENT ON VIEW vdb_stat_gpu IS 'the process that has a device, where one is asked for';

GRANT SELECT ON vdb_stat_gpu TO PUBLIC;

CREATE FUNCTION vdb.check_gpu(
	index regclass, questions integer DEFAULT 16, m integer DEFAULT 100,
	OUT served boolean, OUT rows bigint, OUT differences bigint,
	OUT device_ms double precision, OUT processor_ms double precision)
	AS 'MODULE_PATHNAME', 'vdb_gpu_check' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.check_gpu(regclass, integer, integer) IS
	'compares what a device finds in the mirror of an index with what the processor finds, for random questions';

/*
 * Statistics, which are kept where the library is preloaded
 */

CREATE FUNCTION vdb.stat_index(
	index oid,
	OUT scans bigint, OUT rows bigint, OUT candidates bigint, OUT distances bigint,
	OUT exact_distances bigint, OUT rounds bigint, OUT pages_hit bigint, OUT pages_read bigint,
	OUT inserts bigint, OUT merged bigint, OUT repairs bigint,
	OUT dead bigint, OUT last_vacuum timestamptz,
	OUT recall double precision, OUT recall_k integer, OUT last_recall timestamptz,
	OUT last_calibration timestamptz,
	OUT build_ms double precision, OUT last_build timestamptz, OUT since timestamptz)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_stats_index' LANGUAGE C STRICT ROWS 1;

COMMENT ON FUNCTION vdb.stat_index(oid) IS 'what vdb_stat_index shows of an index';

CREATE FUNCTION vdb.stat_query(
	index oid,
	OUT le double precision[], OUT buckets bigint[], OUT count bigint, OUT sum double precision,
	OUT p50 double precision, OUT p95 double precision, OUT p99 double precision)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_stats_query' LANGUAGE C STRICT ROWS 1;

COMMENT ON FUNCTION vdb.stat_query(oid) IS 'what vdb_stat_query shows of an index';

CREATE VIEW vdb_stat_index AS
	SELECT t.oid AS relid, i.oid AS indexrelid, n.nspname AS schemaname, t.relname,
		i.relname AS indexrelname, a.amname, s.*, vdb.pending(i.oid) AS pending
	FROM pg_index x
		JOIN pg_class i ON i.oid = x.indexrelid
		JOIN pg_class t ON t.oid = x.indrelid
		JOIN pg_namespace n ON n.oid = t.relnamespace
		JOIN pg_am a ON a.oid = i.relam
		CROSS JOIN LATERAL vdb.stat_index(i.oid) s
	WHERE a.amname IN ('hnsw', 'ivfflat', 'ivfpq');

COMMENT ON VIEW vdb_stat_index IS 'what was done with each index of this extension';

CREATE VIEW vdb_stat_query AS
	SELECT t.oid AS relid, i.oid AS indexrelid, n.nspname AS schemaname, t.relname,
		i.relname AS indexrelname, a.amname, s.*
	FROM pg_index x
		JOIN pg_class i ON i.oid = x.indexrelid
		JOIN pg_class t ON t.oid = x.indrelid
		JOIN pg_namespace n ON n.oid = t.relnamespace
		JOIN pg_am a ON a.oid = i.relam
		CROSS JOIN LATERAL vdb.stat_query(i.oid) s
	WHERE a.amname IN ('hnsw', 'ivfflat', 'ivfpq');

COMMENT ON VIEW vdb_stat_query IS 'how long scans of each index of this extension took, in seconds';

GRANT SELECT ON vdb_stat_index, vdb_stat_query TO PUBLIC;

CREATE FUNCTION vdb_stat_table(OUT room integer, OUT used integer, OUT not_counted bigint)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_stats_table' LANGUAGE C ROWS 1;

COMMENT ON FUNCTION vdb_stat_table() IS
	'how many indexes statistics may be kept of, are kept of, and what was not counted';

CREATE FUNCTION vdb_stat_reset() RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_stats_reset' LANGUAGE C;

COMMENT ON FUNCTION vdb_stat_reset() IS 'forgets the statistics of all indexes of this database';

CREATE FUNCTION vdb_stat_reset(index regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_stats_reset' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb_stat_reset(regclass) IS 'forgets the statistics of an index';

REVOKE ALL ON FUNCTION vdb_stat_reset(), vdb_stat_reset(regclass) FROM PUBLIC;

/*
 * Maintenance, by background workers where the library is preloaded
 */

CREATE FUNCTION vdb.maintain(index regclass, OUT work text, OUT done boolean, OUT reason text)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_worker_maintain' LANGUAGE C STRICT;

COMMENT ON FUNCTION vdb.maintain(regclass) IS
	'does what an index needs, as background workers do, and says what else it needs';

CREATE FUNCTION vdb.worker_stat(
	OUT kind text, OUT pid integer, OUT datid oid, OUT datname text, OUT work text,
	OUT indexrelid oid, OUT index text, OUT since timestamptz, OUT rounds bigint,
	OUT vacuums bigint, OUT clean_ups bigint, OUT calibrations bigint, OUT recalls bigint,
	OUT reindexes bigint, OUT mirrors bigint, OUT drops bigint, OUT failures bigint,
	OUT last_error text, OUT last_error_at timestamptz)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_worker_stat' LANGUAGE C STRICT;

CREATE VIEW vdb_stat_worker AS SELECT * FROM vdb.worker_stat();

COMMENT ON VIEW vdb_stat_worker IS
	'the processes that look after indexes, what they do, and what they have done since the server began';

GRANT SELECT ON vdb_stat_worker TO PUBLIC;

/*
 * Pipelines: embeddings that follow their rows, where the library is preloaded
 */

CREATE TABLE vdb.pipeline (
	id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	name name NOT NULL UNIQUE,
	owner regrole NOT NULL,

	-- what is wanted
	source regclass NOT NULL,
	key name NOT NULL,
	content name NOT NULL,
	target regclass NOT NULL,
	target_key name NOT NULL,
	embedding name NOT NULL,
	mode text NOT NULL CHECK (mode IN ('function', 'claim', 'copy')),
	embed text CHECK ((embed IS NOT NULL) = (mode = 'function')),
	model_version text,
	version_of integer REFERENCES vdb.pipeline,
	batch_size integer NOT NULL CHECK (batch_size BETWEEN 1 AND 10000),
	timeout interval NOT NULL CHECK (timeout > '0'),
	max_attempts integer NOT NULL CHECK (max_attempts > 0),
	queue_limit bigint NOT NULL CHECK (queue_limit > 0),

	-- what has become of it
	state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'error', 'overflow')),
	reason text,
	load text DEFAULT 'source' CHECK (load IN ('source', 'orphans')),
	load_after text,
	wait_until timestamptz NOT NULL DEFAULT '-infinity',
	failures integer NOT NULL DEFAULT 0,
	last_error text,
	last_error_at timestamptz,
	source_file oid,
	content_number smallint
);

COMMENT ON TABLE vdb.pipeline IS 'which embeddings follow which rows, and how that goes';
COMMENT ON COLUMN vdb.pipeline.load IS 'what is being gone through: the rows of the source, or those of the target that the source no longer has';
COMMENT ON COLUMN vdb.pipeline.load_after IS 'the last key that was';
COMMENT ON COLUMN vdb.pipeline.source_file IS 'the file that the source had when it was looked at: a statement that rewrites a table logs no changes of rows';
COMMENT ON COLUMN vdb.pipeline.content_number IS 'the number that the content had among the columns';
COMMENT ON COLUMN vdb.pipeline.failures IS 'calls that found the model away, in a row';

CREATE FUNCTION vdb.pipeline_inserted() RETURNS trigger
	AS 'MODULE_PATHNAME', 'vdb_ingest_pipeline_inserted' LANGUAGE C;

COMMENT ON FUNCTION vdb.pipeline_inserted() IS 'has pipelines that were restored begin anew, and tells the processes';

REVOKE ALL ON FUNCTION vdb.pipeline_inserted() FROM PUBLIC;

CREATE TRIGGER inserted BEFORE INSERT ON vdb.pipeline
	FOR EACH ROW EXECUTE FUNCTION vdb.pipeline_inserted();

CREATE SEQUENCE vdb.ingest_lease;

CREATE TABLE vdb.ingest_queue (
	pipeline integer NOT NULL,
	key text COLLATE "C" NOT NULL,
	lsn pg_lsn NOT NULL,
	changed_at timestamptz NOT NULL,
	backfill boolean NOT NULL DEFAULT false,
	due timestamptz NOT NULL,
	attempts integer NOT NULL DEFAULT 0,
	lease bigint,
	leased_at timestamptz,
	leased_lsn pg_lsn,
	leased_hash text,
	PRIMARY KEY (pipeline, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000,
	autovacuum_vacuum_cost_delay = 0);

-- Statistics would be of a time when the queue was empty, or full, or another pipeline's.  Without, the planner
-- takes a pipeline to have a share of the rows that are there.
ALTER TABLE vdb.ingest_queue ALTER pipeline SET STATISTICS 0, ALTER key SET STATISTICS 0,
	ALTER backfill SET STATISTICS 0, ALTER due SET STATISTICS 0, ALTER lease SET STATISTICS 0;

CREATE INDEX ingest_queue_due ON vdb.ingest_queue (pipeline, backfill, due);

COMMENT ON TABLE vdb.ingest_queue IS 'keys of rows whose embeddings are to be made';

CREATE TABLE vdb.ingest_dead (
	pipeline integer NOT NULL,
	key text COLLATE "C" NOT NULL,
	error text NOT NULL,
	attempts integer NOT NULL,
	changed_at timestamptz NOT NULL,
	died_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (pipeline, key)
);

ALTER TABLE vdb.ingest_dead ALTER pipeline SET STATISTICS 0, ALTER key SET STATISTICS 0;

COMMENT ON TABLE vdb.ingest_dead IS 'keys of rows that were given up, and why';

SELECT pg_catalog.pg_extension_config_dump('vdb.pipeline', '');
SELECT pg_catalog.pg_extension_config_dump('vdb.pipeline_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('vdb.ingest_dead', '');

CREATE FUNCTION vdb.create_pipeline(name name, source regclass, key name, content name, target regclass,
	embed regprocedure DEFAULT NULL, target_key name DEFAULT NULL, embedding name DEFAULT 'embedding',
	model_version text DEFAULT NULL, batch_size integer DEFAULT 64, timeout interval DEFAULT '1 min',
	max_attempts integer DEFAULT 5, queue_limit bigint DEFAULT 1000000)
	RETURNS integer AS 'MODULE_PATHNAME', 'vdb_ingest_create_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.create_pipeline(name, regclass, name, name, regclass, regprocedure, name, name, text, integer, interval, integer, bigint) IS
	'has embeddings in a target follow a column of a source';

CREATE FUNCTION vdb.alter_pipeline(name name, content name DEFAULT NULL, embed regprocedure DEFAULT NULL,
	model_version text DEFAULT NULL, owner regrole DEFAULT NULL, batch_size integer DEFAULT NULL,
	timeout interval DEFAULT NULL, max_attempts integer DEFAULT NULL, queue_limit bigint DEFAULT NULL)
	RETURNS void AS 'MODULE_PATHNAME', 'vdb_ingest_alter_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.alter_pipeline(name, name, regprocedure, text, regrole, integer, interval, integer, bigint) IS
	'changes what is given of a pipeline';

CREATE FUNCTION vdb.pause_pipeline(name name) RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_ingest_pause_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.pause_pipeline(name) IS 'has a pipeline embed nothing until it is resumed';

CREATE FUNCTION vdb.resume_pipeline(name name) RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_ingest_resume_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.resume_pipeline(name) IS
	'has a pipeline go on that was paused, whose definition was wrong, or whose queue was full';

CREATE FUNCTION vdb.resync_pipeline(name name) RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_ingest_resync_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.resync_pipeline(name) IS 'has all rows of a pipeline looked at';

CREATE FUNCTION vdb.retry_pipeline(name name) RETURNS bigint
	AS 'MODULE_PATHNAME', 'vdb_ingest_retry_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.retry_pipeline(name) IS 'has rows tried again that were given up, and says how many';

CREATE FUNCTION vdb.drop_pipeline(name name) RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_ingest_drop_pipeline' LANGUAGE C;

COMMENT ON FUNCTION vdb.drop_pipeline(name) IS 'ends a pipeline; its target stays';

CREATE FUNCTION vdb.add_pipeline_version(pipeline name, model_version text, embed regprocedure, target regclass)
	RETURNS integer AS 'MODULE_PATHNAME', 'vdb_ingest_add_version' LANGUAGE C;

COMMENT ON FUNCTION vdb.add_pipeline_version(name, text, regprocedure, regclass) IS
	'fills another table with embeddings of another model, beside the first';

CREATE FUNCTION vdb.compare_pipeline_versions(pipeline name, model_version text, sample integer DEFAULT 100,
	k integer DEFAULT 10, operator text DEFAULT '<=>', OUT compared integer, OUT overlap double precision)
	AS 'MODULE_PATHNAME', 'vdb_ingest_compare_versions' LANGUAGE C;

COMMENT ON FUNCTION vdb.compare_pipeline_versions(name, text, integer, integer, text) IS
	'which share of the k nearest neighbours of rows a pipeline and a version of it have in common';

CREATE FUNCTION vdb.promote_pipeline_version(pipeline name, model_version text, force boolean DEFAULT false)
	RETURNS void AS 'MODULE_PATHNAME', 'vdb_ingest_promote_version' LANGUAGE C;

COMMENT ON FUNCTION vdb.promote_pipeline_version(name, text, boolean) IS
	'swaps a pipeline and a version of it, with the names of their targets';

CREATE FUNCTION vdb.retire_pipeline_version(pipeline name, model_version text, drop_target boolean DEFAULT false)
	RETURNS void AS 'MODULE_PATHNAME', 'vdb_ingest_retire_version' LANGUAGE C;

COMMENT ON FUNCTION vdb.retire_pipeline_version(name, text, boolean) IS 'ends a version of a pipeline';

CREATE FUNCTION vdb.claim(pipeline name, n integer DEFAULT 64, lease interval DEFAULT '1 min',
	OUT lease bigint, OUT key text, OUT content text)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_ingest_claim' LANGUAGE C ROWS 64;

COMMENT ON FUNCTION vdb.claim(name, integer, interval) IS 'leases rows that are to be embedded';

CREATE FUNCTION vdb.complete(lease bigint, keys text[], embeddings vector[]) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_ingest_complete' LANGUAGE C;

COMMENT ON FUNCTION vdb.complete(bigint, text[], vector[]) IS
	'stores embeddings of rows that are still leased, and says how many';

CREATE FUNCTION vdb.fail(lease bigint, keys text[], error text, retry_after interval DEFAULT NULL) RETURNS integer
	AS 'MODULE_PATHNAME', 'vdb_ingest_fail' LANGUAGE C;

COMMENT ON FUNCTION vdb.fail(bigint, text[], text, interval) IS
	'gives rows back that could not be embedded; with retry_after, it was not their fault';

CREATE FUNCTION vdb.ingest_counters(
	pipeline integer, OUT captured bigint, OUT embedded bigint, OUT skipped bigint, OUT deleted bigint,
	OUT failed bigint, OUT dead bigint, OUT retries bigint, OUT rate_limited bigint, OUT batches bigint,
	OUT batch_ms bigint, OUT freshness_bounds double precision[], OUT freshness_buckets bigint[],
	OUT freshness_sum double precision, OUT freshness_p50 double precision, OUT freshness_p99 double precision)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_ingest_counters' LANGUAGE C STRICT ROWS 1;

COMMENT ON FUNCTION vdb.ingest_counters(integer) IS 'what vdb_stat_ingest shows of what a pipeline did';

CREATE FUNCTION vdb.capture_progress(
	OUT pid integer, OUT captured_lsn pg_lsn, OUT confirmed_lsn pg_lsn, OUT caught_up_at timestamptz)
	RETURNS SETOF record AS 'MODULE_PATHNAME', 'vdb_ingest_progress' LANGUAGE C STRICT ROWS 1;

COMMENT ON FUNCTION vdb.capture_progress() IS 'how far this database''s log has been read for pipelines';

-- a barrier, lest a condition of the reader's is asked of other people's rows, whose errors may show data
CREATE VIEW vdb_stat_ingest WITH (security_barrier) AS
	SELECT p.id, p.name, p.owner::regrole AS owner, p.mode, p.state, p.reason, p.load,
		w.captured_lsn, w.confirmed_lsn,
		CASE WHEN NOT pg_catalog.pg_is_in_recovery()
			THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), w.confirmed_lsn) END AS wal_lag_bytes,
		extract(epoch FROM pg_catalog.clock_timestamp() - w.caught_up_at)::double precision AS wal_lag_seconds,
		q.queued, q.backfill, p.queue_limit,
		extract(epoch FROM pg_catalog.clock_timestamp() - q.oldest)::double precision AS oldest_seconds,
		d.dead AS dead_letters,
		c.captured, c.embedded, c.skipped, c.deleted, c.failed, c.dead, c.retries, c.rate_limited, c.batches,
		c.batch_ms, c.freshness_bounds, c.freshness_buckets, c.freshness_sum, c.freshness_p50, c.freshness_p99,
		p.failures AS failures_in_a_row, nullif(p.wait_until, '-infinity') AS wait_until, p.last_error, p.last_error_at
	FROM vdb.pipeline p
		LEFT JOIN vdb.capture_progress() w ON true
		LEFT JOIN LATERAL vdb.ingest_counters(p.id) c ON true
		CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE NOT e.backfill) AS queued,
				count(*) FILTER (WHERE e.backfill) AS backfill, min(e.changed_at) FILTER (WHERE NOT e.backfill) AS oldest
			FROM vdb.ingest_queue e WHERE e.pipeline = p.id) q
		CROSS JOIN LATERAL (SELECT count(*) AS dead FROM vdb.ingest_dead e WHERE e.pipeline = p.id) d
	WHERE pg_catalog.pg_has_role(p.owner, 'USAGE') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE');

COMMENT ON VIEW vdb_stat_ingest IS
	'how far each pipeline is behind, and what has been done since the server began; of whoever reads it, or all to pg_read_all_stats';

GRANT SELECT ON vdb_stat_ingest TO PUBLIC;

-- keys are data, so not to pg_read_all_stats
CREATE VIEW vdb.dead_letters WITH (security_barrier) AS
	SELECT p.name AS pipeline, d.key, d.error, d.attempts, d.changed_at, d.died_at
	FROM vdb.ingest_dead d JOIN vdb.pipeline p ON p.id = d.pipeline
	WHERE pg_catalog.pg_has_role(p.owner, 'USAGE');

COMMENT ON VIEW vdb.dead_letters IS 'keys of rows that were given up, and why, of the reader''s pipelines';

GRANT SELECT ON vdb.dead_letters TO PUBLIC;

CREATE FUNCTION vdb_stat_ingest_reset() RETURNS void
	AS 'MODULE_PATHNAME', 'vdb_ingest_reset' LANGUAGE C;

COMMENT ON FUNCTION vdb_stat_ingest_reset() IS 'forgets what was counted of all pipelines of this database';

REVOKE ALL ON FUNCTION vdb_stat_ingest_reset() FROM PUBLIC;

/*
 * The built-in embedder
 */

CREATE FUNCTION vdb.hash_embed(content text, dims integer) RETURNS vector
	AS 'MODULE_PATHNAME', 'vdb_ingest_hash_embed' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION vdb.hash_embed(text, integer) IS
	'an embedding by feature hashing of words and parts of words, for tests and demos';

CREATE FUNCTION vdb.hash_embed(contents text[], dims integer) RETURNS vector[]
	AS 'MODULE_PATHNAME', 'vdb_ingest_hash_embed_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION vdb.hash_embed(text[], integer) IS
	'the same for each element of an array';
