"""Files of scores: what is there is never computed again nor lost."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.scoring import ProxyScorer, WorkerError, score_to_file
from predictnas.scoring.setting import ScoringSetting
from predictnas.spaces import Arch, Space
from predictnas.tables import read_metadata, write_table
from predictnas.training import Recipe, Task

Score = Callable[..., pd.DataFrame]
Scored = list[tuple[Arch, tuple[str, ...]]]


@contextlib.contextmanager
def silent(what: str, total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Scored:
    """What has been computed: architectures and the proxies of each."""
    calls: Scored = []
    original = ScoringSetting.try_score

    def note(self: ScoringSetting, arch: Arch, names: Sequence[str]) -> object:
        calls.append((arch, tuple(names)))
        return original(self, arch, names)

    monkeypatch.setattr(ScoringSetting, "try_score", note)
    return calls


@pytest.fixture(params=["scores.parquet", "scores.csv", "scores.csv.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


@pytest.fixture
def archs(space: Space) -> np.ndarray:
    return space.sample(5, np.random.default_rng(0), distinct=True)


@pytest.fixture
def score(space: Space, tiny_task: Task, tiny_recipe: Recipe) -> Score:
    def run(
        path: Path, archs: np.ndarray, names: Sequence[str] = ("params", "snip"), seed: int = 0
    ) -> pd.DataFrame:
        scorer = ProxyScorer(
            *(space, tiny_task, tiny_recipe, names), seed=seed, device="cpu", batch_size=8
        )
        return score_to_file(scorer, archs, path, on_step=lambda _: None, progress=silent)

    return run


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


def test_isomorphic_architectures_are_scored_once(
    path: Path, score: Score, scored: Scored, space: Space
) -> None:
    # A convolution, another cell, and the convolution again behind an identity.
    cells = np.array([(0, 0, 0, 3, 0, 0), (3, 3, 3, 3, 3, 3), (1, 0, 0, 0, 3, 0)])
    table = score(path, cells)
    assert [arch for arch, _ in scored] == [tuple(cells[0]), tuple(cells[1])]
    assert list(table["arch"]) == list(read(path)["arch"]) == space.format_all(cells[:2])


def test_further_proxies_are_those_of_the_spelling_in_the_file(
    path: Path, score: Score, scored: Scored
) -> None:
    # The second has a convolution more, on an edge that leads nowhere.
    one, other = np.array([(0, 3, 0, 0, 0, 3)]), np.array([(3, 3, 0, 0, 0, 3)])
    score(path, one, ["snip"])
    score(path, other, ["snip", "params"])
    assert [arch for arch, _ in scored] == [tuple(one[0])] * 2
    assert read(path)["proxy_params"][0] == score(path.with_name("new.csv"), one)["proxy_params"][0]


def test_same_command_computes_nothing_and_leaves_the_same_file(
    path: Path, score: Score, scored: Scored, archs: np.ndarray
) -> None:
    score(path, archs)
    first = read(path)
    scored.clear()
    score(path, archs)
    assert scored == []
    pd.testing.assert_frame_equal(read(path), first, check_exact=True)
    assert [file.name for file in path.parent.glob("scores*")] == [path.name]


def test_more_architectures_and_proxies_cost_what_is_new(
    path: Path, score: Score, scored: Scored, archs: np.ndarray, space: Space
) -> None:
    rows = [tuple(int(i) for i in arch) for arch in archs]
    score(path, archs[:2])
    scored.clear()
    score(path, archs[:4])
    assert scored == [(row, ("params", "snip")) for row in rows[2:4]]
    scored.clear()
    # Of these rows the proxy that is lacking; what is not asked for stays.
    asked = score(path, archs[1:3], ["snip", "zen"])
    assert scored == [(row, ("zen",)) for row in rows[1:3]]
    assert list(asked.columns)[1:] == ["proxy_snip", "proxy_zen", "status_snip", "status_zen"]
    file = read(path).set_index("arch")
    assert list(file.index[:2]) == space.format_all(archs[1:3])
    assert file["proxy_params"].notna().all()
    assert file["status_zen"].notna().tolist() == [True, True, False, False]
    scored.clear()
    score(path, archs[:4], ["zen"])
    assert scored == [(rows[0], ("zen",)), (rows[3], ("zen",))]


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_killed_at_any_moment_it_goes_on_to_the_same_file(
    path: Path,
    score: Score,
    scored: Scored,
    archs: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    cut: int,
) -> None:
    whole = path.with_name(f"whole-{path.name}")
    score(whole, archs)
    journal = path.with_name(f"{path.name}.partial")

    class Killed(BaseException):
        pass

    note = ScoringSetting.try_score
    kept: list[bytes] = []

    def die_at_the_fourth(self: ScoringSetting, arch: Arch, names: Sequence[str]) -> object:
        if len(scored) == len(archs) + 3:
            kept.append(journal.read_bytes())
            raise Killed
        return note(self, arch, names)

    with monkeypatch.context() as patch:
        patch.setattr(ScoringSetting, "try_score", die_at_the_fourth)
        with pytest.raises(Killed):
            score(path, archs)
    # What a killed process leaves: no table, the journal, the last line perhaps cut off.
    path.unlink()
    journal.write_bytes(kept[0][: len(kept[0]) - cut])
    scored.clear()
    score(path, archs)
    assert len(scored) == (2 if cut == 0 else 3)
    pd.testing.assert_frame_equal(read(path), read(whole), check_exact=True)
    assert not journal.exists()


def test_journal_cut_off_in_its_first_line(path: Path, score: Score, archs: np.ndarray) -> None:
    path.with_name(f"{path.name}.partial").write_bytes(b'{"condi')
    assert len(score(path, archs)) == 5


def test_an_interrupt_leaves_a_file(
    path: Path,
    score: Score,
    scored: Scored,
    archs: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    note = ScoringSetting.try_score

    def interrupted(self: ScoringSetting, arch: Arch, names: Sequence[str]) -> object:
        if len(scored) == 2:
            raise KeyboardInterrupt
        return note(self, arch, names)

    with monkeypatch.context() as patch:
        patch.setattr(ScoringSetting, "try_score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            score(path, archs)
    assert len(read(path)) == 2
    assert [file.name for file in path.parent.glob("scores*")] == [path.name]
    score(path, archs)
    assert len(scored) == 5


def test_death_of_a_worker_keeps_what_is_done(
    tmp_path: Path, score: Score, archs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(self: ScoringSetting, arch: Arch, names: Sequence[str]) -> object:
        if tuple(arch) == tuple(archs[1]):
            raise WorkerError("a worker process was killed")
        return dict.fromkeys(names, (1.0, "ok"))

    monkeypatch.setattr(ScoringSetting, "try_score", dying)
    path = tmp_path / "scores.parquet"
    with pytest.raises(WorkerError, match="was killed; .*scores.parquet keeps what has been"):
        score(path, archs)
    assert len(read(path)) == 1


def test_values_lost_to_want_of_memory_are_tried_again(
    path: Path, score: Score, archs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        lost = (np.nan, "out of memory on cpu")
        patch.setattr(ScoringSetting, "try_score", lambda *_: {"params": lost, "snip": (1.0, "ok")})
        score(path, archs[:2])
    assert read(path)["proxy_params"].isna().all()
    table = score(path, archs[:2])
    assert table["status_params"].tolist() == ["ok", "ok"]
    assert table["proxy_snip"].tolist() == [1.0, 1.0]


def test_scores_of_other_conditions_are_refused_and_kept(
    path: Path, score: Score, scored: Scored, archs: np.ndarray
) -> None:
    score(path, archs[:2])
    before = path.read_bytes()
    scored.clear()
    message = "holds other scores: seed 0 where this command has 1; choose another --out, or delete"
    with pytest.raises(InputError, match=message):
        score(path, archs[:2], seed=1)
    assert path.read_bytes() == before
    assert scored == []
    journal = path.with_name(f"{path.name}.partial")
    journal.write_text(json.dumps({"conditions": {"seed": 3}}) + "\n")
    with pytest.raises(InputError, match=r"partial: holds other scores: .*seed 3 where this"):
        score(path, archs[:2])


@pytest.mark.parametrize("extra", [{}, {"proxy_snip": [1.0]}, {"valid_accuracy": [90.0]}])
def test_foreign_tables_are_refused(
    path: Path, score: Score, archs: np.ndarray, space: Space, extra: dict[str, list[float]]
) -> None:
    frame = pd.DataFrame({"arch": space.format_all(archs[:1]), **extra})
    write_table(frame, path, metadata={"space": "nasbench201"} if extra else {})
    with pytest.raises(InputError, match="does not say what its scores depend on|holds other"):
        score(path, archs)


@pytest.mark.parametrize("line", [b"[]", b'{"arch": "x"}', b"\xff", b'{"arch": 1, "scores": 2}'])
def test_damaged_journal(
    tmp_path: Path, score: Score, archs: np.ndarray, line: bytes, space: Space
) -> None:
    path = tmp_path / "scores.parquet"
    score(path, archs[:1])
    metadata = read_metadata(path)
    head = json.dumps({"conditions": {k: v for k, v in metadata.items() if k not in _NOTED}})
    path.with_name("scores.parquet.partial").write_bytes(head.encode() + b"\n" + line + b"\n")
    with pytest.raises(InputError, match="partial: line 2 is not one of scores; delete this"):
        score(path, archs)


_NOTED = ("mode", "splits", "task", "fingerprint", "proxies")


def test_one_writer_at_a_time(
    tmp_path: Path, score: Score, archs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.parquet"

    def again(self: ScoringSetting, arch: Arch, names: Sequence[str]) -> object:
        return score(path, archs)

    monkeypatch.setattr(ScoringSetting, "try_score", again)
    with pytest.raises(InputError, match="another process is writing to it; wait for it"):
        score(path, archs)
