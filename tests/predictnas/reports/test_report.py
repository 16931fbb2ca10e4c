import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import pytest

from predictnas.errors import InputError
from predictnas.reports import write_report
from predictnas.training import load_task

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}
SECTIONS = ["summary", "winner", "progress", "curves", "forecasts", "proxies", "best"]
SECTIONS += ["failures", "provenance"]
EVIL = '<script>alert("x")</script>&amp;$\\frac$ 網'


class Page(HTMLParser):
    """A page as a browser sees it; closing tags must fit."""

    def __init__(self, path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: dict[str, str] = {}
        self.cells: list[list[str]] = []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th") and self.cells:
            self.cells[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        kind = next((tag for tag in reversed(self.open) if tag in ("style", "title", "td")), "body")
        self.text[kind] = self.text.get(kind, "") + data
        if kind == "td" and "svg" not in self.open:
            self.cells[-1][-1] += data

    @property
    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]

    @property
    def svgs(self) -> list[str]:
        return re.findall(r"<svg.*?</svg>", self.source, flags=re.DOTALL)


@pytest.fixture
def report(tmp_path):
    def write(maker, **options) -> Page:
        return Page(write_report(maker.study, maker.space, tmp_path / "report.html", **options))

    return write


def rich(make_study):
    maker = make_study().fill(24)
    maker.label((3, 3, 3, 3, 3, 3), 97.123, origin="acquisition", seconds=2.25)
    maker.fail((0, 0, 0, 0, 0, 3), "out of memory on cuda")
    maker.fail((0, 0, 0, 0, 3, 0), None)
    maker.prune((1, 1, 1, 1, 1, 1), {1: 20.0, 2: 30.0})
    return maker


@pytest.fixture(scope="module")
def maker(make_study):
    return rich(make_study)


@pytest.fixture(scope="module")
def page(maker, tmp_path_factory) -> Page:
    """The report of a study that has everything."""
    return Page(
        write_report(maker.study, maker.space, tmp_path_factory.mktemp("report") / "a.html")
    )


def test_has_all_sections_and_nothing_twice(page):
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))


def test_every_reference_inside_has_its_target(page):
    targets = re.findall(r"url\(#([^)]+)\)", page.source)
    targets += re.findall(r'href="#([^"]+)"', page.source)
    assert targets
    assert set(targets) <= set(page.ids)


def test_figures_are_well_formed_and_say_what_they_show(page):
    assert len(page.svgs) == 1 + 4 + 10  # the winner, four figures, ten small graphs
    for svg in page.svgs:
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label")


def test_loads_nothing(page):
    without_names = page.source.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in without_names
    assert "https://" not in without_names
    assert not {"script", "iframe", "img", "object", "embed"} & {tag for tag, _ in page.tags}
    assert "@import" not in page.source
    for _, attrs in page.tags:
        assert attrs.get("href", "#").startswith(("#", "data:"))
        assert "src" not in attrs
        assert not any(name.startswith("on") for name in attrs)


def test_the_table_holds_the_numbers_of_the_study(maker, page):
    expected = sorted(
        (trial for trial in maker.study.trials if trial.value is not None),
        key=lambda trial: (-trial.value, trial.number),
    )[:10]
    rows = [row for row in page.cells if len(row) == 10 and row[0].isdigit()]
    assert [row[0] for row in rows] == [str(rank) for rank in range(1, 11)]
    for row, trial in zip(rows, expected, strict=True):
        attrs = trial.user_attrs
        proxies = attrs.get("proxies")
        assert row[2] == attrs["arch"]
        assert row[3:5] == [f"{trial.value:.2f}", f"{attrs['test_accuracy']:.2f}"]
        sizes = [f"{proxies[name]:,.0f}" for name in ("params", "macs")] if proxies else ["–", "–"]
        assert row[5:7] == sizes
        assert row[7:] == [f"{attrs['seconds']:.1f}", str(trial.number), attrs["origin"]]


def test_the_summary_counts_trials_by_what_became_of_them(page):
    assert "25 trained, 1 stopped early, 1 failed, 1 interrupted" in page.text["body"]
    assert "97.12" in page.text["body"]
    assert "out of memory on cuda" in page.text["td"]


def test_sizes_are_counted_on_networks_where_the_task_is_given(make_study, report):
    task = load_task("digits")
    maker = make_study(task_fingerprint=task.fingerprint)
    arch = (3, 0, 1, 2, 4, 3)
    maker.label(arch, 90.0)
    network = maker.space.build(arch, task.input_shape, task.num_classes, channels=4, cells=1)
    page = report(maker, task=task)
    (row,) = [row for row in page.cells if len(row) == 10 and row[0].isdigit()]
    assert row[5] == f"{sum(p.numel() for p in network.parameters()):,}"


def test_refuses_another_task(make_study, tmp_path):
    maker = make_study().fill(2)
    with pytest.raises(InputError, match="found other images in digits; name that task, or none"):
        write_report(maker.study, maker.space, tmp_path / "x.html", task=load_task("digits"))


def test_escapes_what_comes_from_the_study(make_study, report):
    maker = make_study(task=EVIL).fill(6)
    maker.label(
        (3, 3, 3, 3, 3, 3),
        99.0,
        origin=EVIL,
        proxies={EVIL: 1.0, "params": 3.0},
        provenance={"device": EVIL, "versions": {EVIL: EVIL}},
    )
    maker.label((3, 3, 3, 3, 3, 1), 98.0, proxies={EVIL: 2.0, "params": 4.0})
    maker.fail((0, 0, 0, 0, 0, 0), EVIL, origin=EVIL)
    page = report(maker, address=EVIL, command=EVIL)
    assert "<script" not in page.source
    assert EVIL in page.text["td"]
    assert EVIL in page.text["title"]
    for svg in page.svgs:
        ElementTree.fromstring(svg)


def test_the_same_study_gives_the_same_file(maker, page, tmp_path):
    with matplotlib.rc_context(
        {"axes.facecolor": "black", "font.size": 30, "svg.fonttype": "path"}
    ):
        second = write_report(maker.study, maker.space, tmp_path / "b.html")
    assert second.read_text("utf-8") == page.source


def test_leaves_matplotlib_as_it_was(make_study, report):
    before = dict(matplotlib.rcParams)
    report(make_study().fill(3))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_labels(make_study, report, count):
    page = report(make_study().fill(count, forecasts=False))
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert "Too few labels" in page.text["body"]


def test_without_curves_proxies_test_accuracy_and_provenance(make_study, report):
    maker = make_study()
    maker.label(
        (3, 3, 3, 3, 3, 3),
        80.0,
        curve=False,
        without=("test_accuracy", "seconds", "provenance", "origin"),
    )
    page = report(maker)
    assert "came without learning curves" in page.text["body"]
    assert "have proxy scores. Search with" in " ".join(page.text["body"].split())
    (row,) = [row for row in page.cells if len(row) == 10 and row[0].isdigit()]
    assert row[3:] == ["80.00", "–", "–", "–", "–", "0", "not recorded"]


def test_without_forecasts_a_predictor_is_cross_validated(make_study, report):
    page = report(make_study().fill(14, forecasts=False))
    assert "out-of-fold predictions: 5-fold cross-validation" in page.text["body"]


def test_equal_labels(make_study, report):
    maker = make_study()
    for row in maker.space.iterate()[:12]:
        maker.label(tuple(int(i) for i in row), 10.0, proxies={"params": float(row[5])})
    page = report(maker)
    assert "undefined" in page.source
    assert "No path leads from input to output" in page.text["body"]


def test_a_copied_label_is_not_listed_twice(make_study, report):
    maker = make_study()
    maker.label((3, 0, 0, 0, 0, 3), 80.0)
    maker.label((0, 3, 0, 0, 0, 3), 80.0, copied_from=0)
    page = report(maker)
    assert "1 trained, 1 copied from a twin" in page.text["body"]
    assert len([row for row in page.cells if len(row) == 10 and row[0].isdigit()]) == 1


def test_nothing_to_report(make_study, tmp_path):
    maker = make_study()
    with pytest.raises(InputError, match="holds no label yet: nothing to report; train"):
        write_report(maker.study, maker.space, tmp_path / "x.html")
    maker.fail((0, 0, 0, 0, 0, 3), "out of memory on cuda")
    with pytest.raises(InputError, match=r"no label yet \(1 failed: out of memory on cuda\)"):
        write_report(maker.study, maker.space, tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_study_of_another_space(make_study, tmp_path):
    maker = make_study(space="darts").fill(2)
    with pytest.raises(
        InputError, match="expected a study of the space nasbench201, found 'darts'"
    ):
        write_report(maker.study, maker.space, tmp_path / "x.html")


def test_unwritable_path(make_study, tmp_path):
    maker = make_study().fill(1)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "x.html", tmp_path / "none" / "x.html"):
        with pytest.raises(InputError, match=r"x.html: the report cannot be written \("):
            write_report(maker.study, maker.space, path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: the report cannot be written"):
        write_report(maker.study, maker.space, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_says_what_it_does(make_study, report):
    steps: list[str] = []
    report(make_study().fill(1), on_step=steps.append)
    assert steps[0] == "counting parameters"
    assert steps[-1] == "writing"
