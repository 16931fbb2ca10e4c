from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from predictnas.errors import InputError
from predictnas.training import Task, load_task, read_npz

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def digits() -> Task:
    return load_task("digits")


def original(task: Task) -> dict[str, np.ndarray]:
    """Undo the standardisation."""
    return {
        name: split.images.numpy() * task.std[0] + task.mean[0]
        for name, split in (("train", task.train), ("valid", task.valid), ("test", task.test))
    }


class TestDigits:
    def test_every_image_stands_in_one_split(self, digits: Task) -> None:
        labels = np.concatenate(
            [s.labels.numpy() for s in (digits.train, digits.valid, digits.test)]
        )
        expected = load_digits().target
        assert len(labels) == len(expected) == 1797
        np.testing.assert_array_equal(np.bincount(labels), np.bincount(expected))
        images = np.concatenate(list(original(digits).values())).reshape(1797, -1)
        assert len(np.unique(images.round(3), axis=0)) == 1797

    def test_splits_are_stratified(self, digits: Task) -> None:
        shares = [
            np.bincount(split.labels.numpy()) / len(split)
            for split in (digits.train, digits.valid, digits.test)
        ]
        assert np.abs(shares[0] - shares[1]).max() < 0.005
        assert np.abs(shares[0] - shares[2]).max() < 0.005

    def test_canvas_holds_the_digit_at_an_offset_under_noise(self, digits: Task) -> None:
        """Every image minus its best-fitting displaced original is noise of deviation 4."""
        images = original(digits)["test"][:40, 0]
        originals = load_digits().images
        used = set()
        for image in images:
            errors = {}
            for row in range(5):
                for column in range(5):
                    window = image[row : row + 8, column : column + 8]
                    outside = (image**2).sum() - (window**2).sum()
                    distance = ((originals - window) ** 2).sum((1, 2)) + outside
                    errors[row, column] = distance.min() / 144
            offset = min(errors, key=lambda at: errors[at])
            used.add(offset)
            assert 4.0 * 0.8 < np.sqrt(errors[offset]) < 4.0 * 1.2
        assert len(used) > 10

    def test_training_images_are_standardised(self, digits: Task) -> None:
        assert digits.train.images.mean().item() == pytest.approx(0.0, abs=1e-5)
        assert digits.train.images.std().item() == pytest.approx(1.0, abs=1e-3)

    def test_is_the_same_every_time(self, digits: Task) -> None:
        assert load_task("digits").fingerprint == digits.fingerprint

    def test_describes_itself(self, digits: Task) -> None:
        assert digits.input_shape == (1, 12, 12)
        assert digits.num_classes == 10
        assert digits.source == "digits"


class TestNpz:
    def test_holds_out_a_fifth_to_validate(self, write_npz: Write) -> None:
        task = read_npz(write_npz())
        assert [len(s) for s in (task.train, task.valid, task.test)] == [96, 24, 40]
        assert task.input_shape == (1, 8, 8)
        assert task.num_classes == 3
        assert task.name == "tiny"

    def test_takes_a_given_validation_split(self, write_npz: Write) -> None:
        x, y = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3
        task = read_npz(write_npz(x_valid=x, y_valid=y))
        assert [len(s) for s in (task.train, task.valid, task.test)] == [120, 6, 40]
        np.testing.assert_array_equal(task.valid.labels.numpy(), y)

    @pytest.mark.parametrize("shape", [(8, 8, 3), (3, 8, 8)])
    def test_finds_the_channels(self, write_npz: Write, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        train = rng.normal(size=(120, *shape))
        task = read_npz(write_npz(x_train=train, x_test=rng.normal(size=(40, *shape))))
        assert task.input_shape == (3, 8, 8)
        axis = (0, 1, 2) if shape[-1] == 3 else (0, 2, 3)
        # The mean is that of the 80 % that train, which is near the mean of all.
        np.testing.assert_allclose(task.mean, train.mean(axis), atol=0.05)

    def test_numbers_classes_from_zero(self, write_npz: Write) -> None:
        y = np.arange(120) % 3
        task = read_npz(write_npz(y_train=y * 10 - 5, y_test=np.arange(40) % 3 * 10 - 5))
        assert sorted(torch.unique(task.train.labels).tolist()) == [0, 1, 2]
        np.testing.assert_array_equal(task.test.labels.numpy(), np.arange(40) % 3)

    def test_fingerprint_follows_the_images(self, write_npz: Write) -> None:
        one = read_npz(write_npz())
        changed = np.load(write_npz())["x_test"].copy()
        changed[0, 0, 0] ^= 1
        assert read_npz(write_npz()).fingerprint == one.fingerprint
        assert read_npz(write_npz(x_test=changed)).fingerprint != one.fingerprint

    @pytest.mark.parametrize(
        ("replaced", "message"),
        [
            ({"y_test": None}, "lacks y_test; found x_train, y_train, x_test"),
            ({"y_train": np.zeros(120, int)}, "at least two classes, found only 0"),
            ({"y_train": np.zeros(7, int)}, "y_train must be 120 integers"),
            ({"y_train": np.zeros(120)}, "y_train must be 120 integers.*float64"),
            ({"y_test": np.full(40, 9)}, "y_test holds class 9, which y_train lacks"),
            ({"x_test": np.zeros((40, 9, 9))}, "images of all splits must have one shape"),
            ({"x_train": np.zeros((120, 8))}, r"must have the shape .* found \(120, 8\)"),
            ({"x_train": np.full((120, 8, 8), np.nan)}, "not finite"),
            ({"x_train": np.full((120, 8, 8), "a")}, "must be numeric"),
            ({"x_test": np.array([{}] * 40)}, "expected an .npz file of plain arrays"),
        ],
    )
    def test_refuses(
        self, write_npz: Write, replaced: dict[str, np.ndarray | None], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            read_npz(write_npz(**replaced))

    def test_refuses_a_truncated_file(self, write_npz: Write) -> None:
        path = write_npz()
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InputError, match=r"expected an \.npz file"):
            read_npz(path)

    def test_refuses_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such task file"):
            read_npz(tmp_path / "none.npz")


def test_unknown_task_lists_the_choices() -> None:
    with pytest.raises(InputError, match="unknown task 'cifar'; choose from: digits, a path"):
        load_task("cifar")
