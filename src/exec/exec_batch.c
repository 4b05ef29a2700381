/*
 * exec_batch.c
 *	  vdb.search_batch(): the nearest rows of many queries, in one pass over the table.
 *
 * An index says which table, which expression, which rows of it and which distance; it is not
 * scanned.  Rows come from a query of the user's, run by the server: so privileges, row
 * security and the snapshot are what they are for any query of his.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

#include "compat.h"
#include "exec/exec_block.h"
#include "exec/exec_private.h"
#include "mirror/mirror.h"

/* Columns of the statement that finds rows. */
enum
{
	ROW_TID,
	ROW_VALUE
};

typedef struct RowReceiver
{
	DestReceiver pub;			/* first: the server's */
	VdbBlock   *block;
} RowReceiver;

/* Where the rows are: as SQL text that means the same in this session, whatever its search_path. */
static char *
form_statement(Relation heap, Relation index)
{
	Datum		indexed;
	Datum		predicate;
	bool		isnull;
	StringInfoData sql;

	/*
	 * The server qualifies a name unless the search_path that is in force, now and when the text is read,
	 * finds what it is to mean.  With another path for this it would leave out pg_catalog, which may not
	 * come first in the user's.
	 */
	indexed = DirectFunctionCall3(pg_get_indexdef_ext, ObjectIdGetDatum(RelationGetRelid(index)),
								  Int32GetDatum(1), BoolGetDatum(false));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT ctid, %s FROM ONLY %s", TextDatumGetCString(indexed),
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(heap)),
												RelationGetRelationName(heap)));
	predicate = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, Anum_pg_index_indpred, &isnull);
	if (!isnull)
		appendStringInfo(&sql, " WHERE %s",
						 TextDatumGetCString(DirectFunctionCall2(pg_get_expr, predicate,
																 ObjectIdGetDatum(RelationGetRelid(heap)))));
	return sql.data;
}

/* Raises unless the user may have the index's distance computed. */
static void
check_operator(Relation index)
{
	Oid			type = index->rd_opcintype[0];
	Oid			operator = get_opfamily_member(index->rd_opfamily[0], type, type, VDB_ORDER_STRATEGY);

	if (!OidIsValid(operator))
		elog(ERROR, "operator family %u has no distance for type %u", index->rd_opfamily[0], type);
	vdb_exec_check_function(get_opcode(operator));
}

static void
check_queries(Relation index, ArrayType *queries)
{
	Oid			type = ARR_ELEMTYPE(queries);

	if (ARR_NDIM(queries) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("queries must be an array of one dimension, not of %d", ARR_NDIM(queries))));
	if (!IsBinaryCoercible(type, index->rd_opcintype[0]))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("index \"%s\" is of type %s, queries are of type %s", RelationGetRelationName(index),
						format_type_be(index->rd_opcintype[0]), format_type_be(type)),
				 errhint("Cast the queries: queries::%s[].", format_type_be(index->rd_opcintype[0]))));
}

/* Raises unless there is memory for so many nearest rows. */
static void
check_memory(int queries, int k)
{
	Size		bytes = work_mem * (Size) 1024;

	if ((uint64) queries * k > bytes / sizeof(VdbNearRow))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("nearest rows of all queries do not fit into \"work_mem\""),
				 errdetail("Queries: %d, \"k\": %d, bytes a row: %zu, \"work_mem\": %d kB.", queries, k, sizeof(VdbNearRow), work_mem),
				 errhint("Ask for fewer rows, or fewer queries at a time, or raise \"work_mem\".")));
}

/* Queries other than nulls, detoasted, with room for k rows each; returns how many.  Raises where dimensions are others. */
static int
take_queries(ArrayType *array, const VdbSupport *support, uint32 dims, int k, VdbBatchQuery **queries)
{
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *values;
	bool	   *nulls;
	int			count;
	int			taken = 0;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &values, &nulls, &count);
	check_memory(count, k);
	*queries = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(VdbBatchQuery));
	for (int i = 0; i < count; i++)
	{
		VdbBatchQuery *query = &(*queries)[taken];

		if (nulls[i])
			continue;
		*query = (VdbBatchQuery) {
			.number = i + 1,
			.value = PointerGetDatum(PG_DETOAST_DATUM(values[i])),
			.nearest.k = k
		};
		vdb_index_check_dims(support, dims, query->value);
		query->nearest.rows = MemoryContextAllocHuge(CurrentMemoryContext, (Size) k * sizeof(VdbNearRow));
		taken++;
	}
	return taken;
}

/* --- a DestReceiver's functions --- */

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	VdbBlock   *block = ((RowReceiver *) self)->block;

	slot_getallattrs(slot);
	if (!slot->tts_isnull[ROW_VALUE] &&
		!vdb_block_add(block, (ItemPointer) DatumGetPointer(slot->tts_values[ROW_TID]), slot->tts_values[ROW_VALUE]))
		vdb_index_check_dims(block->support, block->dims, PointerGetDatum(PG_DETOAST_DATUM(slot->tts_values[ROW_VALUE])));
	return true;
}

static void
start_receiver(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end_receiver(DestReceiver *self)
{
}

/* Runs a statement as the user, for rows that the query's snapshot sees, of which the block is told; NULL: there are none. */
static void
read_rows(const char *sql, VdbBlock *block)
{
	RowReceiver receiver = {
		.pub = {
			.receiveSlot = receive_row,
			.rStartup = start_receiver,
			.rShutdown = end_receiver,
			.rDestroy = end_receiver,
			.mydest = DestNone
		},
		.block = block
	};
	SPIExecuteOptions options = {.read_only = true, .dest = block == NULL ? None_Receiver : &receiver.pub};
	int			result;

	SPI_connect();
	result = SPI_execute_extended(sql, &options);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	SPI_finish();
}

/* By a mirror, if there is one that will do; false where the table is to be read. */
static bool
search_mirror(Relation heap, Relation index, const VdbSupport *support, const char *sql, VdbBatchQuery *queries, int count)
{
	double		rows;
	uint32		dims;

	/* whether the user may read them is for the server to say */
	if (!vdb_mirror_is_enabled || !vdb_mirror_find(index, &rows, &dims) ||
		check_enable_rls(RelationGetRelid(heap), InvalidOid, true) == RLS_ENABLED)
		return false;
	read_rows(psprintf("%s LIMIT 0", sql), NULL);
	return vdb_batch_search_mirror(heap, index, support, queries, count);
}

/* query_no, key, distance */
static void
return_rows(FunctionCallInfo fcinfo, const VdbBatchQuery *queries, int count)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		const VdbNearest *nearest = &queries[i].nearest;

		for (int j = 0; j < nearest->count; j++)
		{
			Datum		values[3];
			bool		isnull[3] = {0};

			CHECK_FOR_INTERRUPTS();
			values[0] = Int32GetDatum(queries[i].number);
			values[1] = PointerGetDatum(&nearest->rows[j].tid);
			values[2] = Float8GetDatum(nearest->rows[j].distance);
			tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
		}
	}
}

/* vdb.search_batch(index regclass, queries anyarray, k integer) */
PG_FUNCTION_INFO_V1(vdb_exec_search_batch);
Datum
vdb_exec_search_batch(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	int			k = PG_GETARG_INT32(2);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "vdb batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Relation	heap;
	Relation	index;
	const VdbSupport *support;
	VdbBatchQuery *queries;
	uint32		dims;
	int			count;

	if (k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"k\" must be at least 1")));
	index = vdb_index_open_named(NULL, PG_GETARG_OID(0), AccessShareLock, &heap);
	support = vdb_index_support(index);
	check_operator(index);
	check_queries(index, array);

	old = MemoryContextSwitchTo(context);
	dims = vdb_index_column_dims(index, support);
	count = take_queries(array, support, dims, k, &queries);
	if (count > 0)
	{
		char	   *sql = form_statement(heap, index);

		if (!search_mirror(heap, index, support, sql, queries, count))
		{
			VdbBlock	block;

			vdb_block_init(&block, support, dims, queries, count);
			read_rows(sql, &block);
			vdb_block_finish(&block);
		}
	}
	MemoryContextSwitchTo(old);
	return_rows(fcinfo, queries, count);
	MemoryContextDelete(context);
	index_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return (Datum) 0;
}

/* Says to the planner how many rows that returns. */
PG_FUNCTION_INFO_V1(vdb_exec_batch_support);
Datum
vdb_exec_batch_support(PG_FUNCTION_ARGS)
{
	SupportRequestRows *request = (SupportRequestRows *) PG_GETARG_POINTER(0);
	List	   *args;
	Node	   *k;

	if (!IsA(request, SupportRequestRows) || !is_funcclause(request->node))
		PG_RETURN_POINTER(NULL);
	args = ((FuncExpr *) request->node)->args;
	k = estimate_expression_value(request->root, lthird(args));
	if (!IsA(k, Const) || ((Const *) k)->constisnull)
		PG_RETURN_POINTER(NULL);
	request->rows = vdb_estimate_array_length(request->root, lsecond(args)) *
		(double) Max(DatumGetInt32(((Const *) k)->constvalue), 1);
	PG_RETURN_POINTER(request);
}
