-- The objects of the extension "vector" in this database that a program can
-- name, a line each with what it relies on: of pgvector or of its alias.  Costs
-- and selectivity estimators are left out, and what operator classes call and
-- the planner makes of them: there the two differ on purpose.
SET search_path = public;
SELECT line FROM (
	SELECT d.classid, CASE d.classid
		WHEN 'pg_type'::regclass THEN (
			SELECT format('type %s length %s align %s storage %s category %s',
				typname, typlen, typalign, typstorage, typcategory)
			FROM pg_type WHERE oid = d.objid AND typelem = 0)
		WHEN 'pg_proc'::regclass THEN (
			SELECT format('%s %s(%s) returns %s volatile %s strict %s parallel %s',
				CASE prokind WHEN 'a' THEN 'aggregate' ELSE 'function' END, proname,
				pg_get_function_arguments(oid), pg_get_function_result(oid),
				provolatile, proisstrict, proparallel)
			FROM pg_proc WHERE oid = d.objid)
		WHEN 'pg_operator'::regclass THEN (
			SELECT format('operator %s(%s,%s) calls %s commutator %s negator %s',
				o.oprname, format_type(o.oprleft, NULL), format_type(o.oprright, NULL), p.proname,
				coalesce((SELECT oprname FROM pg_operator WHERE oid = o.oprcom), '-'),
				coalesce((SELECT oprname FROM pg_operator WHERE oid = o.oprnegate), '-'))
			FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode WHERE o.oid = d.objid)
		WHEN 'pg_cast'::regclass THEN (
			SELECT format('cast %s to %s context %s calls %s', format_type(c.castsource, NULL),
				format_type(c.casttarget, NULL), c.castcontext, p.proname)
			FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc WHERE c.oid = d.objid)
		WHEN 'pg_am'::regclass THEN (
			SELECT format('access method %s type %s', amname, amtype) FROM pg_am WHERE oid = d.objid)
		WHEN 'pg_opclass'::regclass THEN (
			SELECT format('operator class %s on %s for %s default %s operators %s',
				c.opcname, a.amname, format_type(c.opcintype, NULL), c.opcdefault,
				(SELECT string_agg(format('%s %s', amopstrategy, o.oprname), ', ' ORDER BY amopstrategy)
				 FROM pg_amop JOIN pg_operator o ON o.oid = amopopr WHERE amopfamily = c.opcfamily AND NOT (a.amname IN ('hnsw', 'ivfflat') AND amopstrategy > 1)))
			FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod WHERE c.oid = d.objid)
		END AS line
	FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE d.deptype = 'e' AND e.extname = 'vector') objects
WHERE line IS NOT NULL
ORDER BY line COLLATE "C";
