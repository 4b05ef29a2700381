"""psycopg 3 with pgvector.psycopg: text and binary, COPY in binary."""

import numpy as np
import psycopg
from pgvector import Bit, HalfVector, SparseVector
from pgvector.psycopg import register_vector

import kit

parameter = {'v': lambda v: v if v is None else np.array(v, dtype=np.float32),
             'h': lambda h: h if h is None else HalfVector(h),
             's': lambda s: s if s is None else SparseVector(s),
             'b': lambda b: b if b is None else Bit(b)}


def program():
    conn = psycopg.connect('', autocommit=True)
    conn.execute('CREATE EXTENSION IF NOT EXISTS vector')
    register_vector(conn)
    conn.execute('CREATE TABLE items (id integer, v vector(8), h halfvec(8), s sparsevec(12), b bit(16))')

    def values(row):
        return [row.id] + [parameter[c](getattr(row, c)) for c in 'vhsb']

    half = len(kit.rows) // 2
    for row in kit.rows[:half // 2]:
        conn.execute('INSERT INTO items VALUES (%t, %t, %t, %t, %t)', values(row))
    for row in kit.rows[half // 2:half]:
        conn.execute('INSERT INTO items VALUES (%b, %b, %b, %b, %b)', values(row))
    with conn.cursor().copy('COPY items FROM STDIN WITH (FORMAT BINARY)') as copy:
        copy.set_types(['int4', 'vector', 'halfvec', 'sparsevec', 'bit'])
        for row in kit.rows[half:] + [kit.nulls]:
            copy.write_row(values(row))
    for metric in kit.metrics:
        conn.execute(f'CREATE INDEX ON items USING hnsw ({metric.column} {metric.opclass})')

    for binary in (False, True):
        how = 'in binary' if binary else 'as text'
        rows = conn.cursor(binary=binary).execute('SELECT * FROM items ORDER BY id').fetchall()
        kit.same({tuple(map(type, row)) for row in rows[:-1]},
                 {(int, np.ndarray, HalfVector, SparseVector, bytes if binary else str)},
                 f'values come back in their types {how}')
        kit.same([(i, v.tolist(), h.to_list(), s.to_list(), Bit.from_binary(b).to_text() if binary else b)
                  for i, v, h, s, b in rows[:-1]] + rows[-1:],
                 [tuple(row) for row in kit.rows + [kit.nulls]], f'and with their numbers {how}')
        arrays = conn.cursor(binary=binary).execute('SELECT ARRAY[v, v] FROM items WHERE id = 1').fetchone()
        kit.same([v.tolist() for v in arrays[0]], [kit.rows[0].v] * 2, f'arrays of them too {how}')

        def ask(metric, question):
            q = parameter[metric.column](getattr(question, metric.column))
            distance = f'{metric.column} {metric.operator.replace("%", "%%")} {"%b" if binary else "%t"}'
            return [d for d, in conn.cursor(binary=binary).execute(
                f'SELECT {distance} FROM items ORDER BY {distance} LIMIT 10', (q, q), prepare=True)]

        kit.same_neighbours(ask)

    try:
        conn.execute('INSERT INTO items (v) VALUES (%b)', (np.array([1, 2, 3], dtype=np.float32),))
        kit.report(False, 'another number of dimensions is refused')
    except psycopg.errors.DataException as error:
        kit.same([error.sqlstate, error.diag.message_primary], ['22000', 'expected 8 dimensions, not 3'],
                 'another number of dimensions is refused')
    conn.close()


kit.run(program)
