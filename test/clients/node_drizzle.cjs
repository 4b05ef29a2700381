'use strict';
// Drizzle ORM, which knows pgvector's types, operator classes and distances by
// itself; tables and indexes are made by the statements drizzle-kit generates.
const { Client } = require('pg');
const { drizzle } = require('drizzle-orm/node-postgres');
const { generateDrizzleJson, generateMigration } = require('drizzle-kit/api');
const orm = require('drizzle-orm');
const pg = require('drizzle-orm/pg-core');
const { SparseVector } = require('pgvector');
const kit = require('./kit.cjs');

const items = pg.pgTable('items', {
  id: pg.integer('id').primaryKey(),
  v: pg.vector('v', { dimensions: 8 }),
  h: pg.halfvec('h', { dimensions: 8 }),
  s: pg.sparsevec('s', { dimensions: 12 }),
  b: pg.bit('b', { dimensions: 16 }),
}, (table) => kit.metrics.map(({ column, opclass }) =>
  pg.index(`items_${opclass}`).using('hnsw', table[column].op(opclass))
    .with({ m: 12, ef_construction: 50 })));

kit.run(async () => {
  const client = new Client();
  await client.connect();
  const db = drizzle(client);
  await db.execute('CREATE EXTENSION IF NOT EXISTS vector');

  const nothing = generateDrizzleJson({});
  for (const statement of await generateMigration(nothing, generateDrizzleJson({ items }, nothing.id))) {
    await db.execute(statement);
  }
  const sparse = (row) => row.s && new SparseVector(row.s).toString();
  await db.insert(items).values([...kit.rows, kit.nulls].map((row) => ({ ...row, s: sparse(row) })));

  const rows = await db.select().from(items).orderBy(items.id);
  kit.same(rows.map((row) => ({ ...row, s: row.s && new SparseVector(row.s).toArray() })),
    [...kit.rows, kit.nulls], 'rows come back as arrays of numbers');

  const functions = {
    '<->': 'l2Distance', '<#>': 'innerProduct', '<=>': 'cosineDistance', '<+>': 'l1Distance',
    '<~>': 'hammingDistance', '<%>': 'jaccardDistance',
  };
  await kit.sameNeighbours(async ({ column, operator }, question) => {
    const value = column === 's' ? sparse(question) : question[column];
    const distance = orm[functions[operator]](items[column], value);
    return (await db.select({ d: orm.sql`${distance}` }).from(items).orderBy(distance).limit(10))
      .map((row) => row.d);
  });

  await kit.refused(() => db.insert(items).values({ id: 0, v: [1, 2, 3] }),
    '22000', 'expected 8 dimensions, not 3', 'another number of dimensions is refused');
  await client.end();
});
