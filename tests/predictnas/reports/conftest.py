from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from predictnas.spaces import NasBench201

ORIGINS = ("warm start, by proxies", "warm start, random", "acquisition", "acquisition")


def provenance(**changes) -> dict:
    return {
        "seed": 0,
        "fingerprint": "f",
        "task_fingerprint": "t",
        "splits": {"train": 600, "valid": 597, "test": 600},
        "device": "cpu (x86_64)",
        "dtype": "float32",
        "versions": {"predictnas": "0.1.0", "torch": "2.13.0"},
        **changes,
    }


class StudyMaker:
    """Builds studies such as labelling and searching leave behind, without training."""

    def __init__(self, **attributes) -> None:
        self.space = NasBench201()
        self.study = optuna.create_study(direction="maximize", study_name="cells-digits-1")
        attributes = {
            "space": "nasbench201",
            "task": "digits",
            "task_fingerprint": "abc",
            "recipe": {"epochs": 4, "flip": False, "scale": {"cells": 1, "channels": 4}},
            "fingerprint": "def",
            **attributes,
        }
        for name, value in attributes.items():
            self.study.set_user_attr(name, value)

    def _add(self, arch, attrs, **trial) -> None:
        self.study.add_trial(
            create_trial(
                params=self.space.params(arch),
                distributions=self.space.distributions(),
                user_attrs={
                    "arch": self.space.format(arch),
                    "key": self.space.key(arch),
                    **attrs,
                },
                **trial,
            )
        )

    def label(self, arch, accuracy: float, *, curve=True, without=(), **attrs) -> None:
        attrs = {
            "origin": "random",
            "test_accuracy": accuracy - 0.5,
            "seconds": 1.5,
            "provenance": provenance(),
            **attrs,
        }
        attrs = {name: value for name, value in attrs.items() if name not in without}
        values = {epoch: accuracy * epoch / 4 for epoch in range(1, 5)} if curve else {}
        self._add(arch, attrs, value=accuracy, intermediate_values=values)

    def prune(self, arch, curve) -> None:
        self._add(arch, {"origin": "random"}, state=TrialState.PRUNED, intermediate_values=curve)

    def fail(self, arch, reason: str | None, origin: str = "acquisition") -> None:
        attrs = {"origin": origin} | ({} if reason is None else {"failure": reason})
        self._add(arch, attrs, state=TrialState.FAIL)

    def fill(self, count: int, *, forecasts: bool = True, proxies: bool = True) -> "StudyMaker":
        """Label `count` cells; accuracy grows with the number of 3 × 3 convolutions."""
        rng = np.random.default_rng(7)
        for number, row in enumerate(self.space.sample(count, rng, distinct=True)):
            arch = tuple(int(option) for option in row)
            accuracy = 60 + 5.0 * arch.count(3) + float(rng.normal())
            extra: dict = {"origin": ORIGINS[number % 4]}
            if forecasts and extra["origin"] == "acquisition":
                extra |= {"predicted_mean": accuracy + float(rng.normal()), "predicted_std": 1.0}
            if proxies:
                extra["proxies"] = {
                    "params": 1000.0 + 500 * arch.count(3),
                    "macs": 2000.0 + 900 * arch.count(3),
                    "zen": float(rng.normal()),
                    "naswot": accuracy + float(rng.normal(0, 5)),
                }
            self.label(arch, accuracy, **extra)
        return self


@pytest.fixture(scope="session")
def make_study() -> Callable[..., StudyMaker]:
    return StudyMaker
