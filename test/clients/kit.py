"""What the programs python_*.py share: the rows of the table `items`, the
distances with their exact answers, and the report.  The numbers are multiples
of 1/64, which every type holds exactly."""

import sys
import traceback
from collections import namedtuple

import numpy as np

failed = False


def numbers(i, n):
    return [((i * 7919 + k * 104729 + i * k * 31) % 257 - 128) / 64 for k in range(1, n + 1)]


Row = namedtuple('Row', 'id v h s b')  # vector(8), halfvec(8), sparsevec(12) in dense form, bit(16)
rows = [Row(i, numbers(i, 8), numbers(i + 1000, 8),
            [x if k < 2 or (i + k) % 3 == 1 else 0.0 for k, x in enumerate(numbers(i, 12))],
            format(i * 40503 % 65536, '016b'))
        for i in range(1, 201)]
nulls = Row(201, None, None, None, None)
questions = [row for row in rows if row.id % 60 == 7]


def bits(text):
    return np.array([c == '1' for c in text])


Metric = namedtuple('Metric', 'column name operator opclass distance')
dense = [('l2', '<->', lambda a, b: np.sqrt(((a - b) ** 2).sum())),
         ('ip', '<#>', lambda a, b: -(a @ b)),
         ('cosine', '<=>', lambda a, b: 1 - (a @ b) / np.sqrt((a @ a) * (b @ b))),
         ('l1', '<+>', lambda a, b: np.abs(a - b).sum())]
metrics = [Metric(column, name, operator, f'{type}_{name}_ops',
                  lambda a, b, f=f: f(np.array(a, float), np.array(b, float)))
           for column, type in (('v', 'vector'), ('h', 'halfvec'), ('s', 'sparsevec'))
           for name, operator, f in dense]
metrics += [
    Metric('b', 'hamming', '<~>', 'bit_hamming_ops', lambda a, b: (bits(a) != bits(b)).sum()),
    Metric('b', 'jaccard', '<%>', 'bit_jaccard_ops',
           lambda a, b: 1 - (bits(a) & bits(b)).sum() / (bits(a) | bits(b)).sum())]


def nearest(metric, question):
    """How far the ten nearest rows are."""
    return sorted(float(metric.distance(getattr(row, metric.column), getattr(question, metric.column)))
                  for row in rows)[:10]


def report(good, name, *details):
    global failed
    failed = failed or not good
    print('ok' if good else 'not ok', '-', name)
    if not good:
        for detail in details:
            print('#', str(detail).replace('\n', '\n# '))


def same(got, expected, name):
    report(got == expected, name, got, 'is not', expected)


def same_neighbours(ask, which=metrics):
    """`ask(metric, question)` returns the distances of the ten nearest rows."""
    for metric in which:
        wrong = []
        for question in questions:
            got, expected = list(ask(metric, question)), nearest(metric, question)
            if len(got) != 10 or not all(isinstance(d, float) for d in got) \
                    or not np.allclose(got, expected, rtol=0, atol=1e-5):
                wrong += [got, 'is not', expected]
        report(not wrong, f'{metric.opclass}: the nearest rows', *wrong)


def run(program):
    try:
        program()
    except Exception:
        report(False, 'the program ends well', traceback.format_exc())
    sys.exit(failed)
