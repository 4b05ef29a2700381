"""psycopg 2 with pgvector.psycopg2."""

import numpy as np
import psycopg2
from pgvector import HalfVector, SparseVector
from pgvector.psycopg2 import register_vector

import kit

parameter = {'v': lambda v: v if v is None else np.array(v),
             'h': lambda h: h if h is None else HalfVector(h),
             's': lambda s: s if s is None else SparseVector(s),
             'b': lambda b: b}


def program():
    conn = psycopg2.connect('')
    conn.autocommit = True
    cur = conn.cursor()
    cur.execute('CREATE EXTENSION IF NOT EXISTS vector')
    register_vector(conn)
    cur.execute('CREATE TABLE items (id integer, v vector(8), h halfvec(8), s sparsevec(12), b bit(16))')
    for row in kit.rows + [kit.nulls]:
        cur.execute('INSERT INTO items VALUES (%s, %s, %s, %s, %s)',
                    [row.id] + [parameter[c](getattr(row, c)) for c in 'vhsb'])
    for metric in kit.metrics:
        cur.execute(f'CREATE INDEX ON items USING hnsw ({metric.column} {metric.opclass})')

    cur.execute('SELECT * FROM items ORDER BY id')
    rows = cur.fetchall()
    kit.same({tuple(map(type, row)) for row in rows[:-1]}, {(int, np.ndarray, HalfVector, SparseVector, str)},
             'values come back in their types')
    kit.same(rows[0][1].dtype, np.float32, 'a vector has single precision')
    kit.same([(i, v.tolist(), h.to_list(), s.to_list(), b) for i, v, h, s, b in rows[:-1]] + rows[-1:],
             [tuple(row) for row in kit.rows + [kit.nulls]], 'and with their numbers')

    cur.execute('SELECT ARRAY[v, v], ARRAY[h], ARRAY[s] FROM items WHERE id = 1')
    v, h, s = cur.fetchone()
    kit.same([[x.tolist() for x in v], h[0].to_list(), s[0].to_list()],
             [[kit.rows[0].v] * 2, kit.rows[0].h, kit.rows[0].s], 'arrays of them too')

    def ask(metric, question):
        q = parameter[metric.column](getattr(question, metric.column))
        distance = f'{metric.column} {metric.operator.replace("%", "%%")} %s'
        cast = '::bit(16)' if metric.column == 'b' else ''
        cur.execute(f'SELECT {distance}{cast} FROM items ORDER BY {distance}{cast} LIMIT 10', (q, q))
        return [d for d, in cur.fetchall()]

    kit.same_neighbours(ask)

    cur.execute('SELECT avg(v), sum(h) FROM items')
    mean, total = cur.fetchone()
    kit.same([np.allclose(mean, np.mean([row.v for row in kit.rows], axis=0), atol=1e-6), type(total)],
             [True, HalfVector], 'aggregates answer in their types')

    try:
        cur.execute('INSERT INTO items (v) VALUES (%s)', (np.array([1, 2, 3]),))
        kit.report(False, 'another number of dimensions is refused')
    except psycopg2.errors.DataException as error:
        kit.same([error.pgcode, error.diag.message_primary], ['22000', 'expected 8 dimensions, not 3'],
                 'another number of dimensions is refused')
    conn.close()


kit.run(program)
