import numpy as np
import pandas as pd
import pytest

from encoders import ArchGraph
from predictnas.errors import InputError
from predictnas.predictors.inputs import read_inputs, read_targets

CHAIN = ArchGraph(("input", "conv", "output"), ((0, 1), (1, 2)))
DIRECT = ArchGraph(("input", "output"), ((0, 1),))


def test_numeric_columns_come_in_alphabetical_order():
    table = pd.DataFrame({"b": [1, 2], "graph": [CHAIN, DIRECT], "a": [True, False]})
    inputs = read_inputs(table)
    assert inputs.graphs == (CHAIN, DIRECT)
    assert inputs.columns == ("a", "b")
    assert inputs.names() == ("a", "b", "graph")
    np.testing.assert_array_equal(inputs.numeric, [[1.0, 1.0], [0.0, 2.0]])
    assert inputs.numeric.dtype == np.float64
    assert len(inputs) == 2
    assert inputs.rows(1, 5).graphs == (DIRECT,)


def test_arrays_count_as_numbered_columns():
    for table in (np.ones((3, 2)), [[1, 1]] * 3, pd.DataFrame(np.ones((3, 2)))):
        inputs = read_inputs(table)
        assert inputs.graphs is None
        assert inputs.columns == ("x0", "x1")


def test_rows_with_isomorphic_graphs_are_the_same_architecture():
    longer = ArchGraph(("input", "skip_connect", "output"), ((0, 1), (1, 2)))
    inputs = read_inputs(pd.DataFrame({"graph": [DIRECT, longer, CHAIN]}))
    first, second, third = inputs.identities()
    assert first == second != third


def test_operations_are_those_of_all_rows():
    one, other = (
        ArchGraph(("input", name, "output"), ((0, 1), (1, 2))) for name in ("pool", "conv")
    )
    assert read_inputs(pd.DataFrame({"graph": [one, other, one]})).operations() == ("conv", "pool")
    assert read_inputs(pd.DataFrame({"x": [1.0]})).operations() is None


def test_rows_without_graphs_are_the_same_where_their_numbers_are():
    first, second, third = read_inputs(np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])).identities()
    assert first == second != third


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"graph": []}), "at least one row, found none"),
        (pd.DataFrame({"graph": [CHAIN, "conv"]}), "found str in row 1; make graphs with"),
        (pd.DataFrame({"graph": [CHAIN], "arch": ["x"]}), "numbers in column 'arch', found"),
        (pd.DataFrame({"a": [1j]}), "numbers in column 'a', found complex128"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "distinct names, found 'a', 'a'"),
        (pd.DataFrame({"a": [1], 2: [3]}), "distinct names, found 'a', 2"),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "column 'a', found NaN in row 1"),
    ],
)
def test_tables_that_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        read_inputs(table)


def test_columns_must_be_the_expected_ones():
    table = pd.DataFrame({"a": [1.0], "b": [2.0]})
    assert read_inputs(table, ("b", "a")).columns == ("a", "b")
    with pytest.raises(InputError, match="found c missing; give"):
        read_inputs(table, ("a", "b", "c"))
    with pytest.raises(InputError, match="found b too many; give"):
        read_inputs(table, ("a",))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1.0, 2.0], "one target for each of the 3 rows, found 2"),
        ([1.0, np.nan, np.inf], r"the target y, found NaN in row 1 \(2 of 3 rows"),
        (["a", "b", "c"], "expected one number per row as target"),
        (None, "target y is None"),
    ],
)
def test_targets_that_are_refused(targets, message):
    with pytest.raises(InputError, match=message):
        read_targets(targets, 3)
