"""What architectures without labels tell a predictor of encodings: how they vary."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors.inputs import GRAPH, read_inputs

__all__ = ["LearnsFromUnlabelled", "check_unlabelled"]

# How columns vary is known from so many; all are encoded in every fit, and saved.
MOST_GRAPHS = 500


class LearnsFromUnlabelled:
    """A predictor whose encodings are laid out and scaled on architectures without labels too.

    A few labelled architectures show badly how much each column of an encoding varies, and some
    columns not at all; architectures without labels cost nothing.

    Attributes
    ----------
    unlabelled
        Their graphs, or None.
    """

    unlabelled: Sequence[ArchGraph] | None

    def pretrain(self, X: Any) -> Self:
        """Set ``unlabelled`` to the different graphs of a table, 500 of them where there are more.

        Parameters
        ----------
        X
            A table of architectures with a graph column; other columns are not used.

        Raises
        ------
        InputError
            If the table cannot be read or has no graphs.
        """
        graphs = read_inputs(X).graphs
        if graphs is None:
            raise InputError(f"expected a column {GRAPH!r} to pretrain on, found none; give graphs")
        distinct = list(dict.fromkeys(graphs))
        drawn = np.random.default_rng(0).permutation(len(distinct))[:MOST_GRAPHS]
        self.unlabelled = tuple(distinct[number] for number in np.sort(drawn))
        return self


def check_unlabelled(graphs: Any) -> None:
    """Raise InputError unless the parameter ``unlabelled`` is a sequence of graphs or None."""
    if graphs is None:
        return
    if not isinstance(graphs, Sequence) or not all(isinstance(g, ArchGraph) for g in graphs):
        raise InputError(
            f"expected unlabelled as a tuple of graphs or None, found {type(graphs).__name__}; "
            "call pretrain"
        )
