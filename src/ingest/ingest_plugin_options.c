/*
 * ingest_plugin_options.c
 *	  The options of the output plugin, and which tables and columns they choose.
 *
 * Options arrive as text from whoever reads the slot.  One that is unknown, or has a value that
 * means nothing, is an error: a misspelt filter would silently send too much, or nothing.
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "compat.h"
#include "ingest/ingest_plugin_private.h"

/* An option whose values are words: the field is an int, their place in the list. */
typedef struct Choice
{
	const char *name;
	size_t		field;
	const char *const *words;
} Choice;

static const char *const format_words[] = {"json", "binary", NULL};
static const char *const vectors_words[] = {"full", "base64", "none", NULL};
static const char *const origin_words[] = {"any", "none", NULL};

static const Choice choices[] = {
	{"format", offsetof(VdbPluginOptions, format), format_words},
	{"vectors", offsetof(VdbPluginOptions, vectors), vectors_words},
	{"origin", offsetof(VdbPluginOptions, origin), origin_words},
};

/* An option that is on or off. */
typedef struct Switch
{
	const char *name;
	size_t		field;
} Switch;

static const Switch switches[] = {
	{"include_truncate", offsetof(VdbPluginOptions, include_truncate)},
	{"include_messages", offsetof(VdbPluginOptions, include_messages)},
	{"include_xids", offsetof(VdbPluginOptions, include_xids)},
	{"include_timestamp", offsetof(VdbPluginOptions, include_timestamp)},
	{"include_lsn", offsetof(VdbPluginOptions, include_lsn)},
	{"include_types", offsetof(VdbPluginOptions, include_types)},
};

/* schema.table, or schema.table.column */
#define TABLE_PARTS 2
#define COLUMN_PARTS 3

/* The parts are as they were written, with their stars and backslashes. */
typedef struct Pattern
{
	const char *parts[COLUMN_PARTS];
} Pattern;

static bool read_choice(VdbPluginOptions *options, const char *name, const char *value);
static bool read_switch(VdbPluginOptions *options, const char *name, const char *value);
static List *read_patterns(const char *name, const char *value, int parts);

/*
 * Fills the options from a list of DefElem, of which nothing is kept.  Patterns are in the current
 * memory context.  Raises for an option, or a value, that there is not.
 */
void
vdb_plugin_read_options(VdbPluginOptions *options, List *given)
{
	ListCell   *cell;

	memset(options, 0, sizeof(*options));
	options->include_truncate = true;
	options->include_messages = true;

	foreach(cell, given)
	{
		DefElem    *option = lfirst_node(DefElem, cell);
		const char *name = option->defname;
		const char *value = option->arg ? strVal(option->arg) : NULL;

		if (strcmp(name, "tables") == 0)
			options->tables = read_patterns(name, value, TABLE_PARTS);
		else if (strcmp(name, "columns") == 0)
			options->columns = read_patterns(name, value, COLUMN_PARTS);
		else if (!read_choice(options, name, value) && !read_switch(options, name, value))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("output plugin vdb has no option \"%s\"", name),
					 errhint("Options are format, vectors, tables, columns, origin, include_truncate, "
							 "include_messages, include_xids, include_timestamp, include_lsn and include_types.")));
	}

	if (options->format == VDB_FORMAT_BINARY && options->vectors == VDB_VECTORS_BASE64)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("vectors cannot be written as base64 in the binary format"),
				 errhint("With vectors = full their bytes are written as they are.")));
}

static void
report_bad_value(const char *name, const char *value, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 value == NULL ?
			 errmsg("option \"%s\" of output plugin vdb needs a value", name) :
			 errmsg("invalid value for option \"%s\" of output plugin vdb: \"%s\"", name, value),
			 errhint("%s", hint)));
}

/* Whether the option is one of words. */
static bool
read_choice(VdbPluginOptions *options, const char *name, const char *value)
{
	for (int i = 0; i < lengthof(choices); i++)
	{
		const char *const *words = choices[i].words;
		StringInfoData hint;

		if (strcmp(name, choices[i].name) != 0)
			continue;

		initStringInfo(&hint);
		for (int j = 0; words[j] != NULL; j++)
		{
			if (value != NULL && strcmp(value, words[j]) == 0)
			{
				*(int *) ((char *) options + choices[i].field) = j;
				return true;
			}
			appendStringInfo(&hint, "%s%s", j == 0 ? "Valid values are " : ", ", words[j]);
		}
		report_bad_value(name, value, hint.data);
	}
	return false;
}

/* Whether the option is a switch; one without a value is switched on. */
static bool
read_switch(VdbPluginOptions *options, const char *name, const char *value)
{
	for (int i = 0; i < lengthof(switches); i++)
	{
		bool	   *field = (bool *) ((char *) options + switches[i].field);

		if (strcmp(name, switches[i].name) != 0)
			continue;
		if (value == NULL)
			*field = true;
		else if (!parse_bool(value, field))
			report_bad_value(name, value, "Valid values are on, off");
		return true;
	}
	return false;
}

/*
 * The end of what begins at p: the next separator that no backslash stands before, or the end of
 * the text.
 */
static const char *
find_separator(const char *p, char separator)
{
	while (*p != '\0' && *p != separator)
		p += p[0] == '\\' && p[1] != '\0' ? 2 : 1;
	return p;
}

/* Reads a pattern of so many parts from the text; false if there are more, or less, or empty ones. */
static bool
read_pattern(const char *text, int parts, Pattern *pattern)
{
	for (int i = 0; i < parts; i++)
	{
		const char *end = find_separator(text, '.');

		if (end == text || (*end == '.') != (i < parts - 1))
			return false;
		pattern->parts[i] = pnstrdup(text, end - text);
		text = end + 1;
	}
	return true;
}

static List *
read_patterns(const char *name, const char *value, int parts)
{
	const char *hint = parts == TABLE_PARTS ?
		"List tables as schema.table, separated by commas. A star stands for any characters, "
		"a backslash before a character takes it as it is." :
		"List columns as schema.table.column, separated by commas. A star stands for any characters, "
		"a backslash before a character takes it as it is.";
	List	   *patterns = NIL;
	const char *p = value;

	if (value == NULL)
		report_bad_value(name, value, hint);
	do
	{
		Pattern    *pattern = palloc0(sizeof(Pattern));
		const char *end;
		const char *next;

		while (*p == ' ')
			p++;
		next = find_separator(p, ',');
		for (end = next; end > p && end[-1] == ' ';)
			end--;
		if (!read_pattern(pnstrdup(p, end - p), parts, pattern))
			report_bad_value(name, value, hint);
		patterns = lappend(patterns, pattern);
		p = next + 1;
	} while (p[-1] == ',');
	return patterns;
}

/* Whether a part of a pattern stands for the name. */
static bool
matches(const char *part, const char *name)
{
	const char *after_star = NULL;
	const char *retry = NULL;

	while (*name != '\0')
	{
		bool		is_literal = part[0] == '\\' && part[1] != '\0';

		if (*part == '*')
		{
			/* first it stands for nothing, then for a character more each time */
			after_star = ++part;
			retry = name;
		}
		else if (*name == part[is_literal ? 1 : 0])
		{
			part += is_literal ? 2 : 1;
			name++;
		}
		else if (after_star != NULL)
		{
			part = after_star;
			name = ++retry;
		}
		else
			return false;
	}
	while (*part == '*')
		part++;
	return *part == '\0';
}

/* Whether one of the patterns begins with parts that stand for these names. */
static bool
match_any(List *patterns, const char *schema, const char *table, const char *column)
{
	ListCell   *cell;

	foreach(cell, patterns)
	{
		const Pattern *pattern = lfirst(cell);

		if (matches(pattern->parts[0], schema) && matches(pattern->parts[1], table) &&
			(column == NULL || matches(pattern->parts[2], column)))
			return true;
	}
	return false;
}

/* Whether the change of a table is to be written: not if no column of it is chosen. */
bool
vdb_plugin_wants_table(const VdbPluginOptions *options, const char *schema, Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (options->tables != NIL &&
		!match_any(options->tables, schema, RelationGetRelationName(relation), NULL))
		return false;
	if (options->columns == NIL)
		return true;
	for (int i = 0; i < desc->natts; i++)
	{
		if (vdb_plugin_wants_column(options, schema, relation, i))
			return true;
	}
	return false;
}

/* Whether the column with the number i, from 0, has a value and is to be written. */
bool
vdb_plugin_wants_column(const VdbPluginOptions *options, const char *schema, Relation relation, int i)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), i);

	if (attribute->attisdropped || vdb_attribute_is_virtual(attribute))
		return false;
	if (options->vectors == VDB_VECTORS_NONE && vdb_plugin_is_vector(attribute->atttypid))
		return false;
	return options->columns == NIL ||
		match_any(options->columns, schema, RelationGetRelationName(relation), NameStr(attribute->attname));
}
