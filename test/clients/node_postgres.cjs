'use strict';
// Postgres.js (postgres) with the package pgvector.
const postgres = require('postgres');
const { toSql, fromSql, SparseVector } = require('pgvector');
const kit = require('./kit.cjs');

kit.run(async () => {
  const sql = postgres({ host: process.env.PGHOST, max: 1, onnotice: () => {} });
  await sql`CREATE EXTENSION IF NOT EXISTS vector`;
  await sql`CREATE TABLE items (id integer, v vector(8), h halfvec(8), s sparsevec(12), b bit(16))`;

  const parameter = (column, row) =>
    column === 'b' ? row.b : toSql(column === 's' && row.s ? new SparseVector(row.s) : row[column]);
  await sql`INSERT INTO items ${sql([...kit.rows, kit.nulls].map((row) => ({
    id: row.id,
    v: parameter('v', row),
    h: parameter('h', row),
    s: parameter('s', row),
    b: row.b,
  })))}`;
  for (const { column, opclass } of kit.metrics) {
    await sql`CREATE INDEX ON items USING hnsw (${sql(column)} ${sql(opclass)})`;
  }

  const rows = await sql`SELECT * FROM items ORDER BY id`;
  kit.same(rows.map(({ id, v, h, s, b }) =>
    ({ id, v: fromSql(v), h: fromSql(h), s: s && fromSql(s).toArray(), b })),
    [...kit.rows, kit.nulls], 'rows come back as arrays of numbers');

  await kit.sameNeighbours(async ({ column, operator }, question) => {
    const q = parameter(column, question);
    const distance = sql`${sql(column)} ${sql.unsafe(operator)} ${q}`;
    return (await sql`SELECT ${distance} AS d FROM items ORDER BY ${distance} LIMIT 10`).map((row) => row.d);
  });

  // in parts, as a cursor hands them out
  const first = [];
  for await (const [row] of sql`
    SELECT id FROM items ORDER BY v <-> ${toSql(kit.questions[0].v)} LIMIT 20`.cursor(1)) {
    first.push(row.id);
    if (first.length === 5) break;
  }
  kit.same([first[0], new Set(first).size], [kit.questions[0].id, 5], 'a cursor can be left early');

  await kit.refused(() => sql`INSERT INTO items (v) VALUES (${toSql([1, 2, 3])})`,
    '22000', 'expected 8 dimensions, not 3', 'another number of dimensions is refused');
  await sql.end();
});
