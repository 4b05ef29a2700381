/*
 * hnsw_support.c
 *	  What the access method must know of an operator class: how a value
 *	  becomes floats, and what its operator computes.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "hnsw/hnsw_private.h"
#include "types/vector.h"

static const float *
vector_elements(Datum value, int *dims, void **must_free)
{
	VdbVector  *vector = DatumGetVdbVectorP(value);

	*must_free = (Pointer) vector == DatumGetPointer(value) ? NULL : vector;
	*dims = vector->dim;
	return vector->x;
}

static const HnswSupport vector_l2 = {
	"vector", VDB_METRIC_L2, HNSW_MAX_DIMS, vector_elements, vdb_vector_distance_l2
};
static const HnswSupport vector_ip = {
	"vector", VDB_METRIC_IP, HNSW_MAX_DIMS, vector_elements, vdb_vector_distance_ip
};
static const HnswSupport vector_cosine = {
	"vector", VDB_METRIC_COSINE, HNSW_MAX_DIMS, vector_elements, vdb_vector_distance_cosine
};
static const HnswSupport vector_l1 = {
	"vector", VDB_METRIC_L1, HNSW_MAX_DIMS, vector_elements, vdb_vector_distance_l1
};

/* The support functions of the operator classes: () -> internal */

PG_FUNCTION_INFO_V1(vdb_hnsw_vector_l2_support);
Datum
vdb_hnsw_vector_l2_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&vector_l2);
}

PG_FUNCTION_INFO_V1(vdb_hnsw_vector_ip_support);
Datum
vdb_hnsw_vector_ip_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&vector_ip);
}

PG_FUNCTION_INFO_V1(vdb_hnsw_vector_cosine_support);
Datum
vdb_hnsw_vector_cosine_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&vector_cosine);
}

PG_FUNCTION_INFO_V1(vdb_hnsw_vector_l1_support);
Datum
vdb_hnsw_vector_l1_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&vector_l1);
}

/*
 * The support of an index's operator class; static memory.  An operator class
 * made for another access method of the same name has something else in this
 * place.
 */
const HnswSupport *
vdb_hnsw_support(Relation index)
{
	FmgrInfo   *proc = index_getprocinfo(index, 1, HNSW_SUPPORT_PROC);

	if (proc->fn_nargs != 1 || get_func_rettype(proc->fn_oid) != INTERNALOID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("support function %s of index \"%s\" is not one of vdb's",
						format_procedure(proc->fn_oid), RelationGetRelationName(index)),
				 errhint("Use one of the operator classes of extension vdb.")));
	return (const HnswSupport *) DatumGetPointer(FunctionCall1(proc, PointerGetDatum(NULL)));
}

bool
vdb_hnsw_transform(HnswIndex *index, Datum value, float *out, float *norm)
{
	void	   *must_free;
	int			dims;
	const float *x = index->support->elements(value, &dims, &must_free);

	if (dims != (int) index->codec.dims)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %d dimensions, not %d", (int) index->codec.dims, dims)));
	*norm = vdb_codec_transform(&index->codec, x, out);
	if (must_free != NULL)
		pfree(must_free);

	/* no angle to anything: not indexed, as in a sequential scan's last place */
	return index->codec.metric != VDB_METRIC_COSINE || *norm > 0;
}
