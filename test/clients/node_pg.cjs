'use strict';
// node-postgres (pg) with the package pgvector.
const { Client } = require('pg');
const pgvector = require('pgvector/pg');
const { SparseVector } = require('pgvector');
const kit = require('./kit.cjs');

kit.run(async () => {
  const client = new Client();
  await client.connect();
  await client.query('CREATE EXTENSION IF NOT EXISTS vector');
  await pgvector.registerTypes(client);
  await client.query(
    'CREATE TABLE items (id integer, v vector(8), h halfvec(8), s sparsevec(12), b bit(16))');

  const parameters = {
    v: (row) => pgvector.toSql(row.v),
    h: (row) => pgvector.toSql(row.h),
    s: (row) => pgvector.toSql(row.s && new SparseVector(row.s)),
    b: (row) => row.b,
  };
  for (const row of [...kit.rows, kit.nulls]) {
    await client.query('INSERT INTO items VALUES ($1, $2, $3, $4, $5)',
      [row.id, parameters.v(row), parameters.h(row), parameters.s(row), parameters.b(row)]);
  }
  for (const { column, opclass } of kit.metrics) {
    await client.query(`CREATE INDEX ON items USING hnsw (${column} ${opclass})`);
  }

  const { rows } = await client.query('SELECT * FROM items ORDER BY id');
  kit.same(rows.slice(0, -1).every((row) => row.s instanceof SparseVector), true,
    'sparse vectors come back as such');
  kit.same(rows.map((row) => ({ ...row, s: row.s && row.s.toArray() })),
    [...kit.rows, kit.nulls], 'rows come back as arrays of numbers');

  const ask = async ({ column, operator }, question, name) =>
    (await client.query({
      name,
      text: `SELECT ${column} ${operator} $1 AS d FROM items ORDER BY ${column} ${operator} $1 LIMIT 10`,
      values: [parameters[column](question)],
    })).rows.map((row) => row.d);
  await kit.sameNeighbours(ask);
  // prepared once, planned for good from the sixth time on
  await kit.sameNeighbours(async (metric, question) => {
    for (let i = 0; i < 5; i++) await ask(metric, question, metric.opclass);
    return ask(metric, question, metric.opclass);
  }, kit.metrics.slice(0, 1));

  await kit.refused(() => client.query('INSERT INTO items (v) VALUES ($1)', [pgvector.toSql([1, 2, 3])]),
    '22000', 'expected 8 dimensions, not 3', 'another number of dimensions is refused');
  await client.end();
});
