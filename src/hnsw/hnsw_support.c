/*
 * hnsw_support.c
 *	  From the values of an indexed column to vectors in code space.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "hnsw/hnsw_private.h"

/*
 * What the function returns is static memory.  An operator class made for another
 * access method of the same name has something else in this place.
 */
const void *
vdb_hnsw_call_support(Relation index, int column, int number)
{
	FmgrInfo   *proc;

	if (!OidIsValid(index_getprocid(index, column, number)))
		return NULL;
	proc = index_getprocinfo(index, column, number);
	if (proc->fn_nargs != 1 || get_func_rettype(proc->fn_oid) != INTERNALOID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("support function %s of index \"%s\" is not one of vdb's",
						format_procedure(proc->fn_oid), RelationGetRelationName(index)),
				 errhint("Use one of the operator classes of extension vdb.")));
	return DatumGetPointer(FunctionCall1(proc, PointerGetDatum(NULL)));
}

const HnswSupport *
vdb_hnsw_support(Relation index)
{
	const HnswSupport *support = vdb_hnsw_call_support(index, 1, HNSW_SUPPORT_PROC);

	if (support == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("first column of hnsw index \"%s\" has no distance",
						RelationGetRelationName(index)),
				 errhint("Name the vector first, then the columns that conditions are about.")));
	return support;
}

void
vdb_hnsw_init_codec(VdbCodec *codec, const HnswSupport *support, uint32 dims, uint32 entries,
					uint32 node_coarse, uint64 seed, const float *center)
{
	switch (support->kind)
	{
		case VDB_CODEC_DENSE:
			vdb_codec_init(codec, support->metric, dims, seed, center);
			vdb_codec_set_node_coarse(codec, node_coarse);
			break;
		case VDB_CODEC_BINARY:
			vdb_codec_init_binary(codec, support->metric, dims);
			break;
		case VDB_CODEC_SPARSE:
			vdb_codec_init_sparse(codec, support->metric, dims, entries);
			break;
	}
}

HnswValue
vdb_hnsw_read_value(const HnswSupport *support, uint32 dims, Datum value)
{
	Datum		plain = PointerGetDatum(PG_DETOAST_DATUM(value));

	if (support->dims(plain) != dims)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %u dimensions, not %u", dims, support->dims(plain))));
	return support->read(plain);
}

void *
vdb_hnsw_transform(const HnswSupport *support, const VdbCodec *codec, Datum value, float *norm)
{
	HnswValue	v = vdb_hnsw_read_value(support, codec->dims, value);
	void	   *out = NULL;

	*norm = 0;
	switch (codec->kind)
	{
		case VDB_CODEC_DENSE:
			out = palloc(codec->vector_bytes);
			*norm = vdb_codec_transform(codec, v.elements, out);
			break;
		case VDB_CODEC_BINARY:
			out = palloc(codec->vector_bytes);
			vdb_codec_transform_binary(codec, v.bits, out);
			break;
		case VDB_CODEC_SPARSE:
			out = palloc(vdb_sparse_size(v.count));
			*norm = vdb_codec_transform_sparse(codec, v.count, v.index, v.elements, out);
			break;
	}

	/* no angle to anything: not indexed, as in a sequential scan's last place */
	if (codec->metric == VDB_METRIC_COSINE && !(*norm > 0))
	{
		pfree(out);
		return NULL;
	}
	return out;
}

/* Does an index's code tell all of a vector, but for rounding? */
static bool
is_told(const HnswIndex *index, const void *vector)
{
	const VdbCodec *codec = &index->codec;

	if (codec->kind == VDB_CODEC_SPARSE)
		return ((const VdbSparse *) vector)->count <= codec->P;
	return vdb_codec_hot_is_whole(codec) || index->geometry.node_bits != 0;
}

uint32
vdb_hnsw_hash_value(const HnswIndex *index, const void *vector, Datum value)
{
	struct varlena *bytes = (struct varlena *) DatumGetPointer(value);
	uint64		hash;

	if (!is_told(index, vector))
		return 0;
	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(bytes),
							   VARSIZE_ANY_EXHDR(bytes), index->incarnation);
	return Max((uint32) (hash ^ hash >> 32), 1);
}
