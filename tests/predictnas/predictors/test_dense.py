import numpy as np
import pytest
import torch

from predictnas.predictors.dense import affine, product, solve_lower


def test_products_and_solutions_are_those_of_torch():
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 7), (7, 11))
    )
    torch.testing.assert_close(product(first, second), first @ second)
    torch.testing.assert_close(product(second.mT, first.mT), (first @ second).mT)
    factor = torch.linalg.cholesky(first @ first.mT)
    right = first @ second
    before = right.clone()
    expected = torch.linalg.solve_triangular(factor, right, upper=False)
    torch.testing.assert_close(solve_lower(factor, right), expected)
    torch.testing.assert_close(solve_lower(factor, right.mT.contiguous().mT), expected)
    assert torch.equal(right, before)


@pytest.mark.parametrize("rows", [63, 64, 65, 150])
def test_many_rows_are_solved_block_by_block(rows):
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn((rows, rows), generator=generator, dtype=torch.float64).tril()
    factor.diagonal().abs_().add_(rows)
    right = torch.randn((rows, 3), generator=generator, dtype=torch.float64)
    torch.testing.assert_close(factor @ solve_lower(factor, right), right)


def test_what_is_above_the_diagonal_does_not_count():
    factor = torch.tensor([[2.0, np.nan], [1.0, 4.0]], dtype=torch.float64)
    right = torch.tensor([[2.0], [9.0]], dtype=torch.float64)
    torch.testing.assert_close(solve_lower(factor, right), torch.tensor([[1.0], [2.0]]).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_added_to_a_base_with_and_without_derivatives(dtype):
    generator = torch.Generator().manual_seed(0)
    base, first, second = (
        torch.randn(shape, generator=generator, dtype=dtype)
        for shape in ((2, 5, 3), (5, 2, 4), (2, 4, 3))
    )
    first = first.transpose(0, 1)
    expected = base + first @ second
    torch.testing.assert_close(affine(base, first, second), expected)
    torch.testing.assert_close(affine(base[:, :1], first, second), expected - base + base[:, :1])
    with torch.no_grad():
        torch.testing.assert_close(affine(base, first, second), expected)
    second.requires_grad_()
    assert affine(base, first, second).requires_grad
