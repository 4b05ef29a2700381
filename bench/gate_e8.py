#!/usr/bin/python3
"""What codes should an inverted file scan?

    bench/gate_e8.py FOLDER cosine|l2 LISTS NPROBE,NPROBE,... [QUESTIONS]

FOLDER has train.npy, test.npy and gt.npy (the nearest rows of each question).  Rows
are divided into LISTS by k-means; a code stands for a row's residual, what is left
when its list's centroid is taken away.  For each number of lists probed, and each kind
of code, the nearest R rows by code are looked at: how many of the true ten nearest are
among them?  The more R has to be, the more rows must be refined.

Codes, with bits a dimension:
    sign       1    signs of the rotated residual (RaBitQ, Gao and Long 2024)
    grid2..4   2-4  its levels on a grid that the residual's length scales to
    pq_d4      1    product quantiser, 16 centroids of 4 dimensions (Jegou et al. 2011)
    pq_d2      2    16 centroids of 2 dimensions
    opq_d4/2        the same after a rotation by the principal axes, in an order that
                    gives each part as much variance (Ge et al. 2013)
    turned_d8..2    products of the rotated residual in one length, as ivfpq has them
    normal_d8..2    the same, by the codebook of normally distributed vectors
    weighted_d4/2   the same as turned_d, the error along the row itself weighing four
                    times as much (ScaNN, Guo et al. 2020), which codes are then chosen for
All are scaled so that the estimated inner product of a row with itself is right.
"""
import sys

import numpy as np

K = 10
DEPTHS = [10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000]


def kmeans(x, k, rounds, rng):
    centers = x[rng.choice(len(x), k, replace=False)].copy()
    for _ in range(rounds):
        owner = assign(x, centers)
        sums = np.zeros_like(centers)
        np.add.at(sums, owner, x)
        count = np.bincount(owner, minlength=k)
        full = count > 0
        centers[full] = sums[full] / count[full, None]
        centers[~full] = x[rng.choice(len(x), (~full).sum())]
    return centers


def assign(x, centers):
    half = 0.5 * (centers ** 2).sum(1)
    return np.concatenate([np.argmax(x[i:i + 20000] @ centers.T - half, 1) for i in range(0, len(x), 20000)])


def scaled(residual, code):
    """The code, lengthened so that its inner product with the residual is the latter's square."""
    dot = np.einsum('ij,ij->i', residual, code)
    return code * ((residual ** 2).sum(1) / np.maximum(dot, 1e-12))[:, None]


def grid(residual, bits):
    """Levels of a symmetric grid; of some widths, the one with the best angle to each row."""
    half = 2 ** (bits - 1)
    deviation = np.sqrt((residual ** 2).mean(1, keepdims=True)) + 1e-12
    best = None
    for width in np.linspace(0.3, 2.5, 12) / half * 1.6:
        code = np.clip(np.floor(residual / (deviation * width)), -half, half - 1) + 0.5
        angle = np.einsum('ij,ij->i', residual, code) / np.sqrt((code ** 2).sum(1))
        if best is None:
            best, kept = angle, code
        else:
            nearer = angle > best
            best[nearer], kept[nearer] = angle[nearer], code[nearer]
    return scaled(residual, kept)


def codebook(sample, width, rng):
    sample = sample[rng.choice(len(sample), min(len(sample), 30000), replace=False)]
    return [kmeans(sample[:, at:at + width], 16, 12, rng) for at in range(0, sample.shape[1], width)]


def product(residual, width, books):
    code = np.empty_like(residual)
    for at, centers in zip(range(0, residual.shape[1], width), books):
        code[:, at:at + width] = centers[assign(residual[:, at:at + width], centers)]
    return code


def in_one_length(residual):
    return residual * np.sqrt(residual.shape[1]) / (np.linalg.norm(residual, axis=1, keepdims=True) + 1e-12)


def weighted(residual, row, code, width, books, weight):
    """Chooses each part's center anew, given the others', by the error with its share along the row weighted."""
    along = np.einsum('ij,ij->i', row, residual - code)
    for at, centers in list(zip(range(0, residual.shape[1], width), books)) * 2:
        part, ray = residual[:, at:at + width], row[:, at:at + width]
        rest = along + np.einsum('ij,ij->i', ray, code[:, at:at + width])
        loss = ((centers ** 2).sum(1) - 2 * part @ centers.T + (weight - 1) * (rest[:, None] - ray @ centers.T) ** 2)
        code[:, at:at + width] = centers[loss.argmin(1)]
        along = rest - np.einsum('ij,ij->i', ray, code[:, at:at + width])
    return code


def balanced_axes(residual, width):
    """Principal axes, dealt out so that the products of variances of all parts are alike."""
    values, vectors = np.linalg.eigh(np.cov(residual[::7].T))
    parts = residual.shape[1] // width
    logs, dealt = np.zeros(parts), [[] for _ in range(parts)]
    no_use = 0.1 * values.mean()            # what is less, products lose in any case
    for i in np.argsort(-values):
        part = min((p for p in range(parts) if len(dealt[p]) < width), key=lambda p: logs[p])
        dealt[part].append(i)
        logs[part] += np.log1p(max(values[i], 0) / no_use)
    return vectors[:, [i for part in dealt for i in part]].astype('float32')


def main():
    folder, metric, lists, probes = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 200
    rng = np.random.default_rng(1)
    train, test = (np.load(f'{folder}/{name}.npy').astype('float32') for name in ('train', 'test'))
    truth = np.load(f'{folder}/gt.npy')[:count, :K]
    test = test[:count]
    if metric == 'cosine':
        train /= np.linalg.norm(train, axis=1, keepdims=True) + 1e-12
        test /= np.linalg.norm(test, axis=1, keepdims=True) + 1e-12
    if train.shape[1] % 4:
        raise SystemExit('dimensions must be a multiple of four')
    centers = kmeans(train[rng.choice(len(train), min(len(train), 64 * int(lists)), replace=False)],
                     int(lists), 10, rng)
    owner = assign(train, centers)
    residual = train - centers[owner]
    members = [np.flatnonzero(owner == i) for i in range(int(lists))]
    near = np.argsort(((test[:, None] - centers[None]) ** 2).sum(2) if len(test) * centers.size < 2e8 else
                      (centers ** 2).sum(1) - 2 * test @ centers.T, 1)
    turn = np.linalg.qr(rng.standard_normal((train.shape[1],) * 2))[0].astype('float32')
    turned = residual @ turn

    def codes():
        yield 'exact', residual, None
        yield 'sign', scaled(turned, np.sign(turned) + 0.0), turn
        for bits in (2, 3, 4):
            yield f'grid{bits}', grid(turned, bits), turn
        for width in (4, 2):
            yield f'pq_d{width}', scaled(residual, product(residual, width, codebook(residual, width, rng))), None
            axes = balanced_axes(residual, width)
            by_axes = residual @ axes
            yield f'opq_d{width}', scaled(by_axes, product(by_axes, width, codebook(by_axes, width, rng))), axes
        unit = in_one_length(turned)
        rays = train @ turn
        rays /= np.linalg.norm(rays, axis=1, keepdims=True) + 1e-12
        for width in (8, 4, 2):
            if train.shape[1] % width:
                continue
            books = codebook(unit, width, rng)
            code = product(unit, width, books)
            yield f'turned_d{width}', scaled(turned, code), turn
            if width < 8:
                yield f'weighted_d{width}', scaled(turned, weighted(unit, rays, code, width, books, 4)), turn
            books = codebook(rng.standard_normal(unit.shape).astype('float32'), width, rng)
            yield f'normal_d{width}', scaled(turned, product(unit, width, books)), turn

    square = (residual ** 2).sum(1)
    print(f'{folder}: {len(train)} rows in {lists} lists, {count} questions; recall@10 of the nearest R by code')
    print('code         probes  in lists ' + ' '.join(f'{d:>6}' for d in DEPTHS))
    for name, code, axes in codes():
        for probe in map(int, probes.split(',')):
            found, reached = np.zeros(len(DEPTHS)), 0
            for q in range(count):
                rows = np.concatenate([members[i] for i in near[q, :probe]])
                offset = test[q] - centers[near[q, :probe]]
                sizes = [len(members[i]) for i in near[q, :probe]]
                turned_offset = offset if axes is None else offset @ axes
                dot = np.concatenate([code[members[i]] @ o for i, o in zip(near[q, :probe], turned_offset)])
                estimate = np.repeat((offset ** 2).sum(1), sizes) + square[rows] - 2 * dot
                order = rows[np.argsort(estimate)[:DEPTHS[-1]]]
                right = np.cumsum(np.isin(order, truth[q]))
                found += [right[min(d, len(right)) - 1] for d in DEPTHS]
                reached += np.isin(rows, truth[q]).sum()
            print(f'{name:12} {probe:6}  {reached / count / K:8.3f} ' +
                  ' '.join(f'{f / count / K:6.3f}' for f in found), flush=True)


if __name__ == '__main__':
    main()
