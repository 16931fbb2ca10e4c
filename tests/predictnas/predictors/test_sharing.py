import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from predictnas.predictors import AutoPredictor
from predictnas.predictors.features import Features
from predictnas.predictors.persistence import load_predictor, save_predictor
from predictnas.predictors.sharing import Sharing, once


class Counter:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return object()


def test_equal_keys_are_computed_once_inside_only():
    count = Counter()
    with Sharing():
        first = once(count, "a", np.arange(3), (1, None))
        assert once(count, "a", np.arange(3), (1, None)) is first
        assert count.calls == 1
        others = [
            once(count, "b", np.arange(3), (1, None)),
            once(count, "a", np.arange(4), (1, None)),
            once(count, "a", np.arange(3), (1, 2)),
            once(count, "a", np.arange(3), (1,)),
            once(count, "a", [0, 1, 2], (1, None)),
        ]
        assert len({id(each) for each in (first, *others)}) == 6
    assert once(count, "a", np.arange(3), (1, None)) is not first
    assert once(count) is not once(count)


def test_threads_wait_for_the_one_that_computes():
    started, release = threading.Event(), threading.Event()
    shared, calls = Sharing(), []

    def slow():
        calls.append(None)
        started.set()
        assert release.wait(10)
        return object()

    def ask():
        with shared:
            return once(slow, "key")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        assert started.wait(10)
        second = pool.submit(ask)
        release.set()
        assert first.result() is second.result()
    assert len(calls) == 1


def test_others_do_not_share():
    count, shared = Counter(), Sharing()
    with shared:
        first = once(count, "key")
        with ThreadPoolExecutor(1) as pool:  # a thread that did not enter
            assert pool.submit(once, count, "key").result() is not first
        with Sharing():
            assert once(count, "key") is not first
        assert once(count, "key") is first
    with shared:
        assert once(count, "key") is first


def test_what_fails_is_tried_again():
    def fail():
        raise ValueError("no")

    with Sharing():
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                once(fail, "key")
        assert once(lambda: 1, "key") == 1


def test_members_of_a_stack_share_encoded_rows(cells, monkeypatch, tmp_path):
    table, accuracy = cells(40)
    encoded = []
    transformed = Features._transformed

    def counting(features, inputs):
        encoded.append(len(inputs))
        return transformed(features, inputs)

    monkeypatch.setattr(Features, "_transformed", counting)
    members = ("gp", "ridge", "forest", "boosting")
    stack = AutoPredictor(members=members).fit(table[:30], accuracy[:30])
    assert encoded == [30]
    stack.predict(table)
    assert encoded == [30, 40]
    stack.members_[0].predict(table)
    assert encoded == [30, 40, 40]
    stack.posterior(table)
    assert encoded == [30, 40, 40, 40]
    save_predictor(stack, tmp_path / "stack.npz")
    load_predictor(tmp_path / "stack.npz")[0].predict(table)
    assert encoded == [30, 40, 40, 40, 40]
