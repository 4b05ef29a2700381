/*
 * index_validate.c
 *	  Is an operator class one that this access method can work with?
 *
 * An operator class for what is searched has an operator that measures a
 * distance, which sorts as float8, and may have one that bounds this distance by a
 * float8; and it has one support function that describes the type and the distance
 * in C.  One for attributes has operators that conditions are made of, also between
 * types of its family, and another support function.  Whether they belong together
 * cannot be seen in the catalogs.
 */
#include "postgres.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "index/index.h"

/* Members as bits of OpFamilyOpFuncGroup. */
#define ORDER_STRATEGY_BIT (UINT64CONST(1) << VDB_ORDER_STRATEGY)
#define RADIUS_STRATEGY_BIT (UINT64CONST(1) << VDB_RADIUS_STRATEGY)
#define SUPPORT_PROC_BIT (UINT64CONST(1) << VDB_SUPPORT_PROC)
#define ATTRIBUTE_PROC_BIT (UINT64CONST(1) << VDB_ATTRIBUTE_PROC)
#define CONDITION_BITS \
	((UINT64CONST(2) << VDB_NUM_STRATEGIES) - (UINT64CONST(1) << VDB_LESS_STRATEGY))

/* An operator family, and the access method that it is of. */
typedef struct Family
{
	const char *name;
	const char *method;
} Family;

static char *family_name(Oid familyoid);
static bool check_functions(const Family *family, CatCList *functions);
static bool check_purpose(const Family *family, Form_pg_amop form);
static bool check_operator_signature(const Family *family, Form_pg_amop form);
static bool check_operators(const Family *family, CatCList *operators);
static bool check_groups(const Family *family, List *groups);
static bool check_class(const char *method, Form_pg_opclass opclass, List *groups);

/* An amvalidate callback: what is wrong is reported at level INFO. */
bool
vdb_index_validate(Oid opclassoid)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclassoid));
	Form_pg_opclass opclass;
	CatCList   *operators;
	CatCList   *functions;
	List	   *groups;
	Family		family;
	bool		valid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclassoid);
	opclass = (Form_pg_opclass) GETSTRUCT(tuple);
	family.name = family_name(opclass->opcfamily);
	family.method = get_am_name(opclass->opcmethod);
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(opclass->opcfamily));
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(opclass->opcfamily));
	groups = identify_opfamily_groups(operators, functions);

	/* report all that is wrong, not just the first */
	valid = check_functions(&family, functions);
	valid &= check_operators(&family, operators);
	valid &= check_groups(&family, groups);
	valid &= check_class(family.method, opclass, groups);

	ReleaseCatCacheList(functions);
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return valid;
}

static char *
family_name(Oid familyoid)
{
	HeapTuple	tuple = SearchSysCache1(OPFAMILYOID, ObjectIdGetDatum(familyoid));
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator family %u", familyoid);
	name = pstrdup(NameStr(((Form_pg_opfamily) GETSTRUCT(tuple))->opfname));
	ReleaseSysCache(tuple);
	return name;
}

static bool
check_functions(const Family *family, CatCList *functions)
{
	bool		valid = true;

	for (int i = 0; i < functions->n_members; i++)
	{
		Form_pg_amproc form = (Form_pg_amproc) GETSTRUCT(&functions->members[i]->tuple);

		if (form->amproclefttype != form->amprocrighttype)
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator family \"%s\" of access method %s contains support function %s with different left and right input types",
							family->name, family->method, format_procedure(form->amproc))));
			valid = false;
		}
		if (form->amprocnum != VDB_SUPPORT_PROC && form->amprocnum != VDB_ATTRIBUTE_PROC)
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator family \"%s\" of access method %s contains function %s with invalid support number %d",
							family->name, family->method, format_procedure(form->amproc), form->amprocnum)));
			valid = false;
		}
		else if (!check_amproc_signature(form->amproc, INTERNALOID, true, 1, 1, INTERNALOID))
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator family \"%s\" of access method %s contains function %s with wrong signature for support number %d",
							family->name, family->method, format_procedure(form->amproc), form->amprocnum)));
			valid = false;
		}
	}
	return valid;
}

/* Is this the number of an operator that conditions on attributes are made of? */
static inline bool
is_condition(StrategyNumber strategy)
{
	return strategy >= VDB_LESS_STRATEGY;
}

/* What is searched is found by being near, not by being equal. */
static bool
check_purpose(const Family *family, Form_pg_amop form)
{
	if (form->amopstrategy == VDB_RADIUS_STRATEGY || is_condition(form->amopstrategy) ?
		form->amoppurpose == AMOP_SEARCH :
		form->amoppurpose == AMOP_ORDER && opfamily_can_sort_type(form->amopsortfamily, FLOAT8OID))
		return true;
	ereport(INFO,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("operator family \"%s\" of access method %s contains invalid ORDER BY specification for operator %s",
					family->name, family->method, format_operator(form->amopopr))));
	return false;
}

/*
 * type, type -> float8 for a distance; type, float8 -> boolean for a bound; any two
 * types -> boolean for a condition.
 */
static bool
check_operator_signature(const Family *family, Form_pg_amop form)
{
	bool		bounds = form->amopstrategy == VDB_RADIUS_STRATEGY;

	if (is_condition(form->amopstrategy))
	{
		if (check_amop_signature(form->amopopr, BOOLOID, form->amoplefttype, form->amoprighttype))
			return true;
	}
	else if (form->amoprighttype == (bounds ? FLOAT8OID : form->amoplefttype) &&
		check_amop_signature(form->amopopr, bounds ? BOOLOID : FLOAT8OID, form->amoplefttype,
							 form->amoprighttype))
		return true;
	ereport(INFO,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("operator family \"%s\" of access method %s contains operator %s with wrong signature",
					family->name, family->method, format_operator(form->amopopr))));
	return false;
}

static bool
check_operators(const Family *family, CatCList *operators)
{
	bool		valid = true;

	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop form = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (form->amopstrategy < 1 || form->amopstrategy > VDB_NUM_STRATEGIES ||
			(form->amopstrategy > VDB_RADIUS_STRATEGY && !is_condition(form->amopstrategy)))
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator family \"%s\" of access method %s contains operator %s with invalid strategy number %d",
							family->name, family->method, format_operator(form->amopopr), form->amopstrategy)));
			valid = false;
		}
		valid &= check_purpose(family, form);
		valid &= check_operator_signature(family, form);
	}
	return valid;
}

/*
 * Each type of the family needs its distance and its support function, or operators
 * for conditions and the other function.  A bound is in a group with float8, on its
 * own, and so are operators between two types.
 */
static bool
check_groups(const Family *family, List *groups)
{
	bool		valid = true;
	ListCell   *cell;

	foreach(cell, groups)
	{
		const OpFamilyOpFuncGroup *group = lfirst(cell);

		if (group->operatorset == RADIUS_STRATEGY_BIT && group->functionset == 0)
			continue;
		if ((group->operatorset & ~CONDITION_BITS) == 0 && group->operatorset != 0 &&
			group->functionset == (group->lefttype == group->righttype ? ATTRIBUTE_PROC_BIT : 0))
			continue;
		if (group->operatorset != ORDER_STRATEGY_BIT)
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator family \"%s\" of access method %s is missing operator(s) for types %s and %s",
							family->name, family->method, format_type_be(group->lefttype),
							format_type_be(group->righttype))));
			valid = false;
		}
		if (group->functionset != SUPPORT_PROC_BIT)
		{
			ereport(INFO,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("operator family \"%s\" of access method %s is missing support function(s) for types %s and %s",
							family->name, family->method, format_type_be(group->lefttype),
							format_type_be(group->righttype))));
			valid = false;
		}
	}
	return valid;
}

/* The class's own type is a member of the family, and stored as nothing else. */
static bool
check_class(const char *method, Form_pg_opclass opclass, List *groups)
{
	bool		valid = true;
	bool		found = false;
	ListCell   *cell;

	foreach(cell, groups)
	{
		const OpFamilyOpFuncGroup *group = lfirst(cell);

		found |= group->lefttype == opclass->opcintype && group->righttype == opclass->opcintype;
	}
	if (!found)
	{
		ereport(INFO,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator class \"%s\" of access method %s is missing operator(s)",
						NameStr(opclass->opcname), method),
				 errdetail("There are none for type %s.", format_type_be(opclass->opcintype))));
		valid = false;
	}
	if (OidIsValid(opclass->opckeytype) && opclass->opckeytype != opclass->opcintype)
	{
		ereport(INFO,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("operator class \"%s\" of access method %s has a storage type",
						NameStr(opclass->opcname), method),
				 errdetail("The access method stores codes of its own making.")));
		valid = false;
	}
	return valid;
}
