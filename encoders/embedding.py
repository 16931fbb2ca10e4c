"""The learned embedding: points whose distances say how much graphs differ, without labels."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from sklearn.utils.validation import check_is_fitted

from encoders.base import Encoder
from encoders.errors import EncodingError
from encoders.graph_batch import GraphBatch
from encoders.graph_features import GraphFeatureEncoder
from encoders.weisfeiler_lehman import WeisfeilerLehmanEncoder

__all__ = ["EmbeddingEncoder"]

# Labels that fewer of the graphs have say little about the others.
RARE = 0.01
# Rounding hides how the last digits of a sum depend on its order.
DECIMALS = 10


class EmbeddingEncoder(Encoder):
    """Points of a graph autoencoder, trained on the graphs of `fit` without their labels.

    A graph network maps a graph to a point, and from the point alone a second network must say
    what the graph is like: how often every Weisfeiler–Lehman label of one iteration occurs that
    at least one in a hundred graphs has, and its `GraphFeatureEncoder` features; where `fit` gets
    scores, also these. Each of the groups counts equally, and its columns are standardised. So
    graphs with the same subtrees and paths come to lie close together. Any graph has a point,
    seen in `fit` or not; rows do not depend on how nodes are numbered, up to rounding, and are
    rounded to ten decimals.

    Training takes some seconds, and more graphs make it better, not slower: fit it to a sample of
    a space once, rather than to the few graphs that have labels. The labels `y` are ignored.

    Parameters
    ----------
    operations
        The operations that nodes may carry; None takes those of the graphs seen in `fit`.
    dimensions
        The number of columns.
    steps
        How many batches of 128 graphs the networks are trained on.
    seed
        Decides the weights at the start and the order of the graphs. Torch's own generator is left
        as it is.
    canonical
        Whether to encode canonical forms.

    Attributes
    ----------
    operations_ : tuple of str
        The operations that nodes may carry.
    network_ : torch.nn.Module
        The trained networks, in double precision.

    References
    ----------
    A. Narayanan, M. Chandramohan, R. Venkatesan, L. Chen, Y. Liu, S. Jaiswal. graph2vec: Learning
    distributed representations of graphs. 2017 (arXiv:1707.05005), for points that predict
    Weisfeiler–Lehman labels.
    S. Yan, Y. Zheng, W. Ao, X. Zeng, M. Zhang. Does unsupervised architecture representation
    learning help neural architecture search? NeurIPS 2020 (arXiv:2006.06936).
    """

    invariant = True
    learns_weights = True

    def __init__(
        self,
        operations: Sequence[str] | None = None,
        dimensions: int = 32,
        steps: int = 300,
        seed: int = 0,
        canonical: bool = True,
    ) -> None:
        self.operations = operations
        self.dimensions = dimensions
        self.steps = steps
        self.seed = seed
        self.canonical = canonical

    def fit(self, X: Any, y: Any = None, scores: ArrayLike | None = None) -> Self:  # noqa: ARG002
        """Train the networks.

        Parameters
        ----------
        X
            A column of `n` graphs, see `as_graphs`.
        y
            Ignored.
        scores
            Numbers (n,) or (n, c) that points should also tell, such as proxy scores. Their ranks
            count; NaN where there is none.

        Raises
        ------
        EncodingError
            If `X` is not a column of graphs, `scores` does not fit to it, or a parameter cannot
            be used.
        """
        import torch

        from encoders.graph_autoencoder import GraphAutoencoder, one_thread

        super().fit(X)
        forms, numbers = self._distinct(X)
        groups = self._descriptions(forms)
        if scores is not None:
            groups.append(_ranked(scores, numbers, len(forms)))
        graphs = GraphBatch.of(forms, self.operations_) if isinstance(forms, list) else forms
        graphs = graphs.recoded(self.operations_)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = GraphAutoencoder(
                len(self.operations_),
                self.dimensions,
                [group.shape[1] for group in groups],
                float(graphs.num_nodes.mean()),
            )
            self.network_.train_on(graphs, np.hstack(groups), self.steps, self.seed)
        self.network_.double().eval()
        return self

    def _descriptions(self, forms: Any) -> list[NDArray[np.float64]]:
        """Return the groups of columns that the points of graphs must tell."""
        features = GraphFeatureEncoder(self.operations_, canonical=False).fit_transform(forms)
        labels = WeisfeilerLehmanEncoder(self.operations_, iterations=1, canonical=False)
        counts = labels.fit(forms).count(forms)
        frequent = (counts > 0).sum(axis=0) >= RARE * len(features)
        logarithms = np.log2(1 + counts[:, frequent].toarray())
        return [_standardised(features), _standardised(logarithms)]

    def _fit_layout(self, batches: list[GraphBatch]) -> None:  # noqa: ARG002
        for name, least in (("dimensions", 1), ("steps", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise EncodingError(
                    f"expected {name} as a whole number of at least {least}, found {value!r}; "
                    "give another one to the encoder"
                )

    def _encode(self, graphs: GraphBatch) -> NDArray[np.float64]:
        import torch

        from encoders.graph_autoencoder import one_thread

        check_is_fitted(self, "network_")
        with one_thread(), torch.no_grad():
            points = self.network_(*self.network_.inputs(graphs))
        rounded: NDArray[np.float64] = points.numpy().round(DECIMALS) + 0.0
        return rounded

    def _feature_names(self) -> list[str]:
        return [f"embedding{index}" for index in range(self.dimensions)]


def _standardised(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return columns of mean 0 and standard deviation 1; constant ones are 0. NaN stays."""
    centred = columns - np.nanmean(columns, axis=0)
    scale = np.nanstd(columns, axis=0)
    standardised: NDArray[np.float64] = centred / np.where(scale > 0, scale, 1.0)
    return standardised


def _ranked(scores: ArrayLike, numbers: NDArray[np.int64], graphs: int) -> NDArray[np.float64]:
    """Return the normal scores (graphs, c) of columns, means over the rows of the same graph."""
    columns = np.asarray(scores)
    if columns.shape[:1] != numbers.shape or columns.ndim > 2 or columns.dtype.kind not in "biuf":
        raise EncodingError(
            f"expected scores as numbers of shape ({len(numbers)},) or ({len(numbers)}, c), found "
            f"{columns.dtype} of shape {columns.shape}; give one row for every graph"
        )
    columns = columns.reshape(len(numbers), -1).astype(np.float64)
    if np.isinf(columns).any():
        raise EncodingError("expected finite scores, found infinite ones; write NaN for those")
    ranks = np.full((graphs, columns.shape[1]), np.nan)
    for column, target in zip(columns.T, ranks.T, strict=True):
        known = ~np.isnan(column)
        if known.any():
            count = np.bincount(numbers[known], minlength=graphs)
            total = np.bincount(numbers[known], column[known], minlength=graphs)
            mean = total[count > 0] / count[count > 0]
            target[count > 0] = norm.ppf((rankdata(mean) - 0.5) / len(mean))
    return ranks
