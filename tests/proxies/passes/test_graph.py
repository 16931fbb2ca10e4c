import pytest
import torch
from torch.nn import functional

from proxies import UndefinedProxyError
from proxies.passes.graph import live_nodes, relu_signs


def names_of(output: torch.Tensor, *inputs: torch.Tensor) -> set[str]:
    return {node.name() for node in live_nodes(output, inputs)}


def test_only_paths_from_input_to_output_are_live():
    x = torch.ones(2, requires_grad=True)
    parameter = torch.ones(2, requires_grad=True)
    torch.sin(x)
    output = x.exp() + parameter.cos() + x.tanh() * 0.0 + x.mul(torch.zeros(2)).sigmoid()
    assert names_of(output, x) == {
        *("AddBackward0", "ExpBackward0", "torch::autograd::AccumulateGrad"),
    }


def test_without_inputs_everything_below_the_output_is_live():
    parameter = torch.ones(2, requires_grad=True)
    assert "CosBackward0" in names_of(parameter.cos() + 1)


def test_what_may_become_more_than_zero_is_live():
    x = torch.ones(2, requires_grad=True)
    weight = torch.zeros(2, requires_grad=True)
    assert "ExpBackward0" in names_of(x.exp() * weight, x)
    assert "ExpBackward0" in names_of(x.exp() * torch.tensor([0.0, 1.0]), x)


def test_a_node_dead_on_one_path_may_live_on_another():
    x = torch.ones(2, requires_grad=True)
    hidden = x.exp()
    assert "ExpBackward0" in names_of(hidden * 0.0 + hidden, x)


def test_an_output_without_a_graph_is_undefined():
    with pytest.raises(UndefinedProxyError, match="found one without a gradient"):
        live_nodes(torch.ones(2), [])


def test_signs_are_of_the_argument():
    x = torch.tensor([[-1.0, 2.0], [3.0, -4.0]], requires_grad=True)
    on = [[False, True], [True, False]]
    output = functional.relu(x) + functional.softplus(x) + functional.leaky_relu(x)
    assert [signs.tolist() for signs in relu_signs(output, [x], 2)] == [on] * 3
