'use strict';
// Knex with pgvector/knex: schema builder, indexes and distances.
const Knex = require('knex');
const pgvector = require('pgvector/knex');
const { SparseVector } = require('pgvector');
const kit = require('./kit.cjs');

kit.run(async () => {
  const knex = Knex({ client: 'pg', connection: {} });
  await knex.schema.enableExtension('vector');
  await knex.schema.createTable('items', (table) => {
    table.integer('id').primary();
    table.vector('v', { dimensions: 8 });
    table.halfvec('h', { dimensions: 8 });
    table.sparsevec('s', { dimensions: 12 });
    table.specificType('b', 'bit(16)');
  });
  const parameter = (column, row) => column === 'b' ? row.b
    : pgvector.toSql(column === 's' && row.s ? new SparseVector(row.s) : row[column]);
  await knex('items').insert([...kit.rows, kit.nulls].map((row) => ({
    id: row.id,
    v: parameter('v', row),
    h: parameter('h', row),
    s: parameter('s', row),
    b: row.b,
  })));
  await knex.schema.alterTable('items', (table) => {
    for (const { column, opclass } of kit.metrics) {
      table.index(knex.raw(`${column} ${opclass}`), `items_${opclass}`, 'hnsw');
    }
  });

  const rows = await knex('items').orderBy('id');
  const { fromSql } = pgvector;
  kit.same(rows.map(({ id, v, h, s, b }) =>
    ({ id, v: fromSql(v), h: fromSql(h), s: s && fromSql(s).toArray(), b })),
    [...kit.rows, kit.nulls], 'rows come back as arrays of numbers');

  const functions = {
    '<->': 'l2Distance', '<#>': 'maxInnerProduct', '<=>': 'cosineDistance', '<+>': 'l1Distance',
    '<~>': 'hammingDistance', '<%>': 'jaccardDistance',
  };
  await kit.sameNeighbours(async ({ column, operator }, question) => {
    const value = column === 's' ? new SparseVector(question.s) : question[column];
    const distance = knex[functions[operator]](column, value);
    return (await knex('items').select({ d: distance }).orderBy(distance).limit(10)).map((row) => row.d);
  });

  await kit.refused(() => knex('items').insert({ id: 0, v: pgvector.toSql([1, 2, 3]) }),
    '22000', 'expected 8 dimensions, not 3', 'another number of dimensions is refused');
  await knex.destroy();
});
