"""The table of accuracy by size of the training set."""

from __future__ import annotations

import pytest

from benchbench.reports.tables.fractions import fractions, images, parts

DATA = {
    "whole": {"source": "cifar10_subset"},
    "few": {"source": "cifar10_subset", "per_class": 4},
    "tenth": {"source": "cifar10_subset", "fraction": 0.1},
}


@pytest.fixture
def sized(make_lab):
    return make_lab(data=DATA)


def test_from_small_to_large(sized):
    assert parts(sized.plan) == {"cifar10_subset": {"4 per class": "few", "10 %": "tenth", "all": "whole"}}
    assert [images(sized.plan, label) for label in ("few", "tenth", "whole")] == [40, 100, 1000]


def test_a_row_for_each_arm(sized):
    sized.finish_arm("scratch", [0.2, 0.3, 0.4], data="few")
    sized.finish_arm("scratch", [0.5], data="tenth")
    sized.fail(sized.cells("scratch", data="whole")[0].stage, "no memory")
    table = fractions(sized.frame(), sized.plan)
    assert table.columns == ["data set", "student", "arm", "4 per class", "10 %", "all"]
    assert [entry.text for entry in table.rows[0]] == [
        "cifar10_subset",
        "small",
        "scratch",
        "30.0 ± 10.0 (n=3)",
        "50.0 (n=1, 2 missing)",
        "failed",
    ]
    assert [row[2].text for row in table.rows] == ["scratch", "probe", "tune", "distil, big (scratch)"]
    assert "4 per class = 40, 10 % = 100, all = 1,000" in table.notes[0]


def test_sources_with_other_parameters_are_other_data_sets(make_lab, tmp_path):
    for folder in ("one", "two"):
        for split in ("train", "test"):
            for label in ("cat", "dog"):
                (tmp_path / folder / split / label).mkdir(parents=True)
                for index in range(4):
                    (tmp_path / folder / split / label / f"{index}.png").write_bytes(folder.encode())
    data = {
        f"{name}{end}": {"source": {"imagefolder": {"path": name}}, **size}
        for name in ("one", "two")
        for end, size in (("", {}), (" half", {"fraction": 0.5}))
    }
    lab = make_lab(data=data)
    assert parts(lab.plan) == {
        "imagefolder (path one)": {"50 %": "one half", "all": "one"},
        "imagefolder (path two)": {"50 %": "two half", "all": "two"},
    }
    lab.finish_arm("tune", [0.5], data="two half")
    rows = [[entry.text for entry in row] for row in fractions(lab.frame(), lab.plan).rows]
    assert ["imagefolder (path two)", "small", "tune", "50.0 (n=1, 2 missing)", "–"] in rows
    assert ["imagefolder (path one)", "small", "tune", "–", "–"] in rows


def test_one_size_says_nothing(lab, make_lab):
    assert fractions(lab.frame(), lab.plan) is None
    again = {"one": {"source": "cifar10_subset", "fraction": 0.1, "subset_seed": 1}, "two": DATA["tenth"]}
    lab = make_lab(data=again)
    assert fractions(lab.frame(), lab.plan) is None
