from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.sources import architectures, read_architectures, read_label_source
from predictnas.spaces import Space


@pytest.fixture
def archs(space: Space) -> np.ndarray:
    return space.sample(5, np.random.default_rng(0))


def test_reads_text_csv_and_parquet_alike(tmp_path: Path, space: Space, archs: np.ndarray) -> None:
    texts = space.format_all(archs)
    (tmp_path / "archs.txt").write_text("\n\n".join(texts) + "\n")
    frame = pd.DataFrame({"arch": texts, "valid_accuracy": 1.0})
    frame.to_csv(tmp_path / "archs.csv", index=False)
    frame.to_parquet(tmp_path / "archs.parquet")
    for name in ("archs.txt", "archs.csv", "archs.parquet"):
        np.testing.assert_array_equal(read_architectures(str(tmp_path / name), space), archs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\n", "holds no architecture"),
        (b"\xff\xfe\x00", "cannot be read as text"),
        (b"|none~0|\n", "architecture 1: expected"),
    ],
)
def test_refuses_files(tmp_path: Path, space: Space, content: bytes, message: str) -> None:
    (tmp_path / "archs.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_architectures(str(tmp_path / "archs.txt"), space)


def test_missing_file(space: Space) -> None:
    with pytest.raises(InputError, match="nowhere.txt: cannot be read"):
        read_architectures("nowhere.txt", space)


class TestArchitectures:
    def test_sample_is_distinct_and_seeded(self, space: Space) -> None:
        def draw(seed: int) -> np.ndarray:
            return architectures(space, source=None, sample=50, everything=False, seed=seed)

        assert len(set(space.keys(draw(0)))) == 50
        np.testing.assert_array_equal(draw(0), draw(0))
        assert (draw(0) != draw(1)).any()

    def test_everything(self, space: Space) -> None:
        assert len(architectures(space, source=None, sample=None, everything=True, seed=0)) == 15625

    @pytest.mark.parametrize(("sample", "everything"), [(None, False), (3, True)])
    def test_exactly_one(self, space: Space, sample: int | None, everything: bool) -> None:
        with pytest.raises(InputError, match="expected exactly one of --archs"):
            architectures(space, source=None, sample=sample, everything=everything, seed=0)

    def test_a_sample_of_nothing(self, space: Space) -> None:
        with pytest.raises(InputError, match="--sample must be at least 1, found 0"):
            architectures(space, source=None, sample=0, everything=False, seed=0)


def test_label_source_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="none.db: no such study file"):
        read_label_source("sqlite:///none.db#x")
