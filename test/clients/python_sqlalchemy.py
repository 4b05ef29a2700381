"""SQLAlchemy with pgvector.sqlalchemy: types, indexes, distances, aggregates, reflection."""

import numpy as np
from pgvector import HalfVector, SparseVector
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg, sum as vector_sum
from sqlalchemy import Index, Integer, create_engine, inspect, select, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

import kit


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = 'items'
    id = mapped_column(Integer, primary_key=True)
    v = mapped_column(VECTOR(8))
    h = mapped_column(HALFVEC(8))
    s = mapped_column(SPARSEVEC(12))
    b = mapped_column(BIT(16))
    __table_args__ = tuple(
        Index(f'items_{metric.opclass}', metric.column, postgresql_using='hnsw',
              postgresql_with={'m': 12, 'ef_construction': 50},
              postgresql_ops={metric.column: metric.opclass})
        for metric in kit.metrics)


distances = {'<->': 'l2_distance', '<#>': 'max_inner_product', '<=>': 'cosine_distance', '<+>': 'l1_distance',
             '<~>': 'hamming_distance', '<%>': 'jaccard_distance'}


def program():
    engine = create_engine('postgresql+psycopg2://')
    with Session(engine) as session:
        session.execute(text('CREATE EXTENSION IF NOT EXISTS vector'))
        session.commit()
    Base.metadata.create_all(engine)

    columns = {column['name']: column['type'] for column in inspect(engine).get_columns('items')}
    kit.same([repr(type(columns[c])) for c in 'vhs'], [repr(t) for t in (VECTOR, HALFVEC, SPARSEVEC)],
             'the types are recognised in the database')

    with Session(engine) as session:
        session.add_all(Item(id=row.id, v=row.v, h=row.h, s=row.s and SparseVector(row.s), b=row.b)
                        for row in kit.rows + [kit.nulls])
        session.commit()

        items = session.scalars(select(Item).order_by(Item.id)).all()
        kit.same({(type(item.v), type(item.h), type(item.s)) for item in items[:-1]},
                 {(np.ndarray, HalfVector, SparseVector)}, 'values come back in their types')
        kit.same([(i.id, i.v.tolist(), i.h.to_list(), i.s.to_list(), i.b) for i in items[:-1]],
                 [tuple(row) for row in kit.rows], 'and with their numbers')

        def ask(metric, question):
            q = getattr(question, metric.column)
            distance = getattr(getattr(Item, metric.column), distances[metric.operator])(
                SparseVector(q) if metric.column == 's' else q)
            return session.scalars(select(distance).order_by(distance).limit(10)).all()

        kit.same_neighbours(ask)

        mean, total = session.execute(select(avg(Item.v), vector_sum(Item.h))).one()
        kit.same([np.allclose(mean, np.mean([row.v for row in kit.rows], axis=0), atol=1e-6), type(total)],
                 [True, HalfVector], 'aggregates answer in their types')

        try:
            session.execute(text("INSERT INTO items (id, v) VALUES (0, '[1,2,3]')"))
            kit.report(False, 'another number of dimensions is refused')
        except DataError as error:
            kit.same([error.orig.pgcode, error.orig.diag.message_primary],
                     ['22000', 'expected 8 dimensions, not 3'], 'another number of dimensions is refused')
    engine.dispose()


kit.run(program)
