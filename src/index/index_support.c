/*
 * index_support.c
 *	  From the values of an indexed column to vectors in code space.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "index/index.h"

/*
 * What the function returns is static memory.  An operator class made for another
 * access method of the same name has something else in this place.
 */
const void *
vdb_index_call_support(Relation index, int column, int number)
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

const VdbSupport *
vdb_index_support(Relation index)
{
	const VdbSupport *support = vdb_index_call_support(index, 1, VDB_SUPPORT_PROC);

	if (support == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("first column of %s index \"%s\" has no distance",
						get_am_name(index->rd_rel->relam), RelationGetRelationName(index)),
				 errhint("Name the vector first, then the columns that conditions are about.")));
	return support;
}

const VdbSupport *
vdb_index_operator_support(Oid operator)
{
	CatCList   *members = SearchSysCacheList1(AMOPOPID, ObjectIdGetDatum(operator));
	Oid			function = InvalidOid;

	for (int i = 0; i < members->n_members && !OidIsValid(function); i++)
	{
		Form_pg_amop member = (Form_pg_amop) GETSTRUCT(&members->members[i]->tuple);
		IndexAmRoutine *method;

		if (member->amoppurpose != AMOP_ORDER || member->amopstrategy != VDB_ORDER_STRATEGY)
			continue;
		method = GetIndexAmRoutineByAmId(member->amopmethod, true);
		if (method != NULL && vdb_index_method(method->amcostestimate) != NULL)
			function = get_opfamily_proc(member->amopfamily, member->amoplefttype, member->amoplefttype, VDB_SUPPORT_PROC);
	}
	ReleaseSysCacheList(members);
	if (!OidIsValid(function) || get_func_nargs(function) != 1 || get_func_rettype(function) != INTERNALOID)
		return NULL;
	return (const VdbSupport *) DatumGetPointer(OidFunctionCall1(function, PointerGetDatum(NULL)));
}

uint64
vdb_index_random_seed(const VdbSupport *support)
{
	uint64		seed = 0;

	/* city-block distance does not survive a rotation, nor do zeros and ones */
	while (seed == 0 && support->kind == VDB_CODEC_DENSE && support->metric != VDB_METRIC_L1)
		seed = pg_prng_uint64(&pg_global_prng_state);
	return seed;
}

void
vdb_index_init_codec(VdbCodec *codec, const VdbSupport *support, uint32 dims, uint32 entries,
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

VdbValue
vdb_index_read_value(const VdbSupport *support, uint32 dims, Datum value)
{
	Datum		plain = PointerGetDatum(PG_DETOAST_DATUM(value));

	if (support->dims(plain) != dims)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("expected %u dimensions, not %u", dims, support->dims(plain))));
	return support->read(plain);
}

void *
vdb_index_transform(const VdbSupport *support, const VdbCodec *codec, Datum value, float *norm)
{
	VdbValue	v = vdb_index_read_value(support, codec->dims, value);
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

int
vdb_index_column_dims(Relation rel, const VdbSupport *support)
{
	int			dims = TupleDescAttr(rel->rd_att, 0)->atttypmod;
	const char *method = get_am_name(rel->rd_rel->relam);

	/* accepted by the operator classes of bit, as one can stand for the other */
	if (TupleDescAttr(rel->rd_att, 0)->atttypid == VARBITOID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type not supported for %s index", method),
				 errdetail("The length of type bit varying is not fixed."),
				 errhint("Use bit(n), or index an expression: ((column)::bit(n)).")));
	if (dims < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column does not have dimensions"),
				 rel->rd_index->indkey.values[0] == 0 ?
				 errhint("Cast the expression to %s(n).", support->type_name) :
				 errhint("Declare it as %s(n).", support->type_name)));
	if (dims > support->max_dims)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column cannot have more than %d dimensions for %s index",
						support->max_dims, method)));
	return dims;
}

void
vdb_index_check_dims(const VdbSupport *support, uint32 dims, Datum query)
{
	uint32		found = support->dims(query);

	if (found != dims)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different %s %s %u and %u", support->type_name,
						support->kind == VDB_CODEC_BINARY ? "lengths" : "dimensions", found, dims)));
}

Size
vdb_index_maintenance_memory(void)
{
	int			kilobytes = maintenance_work_mem;

	if (MyBackendType == B_AUTOVAC_WORKER && autovacuum_work_mem != -1)
		kilobytes = autovacuum_work_mem;
	return (Size) kilobytes * 1024;
}
