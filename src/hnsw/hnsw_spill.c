/*
 * hnsw_spill.c
 *	  What a build keeps in temporary files: rows as codes, and sorted runs.
 */
#include "postgres.h"

#include <fcntl.h>

#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "executor/tuptable.h"

#include "compat.h"
#include "hnsw/hnsw_spill.h"

static void
init_rows(HnswRowFile *rows, Size row_bytes, BufFile *file)
{
	rows->file = file;
	rows->row_bytes = row_bytes;
	rows->count = 0;
	rows->row = palloc0(rows->row_bytes);
}

void
vdb_hnsw_rows_create(HnswRowFile *rows, Size row_bytes)
{
	init_rows(rows, row_bytes, BufFileCreateTemp(false));
}

void
vdb_hnsw_rows_create_shared(HnswRowFile *rows, Size row_bytes, FileSet *files, const char *name)
{
	init_rows(rows, row_bytes, BufFileCreateFileSet(files, name));
}

void
vdb_hnsw_rows_export(HnswRowFile *rows)
{
	BufFileExportFileSet(rows->file);
	vdb_hnsw_rows_close(rows);
}

void
vdb_hnsw_rows_open(HnswRowFile *rows, Size row_bytes, FileSet *files, const char *name)
{
	init_rows(rows, row_bytes, BufFileOpenFileSet(files, name, O_RDONLY, false));
	rows->count = BufFileSize(rows->file) / rows->row_bytes;
}

void
vdb_hnsw_rows_write(HnswRowFile *rows)
{
	BufFileWrite(rows->file, rows->row, rows->row_bytes);
	rows->count++;
}

void
vdb_hnsw_rows_read(HnswRowFile *rows, uint64 number)
{
	if (BufFileSeek(rows->file, 0, (off_t) (number * rows->row_bytes), SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not seek in a temporary file of an index build: %m")));
	vdb_hnsw_rows_next(rows);
}

void
vdb_hnsw_rows_next(HnswRowFile *rows)
{
	Size		read = BufFileRead(rows->file, rows->row, rows->row_bytes);

	if (read != rows->row_bytes)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read a temporary file of an index build: read only %zu of %zu bytes",
						read, rows->row_bytes)));
}

void
vdb_hnsw_rows_close(HnswRowFile *rows)
{
	BufFileClose(rows->file);
	pfree(rows->row);
}

HnswSorter *
vdb_hnsw_sorter_create(int memory)
{
	HnswSorter *sorter = palloc0(sizeof(HnswSorter));
	AttrNumber	key = 1;
	Oid			less = Int8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	sorter->desc = CreateTemplateTupleDesc(2);
	TupleDescInitEntry(sorter->desc, 1, "key", INT8OID, -1, 0);
	TupleDescInitEntry(sorter->desc, 2, "data", BYTEAOID, -1, 0);
	sorter->in = MakeSingleTupleTableSlot(sorter->desc, &TTSOpsVirtual);
	sorter->out = MakeSingleTupleTableSlot(sorter->desc, &TTSOpsMinimalTuple);
	sorter->state = tuplesort_begin_heap(sorter->desc, 1, &key, &less, &collation, &nulls_first,
										 Max(memory, 64), NULL, TUPLESORT_NONE);
	return sorter;
}

void
vdb_hnsw_sorter_put(HnswSorter *sorter, uint64 key, bytea *data)
{
	TupleTableSlot *slot = sorter->in;

	ExecClearTuple(slot);
	slot->tts_values[0] = Int64GetDatum((int64) key);
	slot->tts_values[1] = PointerGetDatum(data);
	slot->tts_isnull[0] = slot->tts_isnull[1] = false;
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(sorter->state, slot);
}

void
vdb_hnsw_sorter_start(HnswSorter *sorter)
{
	tuplesort_performsort(sorter->state);
	vdb_hnsw_sorter_next(sorter);
}

void
vdb_hnsw_sorter_next(HnswSorter *sorter)
{
	bytea	   *data;

	sorter->ended = !tuplesort_gettupleslot(sorter->state, true, false, sorter->out, NULL);
	if (sorter->ended)
		return;
	slot_getallattrs(sorter->out);
	sorter->key = (uint64) DatumGetInt64(sorter->out->tts_values[0]);
	data = (bytea *) DatumGetPointer(sorter->out->tts_values[1]);
	sorter->size = VARSIZE_ANY_EXHDR(data);
	sorter->bytes = VARDATA_ANY(data);
}

void
vdb_hnsw_sorter_free(HnswSorter *sorter)
{
	tuplesort_end(sorter->state);
	ExecDropSingleTupleTableSlot(sorter->in);
	ExecDropSingleTupleTableSlot(sorter->out);
	FreeTupleDesc(sorter->desc);
	pfree(sorter);
}
