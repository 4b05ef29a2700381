/* bench/page_access/vdb_page_access--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION vdb_page_access" to load this file. \quit

-- Nanoseconds per access.  method is one letter, explained in README.md.
CREATE FUNCTION page_access(
	rel regclass,
	method "char",
	bytes int,					-- bytes read per access, a multiple of 8
	accesses int,				-- number of accesses timed
	hot_pages int DEFAULT 0,	-- this many pages ...
	hot_percent int DEFAULT 90)	-- ... receive this share of the accesses
RETURNS float8
AS 'MODULE_PATHNAME', 'page_access'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- usage_count of the buffer holding a block, without touching it; NULL when
-- the block is in no buffer.
CREATE FUNCTION page_access_usage(rel regclass, block int)
RETURNS int
AS 'MODULE_PATHNAME', 'page_access_usage'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- Reads without a pin, pausing "delay" microseconds in the middle of each, and
-- checks every accepted answer.
CREATE FUNCTION page_access_verify(
	rel regclass,
	accesses int,
	delay int,
	OUT accepted bigint,		-- tag held before and after, bytes right
	OUT stale bigint,			-- hint out of date before the read
	OUT replaced bigint,		-- page replaced during the read, and noticed
	OUT wrong bigint)			-- page replaced during the read, unnoticed
AS 'MODULE_PATHNAME', 'page_access_verify'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

REVOKE ALL ON FUNCTION page_access(regclass, "char", int, int, int, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION page_access_usage(regclass, int) FROM PUBLIC;
REVOKE ALL ON FUNCTION page_access_verify(regclass, int, int) FROM PUBLIC;
