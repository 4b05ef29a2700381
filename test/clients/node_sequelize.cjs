'use strict';
// Sequelize with pgvector/sequelize: types, a model's indexes, distances.
const { Sequelize, DataTypes } = require('sequelize');
const pgvector = require('pgvector/sequelize');
const { SparseVector } = require('pgvector');
const kit = require('./kit.cjs');

const connect = () => new Sequelize(process.env.PGDATABASE, process.env.PGUSER, '', {
  dialect: 'postgres', host: process.env.PGHOST, port: Number(process.env.PGPORT), logging: false,
});

kit.run(async () => {
  pgvector.registerTypes(Sequelize);

  // It learns which types there are when it connects.
  const before = connect();
  await before.query('CREATE EXTENSION IF NOT EXISTS vector');
  await before.close();
  const sequelize = connect();

  const Item = sequelize.define('Item', {
    id: { type: DataTypes.INTEGER, primaryKey: true },
    v: DataTypes.VECTOR(8),
    h: DataTypes.HALFVEC(8),
    s: DataTypes.SPARSEVEC(12),
    b: 'BIT(16)',
  }, {
    tableName: 'items',
    timestamps: false,
    indexes: kit.metrics.map(({ column, opclass }) =>
      ({ name: `items_${opclass}`, fields: [column], using: 'hnsw', operator: opclass })),
  });
  await Item.sync();
  await Item.bulkCreate([...kit.rows, kit.nulls].map((row) =>
    ({ ...row, s: row.s && new SparseVector(row.s) })));

  const items = await Item.findAll({ order: ['id'] });
  kit.same(items.slice(0, -1).every((item) => item.s instanceof SparseVector), true,
    'sparse vectors come back as such');
  kit.same(items.map(({ id, v, h, s, b }) => ({ id, v, h, s: s && s.toArray(), b })),
    [...kit.rows, kit.nulls], 'models come back as arrays of numbers');

  const functions = {
    '<->': 'l2Distance', '<#>': 'maxInnerProduct', '<=>': 'cosineDistance', '<+>': 'l1Distance',
    '<~>': 'hammingDistance', '<%>': 'jaccardDistance',
  };
  await kit.sameNeighbours(async ({ column, operator }, question) => {
    const value = column === 's' ? new SparseVector(question.s) : question[column];
    const distance = pgvector[functions[operator]](column, value, sequelize);
    return (await Item.findAll({ attributes: [[distance, 'd']], order: [distance], limit: 10, raw: true }))
      .map((item) => item.d);
  });

  await kit.refused(() => Item.create({ id: 0, v: [1, 2, 3] }),
    '22000', 'expected 8 dimensions, not 3', 'another number of dimensions is refused');
  await sequelize.close();
});
