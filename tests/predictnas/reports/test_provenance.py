import pytest

from predictnas.reports.provenance import accuracy_interval, provenance_tables
from predictnas.reports.study_facts import study_facts


def test_tables(make_study):
    maker = make_study()
    cells = [(3, 3, 3, 3, 3, option) for option in range(3)]
    for cell, device in zip(cells, ("cpu", "gpu", "cpu"), strict=True):
        maker.label(cell, 50.0, provenance={"seed": 7, "device": device, "fingerprint": "f"})
    tables = provenance_tables(study_facts(maker.study, maker.space), "sqlite:///a.db", None)
    study = dict(tables["Study"])
    assert study["address"] == "sqlite:///a.db"
    assert study["study fingerprint"] == "def"
    assert "command" not in study
    assert dict(tables["Recipe"]) == {
        "epochs": "4",
        "flip": "no",
        "scale": "cells 1, channels 4",
    }
    assert dict(tables["Labels"]) == {"seed": "7", "device": "cpu (2), gpu (1)"}


def test_accuracy_interval_by_hand():
    # Wilson: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) with p 0.9, n 100, z 1.959964.
    assert accuracy_interval(90.0, {"splits": {"test": 100}}, "test") == pytest.approx(
        (82.56343, 94.47712), abs=1e-4
    )


def test_accuracy_interval_needs_a_number_of_images():
    assert accuracy_interval(90.0, {}, "test") is None
    assert accuracy_interval(float("nan"), {"splits": {"test": 100}}, "test") is None
