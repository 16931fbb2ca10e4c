import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest

from predictnas.errors import InputError
from predictnas.predictors import (
    GPPredictor,
    Predictor,
    RidgePredictor,
    load_predictor,
    save_predictor,
)
from predictnas.predictors.features import Features
from predictnas.predictors.persistence import CHECKSUM, HEADER, _digest
from predictnas.spaces import get_space


@pytest.fixture(scope="module")
def predictor(cells):
    table, accuracy = cells(12)
    return GPPredictor(operations=("none", *_operations(table))).fit(table, accuracy)


@pytest.fixture
def saved(predictor, tmp_path):
    path = tmp_path / "predictor.npz"
    save_predictor(predictor, path, metadata={"space": "nasbench201", "target": "valid_accuracy"})
    return path


def _operations(table):
    found = {operation for graph in table["graph"] for operation in graph.operations}
    return sorted(found - {"input", "output", "none"})


def _entries(path):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _rewrite(path, change, *, header=None):
    """Write a file anew, with a right checksum."""
    entries = _entries(path)
    del entries[CHECKSUM]
    if header is not None:
        content = json.loads(entries[HEADER].tobytes())
        header(content)
        entries[HEADER] = np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)
    change(entries)
    entries[CHECKSUM] = np.frombuffer(_digest(entries), dtype=np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **entries)


def _keep(entries):
    return None


def test_file_describes_itself_without_pickles(saved, predictor):
    entries = _entries(saved)
    header = json.loads(entries[HEADER].tobytes())
    assert header["format"] == 1
    assert header["metadata"] == {"space": "nasbench201", "target": "valid_accuracy"}
    assert set(header) == {"format", "predictnas", "torch", "metadata", "predictor"}
    assert header["predictor"]["predictor"] == "gp"
    assert header["predictor"]["parameters"]["operations"] == {"tuple": list(predictor.operations)}
    fitted = header["predictor"]["fitted"]
    assert fitted["fingerprint_"] == predictor.fingerprint_
    assert fitted["columns_"] == {"tuple": ["graph", "proxy_heavy", "proxy_noise"]}
    assert all(array.dtype != object for array in entries.values())


def test_fingerprint_tells_training_data_apart(predictor, cells):
    table, accuracy = cells(12)
    changed = accuracy.copy()
    changed[3] += 1e-9
    for X, y in ((table, changed), (table[1:], accuracy[1:]), (table[["graph"]], accuracy)):
        assert GPPredictor(max_iterations=1).fit(X, y).fingerprint_ != predictor.fingerprint_
    again = GPPredictor(max_iterations=1).fit(table[::-1], accuracy[::-1])
    assert again.fingerprint_ == predictor.fingerprint_


def test_fitted_state_is_kept_exactly(saved, predictor):
    loaded, metadata = load_predictor(saved)
    assert metadata == {"space": "nasbench201", "target": "valid_accuracy"}
    assert loaded.warp_ == predictor.warp_
    assert loaded.feature_names_in_.dtype == object
    np.testing.assert_array_equal(loaded.feature_names_in_, predictor.feature_names_in_)
    np.testing.assert_array_equal(loaded.cholesky_, predictor.cholesky_)
    assert loaded.features_.encodings.graphs == predictor.features_.encodings.graphs
    assert loaded.features_.numeric.warps == predictor.features_.numeric.warps


def test_columns_of_pieces_of_paths_come_back(tmp_path):
    space = get_space("nats-size")
    graphs = space.graphs(space.sample(30, np.random.default_rng(0)))
    widths = [sum(int(name.split("_")[-1]) for name in g.operations[1:-1]) for g in graphs]
    seen, others = pd.DataFrame({"graph": graphs[:20]}), pd.DataFrame({"graph": graphs[20:]})
    predictor = RidgePredictor(encoding="path", operations=space.operations)
    fitted = predictor.fit(seen, np.array(widths[:20], dtype=float))
    save_predictor(fitted, tmp_path / "predictor.npz")
    loaded, _ = load_predictor(tmp_path / "predictor.npz")
    assert len(np.unique(fitted.predict(others))) == 10
    np.testing.assert_array_equal(loaded.predict(others), fitted.predict(others))


def test_any_flipped_byte_of_an_entry_is_noticed(saved):
    entries = _entries(saved)
    for name, array in entries.items():
        changed = bytearray(array.tobytes())
        changed[len(changed) // 2] ^= 1
        tampered = np.frombuffer(bytes(changed), dtype=array.dtype).reshape(array.shape)
        with saved.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **entries | {name: tampered})
        with pytest.raises(InputError, match=r"is damaged; fit and save it again \(the checksum"):
            load_predictor(saved)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="is not a predictor saved by PredictNAS, or is damaged"):
        load_predictor(saved)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other"
    path.write_text("accuracy,graph\n")
    with pytest.raises(InputError, match="is not a predictor saved by PredictNAS"):
        load_predictor(path)
    with path.open("wb") as stream:
        np.savez(stream, weights=np.ones(3))
    with pytest.raises(InputError, match="the checksum does not match"):
        load_predictor(path)
    with pytest.raises(InputError, match="expected a saved predictor at .*, found No such file"):
        load_predictor(tmp_path / "missing")
    with pytest.raises(InputError, match="expected a saved predictor at .*, found Is a directory"):
        load_predictor(tmp_path)


def test_pickles_are_not_executed(saved, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("bomb.npy", buffer.getvalue())
    with pytest.raises(InputError, match="is not a predictor saved by PredictNAS, or is damaged"):
        load_predictor(saved)
    assert not (tmp_path / "exploded").exists()


def test_newer_formats_are_refused(saved):
    _rewrite(saved, _keep, header=lambda header: header.update(format=2, predictnas="9.0"))
    with pytest.raises(InputError, match=r"format 2, written by PredictNAS 9.0, expected at most"):
        load_predictor(saved)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("predictor", "predictor"), "os.system", "unknown predictor 'os.system'; choose from"),
        (("predictor", "parameters"), {"command": "rm"}, "unknown gp parameter 'command'"),
        (("predictor", "fitted", "predict"), 1, "KeyError in its content"),
        (("predictor", "fitted", "__class__"), 1, "KeyError in its content"),
        (("predictor", "fitted", "warp_", "record"), "Popen", "KeyError in its content"),
        (("predictor", "fitted", "warp_", "fields"), {"args": 1}, "TypeError in its content"),
        (("predictor", "fitted", "rows_"), {"array": "missing"}, "KeyError in its content"),
        (("predictor", "fitted", "rows_"), {"eval": "1"}, "TypeError in its content"),
        (("predictor",), {"tuple": []}, "it holds something else"),
        (("format",), "1", "TypeError in its content"),
    ],
)
def test_names_in_a_file_reach_nothing_but_predictors(saved, place, value, message):
    def change(header):
        *outer, last = place
        for key in outer:
            header = header[key]
        header[last] = value

    _rewrite(saved, _keep, header=change)
    with pytest.raises(InputError, match=message):
        load_predictor(saved)


def test_another_layout_of_features_is_refused(saved, monkeypatch):
    def refuse(features):
        raise InputError("expected the columns of another version; fit again")

    monkeypatch.setattr(Features, "check_layout", refuse)
    with pytest.raises(InputError, match="expected the columns of another version"):
        load_predictor(saved)


def test_unfitted_predictors_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected a fitted predictor to save, found an unfitted"):
        save_predictor(GPPredictor(), tmp_path / "predictor")


def test_what_cannot_be_stored_is_refused(predictor, cells, tmp_path):
    path = tmp_path / "predictor"
    for metadata in ({"space": object()}, {"best": float("nan")}):
        with pytest.raises(InputError, match="expected metadata that JSON can hold, found"):
            save_predictor(predictor, path, metadata=metadata)

    class Own(GPPredictor):
        pass

    with pytest.raises(InputError, match="expected a predictor among gp, .*, found Own"):
        save_predictor(Own().fit(*cells(5)), path)
    odd = GPPredictor().fit(*cells(5))
    odd.extra_ = {1, 2}
    with pytest.raises(InputError, match=r"found \{1, 2\} \(set\); replace it"):
        save_predictor(odd, path)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places_are_refused(predictor, tmp_path):
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "missing" / "predictor", "No such file or directory"),
        (tmp_path / "file" / "predictor", "Not a directory"),
        (tmp_path, "Is a directory"),
        ("/", ".* has an empty name"),
    ):
        with pytest.raises(InputError, match=f"expected to write the predictor .* found {reason}"):
            save_predictor(predictor, path)


def test_an_interrupted_save_leaves_the_old_file(predictor, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match="found No space left on device"):
        save_predictor(predictor, saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_loaded_predictors_can_be_fitted_and_saved_again(saved, cells, tmp_path):
    loaded, _ = load_predictor(saved)
    assert isinstance(loaded, Predictor)
    table, accuracy = cells(8, seed=2)
    loaded.fit(table[["graph"]], accuracy)
    save_predictor(loaded, tmp_path / "again")
    again, metadata = load_predictor(tmp_path / "again")
    assert metadata == {}
    np.testing.assert_array_equal(again.predict(table[["graph"]]), loaded.predict(table[["graph"]]))
