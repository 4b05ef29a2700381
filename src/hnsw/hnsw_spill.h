/*
 * hnsw_spill.h
 *	  What a build keeps in temporary files: rows as codes, and sorted runs.
 *
 * Files go when the transaction ends, however it does.  They count towards
 * temp_file_limit and lie in temp_tablespaces.
 */
#ifndef VDB_HNSW_SPILL_H
#define VDB_HNSW_SPILL_H

#include "storage/buffile.h"
#include "storage/itemptr.h"
#include "utils/tuplesort.h"

#include "quant/codec.h"

/*
 * A row without what it was made of.  Followed by hi_bytes, then lo_bytes, then its
 * attributes.
 */
typedef struct HnswRow
{
	VdbNodeFactors factors;
	ItemPointerData tid;
	uint16		reserved;		/* 0 */
	uint32		hash;			/* of the value */
} HnswRow;

/* Rows one after the other in a temporary file, all of the same length. */
typedef struct HnswRowFile
{
	BufFile    *file;
	Size		row_bytes;
	uint64		count;
	HnswRow    *row;			/* the one written or read last */
} HnswRowFile;

static inline uint8 *
vdb_hnsw_row_hi(HnswRow *row)
{
	return (uint8 *) (row + 1);
}

static inline uint8 *
vdb_hnsw_row_lo(const VdbCodec *codec, HnswRow *row)
{
	return vdb_hnsw_row_hi(row) + codec->hi_bytes;
}

static inline uint8 *
vdb_hnsw_row_attributes(const VdbCodec *codec, HnswRow *row)
{
	return vdb_hnsw_row_lo(codec, row) + codec->lo_bytes;
}

/* Bytes of a row with so many of attributes. */
static inline Size
vdb_hnsw_row_bytes(const VdbCodec *codec, uint32 attr_bytes)
{
	return sizeof(HnswRow) + codec->hi_bytes + codec->lo_bytes + attr_bytes;
}

/* An empty file of this process; rows: in the current context, as all of it. */
extern void vdb_hnsw_rows_create(HnswRowFile *rows, Size row_bytes);

/*
 * The same for one that other processes can open by its name: after the export,
 * which ends writing and closes it here.
 */
extern void vdb_hnsw_rows_create_shared(HnswRowFile *rows, Size row_bytes, FileSet *files,
										const char *name);
extern void vdb_hnsw_rows_export(HnswRowFile *rows);
extern void vdb_hnsw_rows_open(HnswRowFile *rows, Size row_bytes, FileSet *files,
							   const char *name);

/* Appends rows->row. */
extern void vdb_hnsw_rows_write(HnswRowFile *rows);

/* Reads the row of a number, or the next, to rows->row. */
extern void vdb_hnsw_rows_read(HnswRowFile *rows, uint64 number);
extern void vdb_hnsw_rows_next(HnswRowFile *rows);
extern void vdb_hnsw_rows_close(HnswRowFile *rows);

/*
 * Sorts items, each a key and some bytes, by key; of equal keys in any order.
 * memory: kilobytes at most, the rest goes to temporary files.
 */
typedef struct HnswSorter
{
	Tuplesortstate *state;
	TupleDesc	desc;
	TupleTableSlot *in;
	TupleTableSlot *out;

	/* the item at which reading stands */
	bool		ended;			/* there is none */
	uint64		key;
	Size		size;
	const char *bytes;			/* not aligned; until the next one is read */
} HnswSorter;

extern HnswSorter *vdb_hnsw_sorter_create(int memory);

/* key: below 2^63.  data: a varlena of which the bytes are the content. */
extern void vdb_hnsw_sorter_put(HnswSorter *sorter, uint64 key, bytea *data);

/* Ends putting, and goes to the first item. */
extern void vdb_hnsw_sorter_start(HnswSorter *sorter);
extern void vdb_hnsw_sorter_next(HnswSorter *sorter);
extern void vdb_hnsw_sorter_free(HnswSorter *sorter);

#endif							/* VDB_HNSW_SPILL_H */
