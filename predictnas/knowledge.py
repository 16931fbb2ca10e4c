"""What predictors can be told beside labels: another task, and architectures without labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
from sklearn.base import clone

from predictnas.errors import InputError
from predictnas.predictors import Predictor, SourceTask
from predictnas.pretraining import can_be_pretrained, pretrained, pretraining_table
from predictnas.spaces import Space
from predictnas.tables import LabelTable
from predictnas.transferring import read_source_task, transferred

__all__ = ["Knowledge"]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What there is to learn from beside the labels of one's own task.

    Attributes
    ----------
    space
        The space.
    source
        Another task, or None.
    unlabelled
        A table of architectures to pretrain on, or None.
    seed
        Of predictors.
    """

    space: Space
    source: SourceTask | None = None
    unlabelled: pd.DataFrame | None = None
    seed: int = 0

    @classmethod
    def read(
        cls,
        space: Space,
        *,
        transfer: str | None = None,
        transfer_target: str | None = None,
        pretrain: str | None = None,
        target: str = "valid_accuracy",
        features: str | None = None,
        own: LabelTable | None = None,
        seed: int = 0,
        on_step: Callable[[str], None],
    ) -> "Knowledge":
        """Read what options name.

        Parameters
        ----------
        space
            The space.
        transfer, transfer_target
            The other task, see :func:`~predictnas.transferring.read_source_task`; the column is
            `target` unless it is named.
        pretrain
            See :func:`~predictnas.pretraining.pretraining_table`.
        target
            The column of one's own labels, which is nothing to pretrain on.
        features
            The inputs that predictors will have, see :func:`~predictnas.fitting.feature_table`.
        own
            One's own labels, which are no other task's.
        seed
            Of draws and predictors.
        on_step
            Called with a line about what was learned.

        Raises
        ------
        InputError
            If something cannot be read or used, or a column is named without a source that has
            columns.
        """
        if transfer_target is not None and (transfer is None or transfer.endswith(".npz")):
            raise InputError(
                f"--transfer-target {transfer_target}: expected --transfer with labels that have "
                "such a column, found none; name them, or leave it out"
            )
        source = unlabelled = None
        if transfer is not None:
            column = transfer_target or target
            source = read_source_task(transfer, column, space, own=own, seed=seed, on_step=on_step)
            count = len(source.identities)
            on_step(
                f"{transfer}: {count} labelled architectures of another task ({column})"
                if count
                else f"{transfer}: a predictor of another task"
            )
        if pretrain is not None:
            if features is not None and not {"graph", "all"} & set(features.split(",")):
                raise InputError(
                    f"--pretrain {pretrain}: learns from graphs, found --features {features}; "
                    "add graph to the features, or leave --pretrain out"
                )
            unlabelled = pretraining_table(pretrain, space, target=target, seed=seed)
            told = ["graphs", *unlabelled.columns.drop("graph")]
            on_step(f"{len(unlabelled)} architectures to pretrain on: {', '.join(told)}")
        return cls(space, source, unlabelled, seed)

    def used_by(self, predictor: Predictor) -> Predictor:
        """Return an unfitted predictor that uses all of it.

        Raises
        ------
        InputError
            If the predictor cannot be pretrained and there is something to pretrain on.
        """
        if self.unlabelled is not None:
            predictor = self._pretrained(predictor)
        return predictor if self.source is None else self._transferred(predictor)

    def variants(self, predictors: Mapping[str, Predictor]) -> dict[str, Predictor]:
        """Return predictors by name, each with its variants beside it.

        They are ``NAME+transfer``, and ``NAME+pretrain`` of those that can be pretrained.

        Raises
        ------
        InputError
            If there is something to pretrain on and none can be.
        """
        found: dict[str, Predictor] = {}
        for name, predictor in predictors.items():
            found[name] = predictor
            if self.source is not None:
                found[f"{name}+transfer"] = self._transferred(predictor)
            if self.unlabelled is not None and can_be_pretrained(predictor):
                found[f"{name}+pretrain"] = self._pretrained(predictor)
        if self.unlabelled is not None and not any(map(can_be_pretrained, predictors.values())):
            self._pretrained(next(iter(predictors.values())))
        return found

    def _with_operations(self, predictor: Predictor) -> Predictor:
        copy: Predictor = clone(predictor)
        if "random_state" in copy.get_params(deep=False):
            copy.set_params(random_state=self.seed)
        if copy.get_params(deep=False).get("operations", ()) is None:
            copy.set_params(operations=self.space.operations)
        return copy

    def _pretrained(self, predictor: Predictor) -> Predictor:
        assert self.unlabelled is not None
        return pretrained(self._with_operations(predictor), self.unlabelled)

    def _transferred(self, predictor: Predictor) -> Predictor:
        assert self.source is not None
        return transferred(self._with_operations(predictor), self.source, seed=self.seed)
