'use strict';
// TypeORM, which knows vector and halfvec by itself and creates the extension;
// it knows neither sparsevec nor operator classes.
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const pgvector = require('pgvector');
const kit = require('./kit.cjs');

const Item = new EntitySchema({
  name: 'Item',
  tableName: 'items',
  columns: {
    id: { type: 'integer', primary: true },
    v: { type: 'vector', length: 8, nullable: true },
    h: { type: 'halfvec', length: 8, nullable: true },
    b: { type: 'bit', length: '16', nullable: true },
  },
});
const metrics = kit.metrics.filter(({ column }) => column !== 's');
const known = ({ id, v, h, b }) => ({ id, v, h, b });

kit.run(async () => {
  const source = new DataSource({
    type: 'postgres', host: process.env.PGHOST, port: Number(process.env.PGPORT),
    username: process.env.PGUSER, database: process.env.PGDATABASE, entities: [Item], synchronize: true,
  });
  await source.initialize();
  kit.same(await source.query("SELECT extname FROM pg_extension WHERE extname = 'vector'"),
    [{ extname: 'vector' }], 'the extension is created');
  // what it finds in the database is what it wants there
  const { upQueries } = await source.driver.createSchemaBuilder().log();
  kit.same(upQueries.map(({ query }) => query), [], 'the schema is recognised');

  const items = source.getRepository(Item);
  await items.insert([...kit.rows, kit.nulls].map(known));
  for (const { column, opclass } of metrics) {
    await source.query(`CREATE INDEX ON items USING hnsw (${column} ${opclass})`);
  }

  kit.same((await items.find({ order: { id: 'ASC' } })).map(known),
    [...kit.rows, kit.nulls].map(known), 'entities come back as arrays of numbers');

  await kit.sameNeighbours(async ({ column, operator }, question) =>
    (await items.createQueryBuilder('item')
      .select(`item.${column} ${operator} :q`, 'd')
      .orderBy(`item.${column} ${operator} :q`)
      .setParameters({ q: column === 'b' ? question.b : pgvector.toSql(question[column]) })
      .limit(10).getRawMany()).map((row) => row.d), metrics);

  await kit.refused(() => items.insert({ id: 0, v: [1, 2, 3] }),
    '22000', 'expected 8 dimensions, not 3', 'another number of dimensions is refused');
  await source.destroy();
});
