"""The module hash of NAS-Bench-101, for many cells at once."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["module_hashes"]

# What the benchmark writes for the input and the output in the place of an operation.
INPUT_LABEL, OUTPUT_LABEL = -1, -2
# Cells whose messages are held in memory at once.
_CHUNK = 256
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DIGEST = 16
_BAR = ord("|")


def module_hashes(matrices: NDArray[np.bool_], labels: NDArray[np.int64]) -> list[str]:
    r"""Return the module hash of every cell: equal for isomorphic cells.

    With H the MD5 digest in hexadecimal digits, every vertex v starts from its degrees and its
    label, and takes up what is around it as often as there are vertices:

    .. math::

        h_v^0 &= H((d_v^\text{out}, d_v^\text{in}, l_v)), \\
        h_v^{t+1} &= H(h_u^t \dots | h_w^t \dots | h_v^t),
            \quad u \to v,\ v \to w, \text{ both sorted}.

    The hash of the cell is H of the sorted list of the hashes of its vertices.

    Parameters
    ----------
    matrices
        Adjacency matrices (n, vertices, vertices), entry (i, j) for the edge from i to j.
    labels
        The operations (n, vertices - 2) of the vertices between input and output: 0 for the
        3 × 3 convolution, 1 for the 1 × 1 convolution, 2 for pooling.

    References
    ----------
    C. Ying, A. Klein, E. Christiansen, E. Real, K. Murphy, F. Hutter. NAS-Bench-101: Towards
    reproducible neural architecture search. ICML 2019 (arXiv:1902.09635).
    """
    ends = np.pad(labels, ((0, 0), (1, 0)), constant_values=INPUT_LABEL)
    ends = np.pad(ends, ((0, 0), (0, 1)), constant_values=OUTPUT_LABEL)
    hashes: list[str] = []
    for start in range(0, len(matrices), _CHUNK):
        part = slice(start, start + _CHUNK)
        hashes += _hashes(matrices[part], ends[part])
    return hashes


def _hashes(matrices: NDArray[np.bool_], labels: NDArray[np.int64]) -> list[str]:
    cells, vertices = labels.shape
    degrees_in, degrees_out = matrices.sum(axis=1), matrices.sum(axis=2)
    digests = _first_digests(degrees_out, degrees_in, labels)
    # A message has room for all vertices before the first bar and again before the second one.
    bars = vertices * 2 * _DIGEST, 2 * vertices * 2 * _DIGEST + 1
    layout = np.empty((cells, vertices, bars[1] + 1 + 2 * _DIGEST), dtype=np.uint8)
    layout[..., list(bars)] = _BAR
    present = np.ones(layout.shape, dtype=np.bool_)
    stops = np.cumsum((degrees_in + degrees_out + 1) * 2 * _DIGEST + 2).tolist()
    starts = [0, *stops[:-1]]
    rows = np.arange(cells)[:, None]
    for _ in range(vertices):
        order = _order(digests)
        digits = _hexadecimal(digests)
        around = digits[rows, order].reshape(cells, 1, bars[0])
        layout[..., : bars[0]] = around
        layout[..., bars[0] + 1 : bars[1]] = around
        layout[..., bars[1] + 1 :] = digits
        before = matrices[rows, order].transpose(0, 2, 1)
        after = matrices[rows, :, order].transpose(0, 2, 1)
        present[..., : bars[0]] = before.repeat(2 * _DIGEST, axis=2)
        present[..., bars[0] + 1 : bars[1]] = after.repeat(2 * _DIGEST, axis=2)
        text = layout[present].tobytes()
        digests = _digests(
            (text[start:stop] for start, stop in zip(starts, stops, strict=True)), vertices
        )
    digits = _hexadecimal(digests)[rows, _order(digests)]
    lists = np.empty((cells, vertices, 2 * _DIGEST + 4), dtype=np.uint8)
    lists[...] = np.frombuffer(b"'" + bytes(2 * _DIGEST) + b"', ", dtype=np.uint8)
    lists[..., 1 : 1 + 2 * _DIGEST] = digits
    return [
        hashlib.md5(b"[" + row.tobytes()[:-2] + b"]", usedforsecurity=False).hexdigest()
        for row in lists
    ]


def _first_digests(
    degrees_out: NDArray[np.int64], degrees_in: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return digests (cells, vertices, 16) of the degrees and the label of every vertex."""
    triples = np.stack([degrees_out, degrees_in, labels], axis=-1).reshape(-1, 3)
    known: dict[tuple[int, ...], bytes] = {}
    messages = []
    for triple in map(tuple, triples.tolist()):
        if triple not in known:
            known[triple] = str(triple).encode()
        messages.append(known[triple])
    return _digests(messages, labels.shape[1])


def _digests(messages: Iterable[bytes], vertices: int) -> NDArray[np.uint8]:
    """Return the MD5 digests (cells, vertices, 16) of the messages of all vertices."""
    md5 = hashlib.md5
    joined = b"".join([md5(text, usedforsecurity=False).digest() for text in messages])
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, vertices, _DIGEST)


def _order(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the vertices of every cell sorted by digest, which is as their digits are sorted."""
    words = digests.view(">u8")
    order: NDArray[np.int64] = np.lexsort((words[..., 1], words[..., 0]), axis=-1)
    return order


def _hexadecimal(digests: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the hexadecimal digits (cells, vertices, 32) of digests."""
    nibbles = np.stack([digests >> 4, digests & 15], axis=-1)
    return _HEX_DIGITS[nibbles].reshape(*digests.shape[:-1], 2 * _DIGEST)
