"""Threads: global settings shared by several, and results in order whatever their number."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from predictnas.predictors import AutoPredictor
from predictnas.predictors.threads import in_threads, shared_by_threads, single_thread


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def overlapping(context):
    """Enter a context in two threads, the one that enters first leaving first."""
    entered, left = threading.Event(), threading.Event()

    def first():
        with context():
            entered.set()
            second_inside.wait(10)
        left.set()

    second_inside = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    with context():
        second_inside.set()
        assert left.wait(10)
        yield
    thread.join()


def test_the_last_to_leave_puts_back():
    state = ["outside"]

    @shared_by_threads
    @contextmanager
    def changed():
        before = state[0]
        state[0] = "inside"
        yield
        state[0] = before

    for _ in overlapping(changed):
        assert state == ["inside"]  # though the first, who changed it, has left
    assert state == ["outside"]


def test_an_exception_leaves_too(two_threads):
    def fail():
        with single_thread():
            raise ValueError(f"with {torch.get_num_threads()}")

    with pytest.raises(ValueError, match="with 1"):
        fail()
    assert torch.get_num_threads() == 2


def test_items_run_side_by_side_and_come_back_in_order(two_threads):
    meeting = threading.Barrier(2)

    def slow(number):
        meeting.wait(10)  # breaks unless two run at a time
        return number, torch.get_num_threads()

    assert in_threads(slow, [3, 1, 2, 0]) == [(3, 1), (1, 1), (2, 1), (0, 1)]
    assert torch.get_num_threads() == 2


def test_one_thread_is_the_callers():
    with single_thread():
        assert in_threads(lambda _: threading.get_ident(), [0, 1]) == [threading.get_ident()] * 2


def test_an_error_of_an_item_is_raised(two_threads):
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        in_threads(lambda number: 1 / number, [1, 0, 2])
    assert torch.get_num_threads() == 2


def test_a_stack_is_the_same_by_one_thread_and_by_two(cells, two_threads):
    table, accuracy = cells(60, noise=0.5)
    stack = AutoPredictor(members=("gp", "gnn", "ridge", "forest"))
    by_two = stack.fit(table[:40], accuracy[:40]).predict(table[40:], return_std=True)
    with single_thread():
        by_one = stack.fit(table[:40], accuracy[:40]).predict(table[40:], return_std=True)
    np.testing.assert_array_equal(by_two, by_one)
