"""Spaces from files and modules that users name."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from predictnas.errors import InputError
from predictnas.spaces import get_space, load_space

FILE = Path(__file__).with_name("own_space.py")
DECLARED = """
from torch import nn
from predictnas.spaces import DeclaredSpace

class Own(DeclaredSpace):
    choices = {"width": (1, 2)}
    def build(self, arch, input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="own.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write_file


def test_a_class_in_a_file(write, tmp_path):
    file = write(DECLARED)
    assert load_space(f"{file}:Own").name == "Own"
    assert load_space(f"{tmp_path / file}:Own").choices == {"width": ("1", "2")}
    # Run again, so that what was edited counts.
    write(DECLARED.replace("(1, 2)", "(1, 2, 3)"))
    assert load_space(f"{file}:Own").size == 3


def test_a_file_imports_what_stands_beside_it(write):
    write("WIDTHS = (1, 2, 3, 4)", "blocks_beside_it.py")
    file = write("from blocks_beside_it import WIDTHS" + DECLARED.replace("(1, 2)", "WIDTHS"))
    before = list(sys.path)
    assert load_space(f"{file}:Own").size == 4
    assert sys.path == before


def test_a_class_in_a_module(write, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write("", "package_of_a_user/__init__.py")
    write(DECLARED, "package_of_a_user/spaces.py")
    space = load_space("package_of_a_user.spaces:Own")
    assert pickle.loads(pickle.dumps(space)).size == 2


def test_registered_spaces_go_by_their_names():
    assert load_space("nasbench201").name == "nasbench201"
    assert load_space("predictnas.spaces:NatsSize").name == "nats-size"


def test_other_processes_can_take_the_space_over(write):
    space = load_space(f"{FILE}:SmallNets")
    rows = space.sample(3, np.random.default_rng(0))
    code = (
        "import pickle, sys; space = pickle.loads(sys.stdin.buffer.read()); "
        f"print(*space.keys({rows.tolist()}))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(space),
        cwd=FILE.parents[3],
        check=True,
        capture_output=True,
    ).stdout
    assert printed.decode().split() == space.keys(rows)


def test_names_from_data_run_nothing(write, tmp_path):
    file = write("open('run', 'w')" + DECLARED)
    with pytest.raises(InputError, match="unknown space"):
        get_space(f"{file}:Own")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "Own", "own.py: no such file; name one as FILE.py:CLASS"),
        (DECLARED, "Mine", "subclass of Space by the name 'Mine', found nothing; choose from: Own"),
        ("Mine = 3", "Mine", "found int; the file defines none"),
        ("Mine = dict", "Mine", "found type; the file defines none"),
        ("x = 1\ny = x +\n", "Own", "own.py: failed with SyntaxError: invalid syntax"),
        ("\n\nundefined", "Own", "own.py: failed in line 3 with NameError: name 'undefined'"),
        ("import no_such_package", "Own", "with ModuleNotFoundError: No module named 'no_s"),
        (DECLARED.replace("def build", "def make"), "Own", "own.py: Own lacks build; define them"),
        (DECLARED.replace("choices", "options"), "Own", "Own: expected choices beside build"),
        (DECLARED.replace("(1, 2)", "3"), "Own", "own.py: Own: expected the options of width as a"),
        (
            DECLARED.replace("choices", "name = 'darts'; choices"),
            "Own",
            "expected a space with a name of its own, found darts, which is registered",
        ),
        (
            DECLARED.replace("def build", "def __init__(self, size): pass\n    def build"),
            "Own",
            "own.py: failed with TypeError: .*missing 1 required positional argument: 'size'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_told_in_one_line(write, text, name, message):
    if text is not None:
        write(text)
    before = set(sys.modules)
    with pytest.raises(InputError, match=message) as caught:
        load_space(f"own.py:{name}")
    assert "\n" not in str(caught.value)
    assert all(each.startswith("predictnas_space_") for each in set(sys.modules) - before)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("no_such_module:Own", "no_such_module: no such module; install it"),
        ("predictnas.no_such:Own", "predictnas.no_such: no such module"),
        (":Own", "expected a file or module before the class, found ''"),
        ("own.txt/x:Own", "expected a file or module before the class, found 'own.txt/x'"),
        ("predictnas.spaces:Nothing", "expected a subclass of Space by the name 'Nothing'"),
    ],
)
def test_modules_that_cannot_be_loaded(address, message):
    with pytest.raises(InputError, match=message):
        load_space(address)
