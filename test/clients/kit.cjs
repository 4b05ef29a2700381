'use strict';
// What the programs node_*.cjs share: the rows of the table `items`, the
// distances with their exact answers, and the report.  The numbers are
// multiples of 1/64, which every type holds exactly.

const assert = require('node:assert');

const number = (i, k) => ((i * 7919 + k * 104729 + i * k * 31) % 257 - 128) / 64;
const numbers = (i, n) => Array.from({ length: n }, (_, k) => number(i, k + 1));

// vector(8), halfvec(8), sparsevec(12) in dense form, bit(16)
const rows = Array.from({ length: 200 }, (_, i) => ({
  id: i + 1,
  v: numbers(i + 1, 8),
  h: numbers(i + 1001, 8),
  s: numbers(i + 1, 12).map((x, k) => (k < 2 || (i + k) % 3 === 0 ? x : 0)),
  b: (((i + 1) * 40503) % 65536).toString(2).padStart(16, '0'),
}));
const nulls = { id: 201, v: null, h: null, s: null, b: null };

const sum = (a, b, f) => a.reduce((total, x, k) => total + f(x, b[k]), 0);
const dot = (a, b) => sum(a, b, (x, y) => x * y);
const bits = (a, b, f) => [...a].filter((x, k) => f(x === '1', b[k] === '1')).length;
const dense = [
  ['l2', '<->', (a, b) => Math.sqrt(sum(a, b, (x, y) => (x - y) ** 2))],
  ['ip', '<#>', (a, b) => -dot(a, b)],
  ['cosine', '<=>', (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))],
  ['l1', '<+>', (a, b) => sum(a, b, (x, y) => Math.abs(x - y))],
];
const metrics = [
  ...[['v', 'vector'], ['h', 'halfvec'], ['s', 'sparsevec']].flatMap(([column, type]) =>
    dense.map(([name, operator, distance]) =>
      ({ column, name, operator, distance, opclass: `${type}_${name}_ops` }))),
  { column: 'b', name: 'hamming', operator: '<~>', opclass: 'bit_hamming_ops',
    distance: (a, b) => bits(a, b, (x, y) => x !== y) },
  { column: 'b', name: 'jaccard', operator: '<%>', opclass: 'bit_jaccard_ops',
    distance: (a, b) => 1 - bits(a, b, (x, y) => x && y) / bits(a, b, (x, y) => x || y) },
];

// The questions: some rows of the table, and how far the ten nearest are.
const questions = rows.filter((row) => row.id % 60 === 7);
const nearest = (metric, question) =>
  rows.map((row) => metric.distance(row[metric.column], question[metric.column]))
    .sort((a, b) => a - b).slice(0, 10);

let failed = 0;

function check(name, claim) {
  try {
    claim();
    console.log(`ok - ${name}`);
  } catch (error) {
    failed = 1;
    console.log(`not ok - ${name}`);
    console.log(String(error.message).replace(/^/gm, '# '));
  }
}

const same = (got, expected, name) => check(name, () => assert.deepStrictEqual(got, expected));

// `ask(metric, question)` resolves to the distances of the ten nearest rows.
async function sameNeighbours(ask, which = metrics) {
  for (const metric of which) {
    const all = [];
    for (const question of questions) {
      all.push([await ask(metric, question), nearest(metric, question)]);
    }
    check(`${metric.opclass}: the nearest rows`, () => {
      for (const [got, expected] of all) {
        assert.strictEqual(got.length, expected.length);
        got.forEach((d, k) => {
          assert.strictEqual(typeof d, 'number');
          assert.ok(Math.abs(d - expected[k]) < 1e-5, `${k}: ${d} is not ${expected[k]}`);
        });
      }
    });
  }
}

// The server's refusal arrives as what it is.
async function refused(attempt, code, message, name) {
  let error;
  try {
    await attempt();
  } catch (e) {
    error = e.cause ?? e.parent ?? e.driverError ?? e;
  }
  same([error?.code, error?.message.replace(/^.* - /s, '')], [code, message], name);
}

async function run(program) {
  try {
    await program();
  } catch (error) {
    failed = 1;
    console.log(`not ok - the program ends well\n# ${error.stack.replace(/\n/g, '\n# ')}`);
  }
  process.exitCode = failed;
}

module.exports = { rows, nulls, metrics, questions, same, sameNeighbours, refused, run };
