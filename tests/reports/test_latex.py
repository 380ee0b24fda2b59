"""Tables in LaTeX: booktabs and siunitx, and nothing in a cell is run."""

from __future__ import annotations

import re

import pytest

from benchbench.reports.latex import LONGEST, PACKAGES, latex, table_inputs
from benchbench.reports.macros import letters, macros
from benchbench.reports.report import make_report
from benchbench.reports.table import Entry, Table

NASTY = r"a_b & 50% of $x^2$ #1 {y} ~ \input{z} | <b>`c`</b> *d* [e](f) ± × – --x 'q' \\"
CONTROL = "one\ntwo\r\x1b[31mred\x00\x7f\x9b"


def table(*rows: list[Entry | str], columns: list[str] | None = None, **parts) -> Table:
    entries = [[entry if isinstance(entry, Entry) else Entry(entry) for entry in row] for row in rows]
    width = len(entries[0]) if entries else 2
    return Table("results", "A title", columns or [f"column {n}" for n in range(width)], entries, **parts)


def body(drawn: str) -> list[str]:
    return drawn.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()


def spec(drawn: str) -> str:
    return re.search(r"\\begin\{tabular\}\{(.*)\}$", drawn, flags=re.MULTILINE)[1]


class TestSyntax:
    def test_a_cell_cannot_break_out(self):
        drawn = latex(table([NASTY, CONTROL], columns=[NASTY, "b"], notes=[NASTY]))
        assert len(body(drawn)) == 1
        assert len(re.findall(r"(?<!\\)&", body(drawn)[0])) == 1  # one separator
        bare = drawn.replace(r"$\pm$", "").replace(r"$\times$", "").replace("{!}{%\n", "")
        assert not re.search(r"(?<!\\)[%#_$]", bare)
        assert r"\input" not in drawn
        assert drawn.count("{") - drawn.count(r"\{") == drawn.count("}") - drawn.count(r"\}")

    def test_whole(self):
        drawn = latex(table(["scratch", Entry("50.0", bold=True)], columns=["arm", "x"], notes=["a note", "b"]))
        assert [line for line in drawn.splitlines() if "sisetup" not in line] == [
            r"\begin{table}",
            r"\centering",
            r"\caption{A title}",
            r"\label{tab:results}",
            r"\smallskip",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            r"\begin{tabular}{lS[table-format=2.1]}",
            r"\toprule",
            r"arm & {x} \\",
            r"\midrule",
            r"scratch & \bfseries 50.0 \\",
            r"\bottomrule",
            r"\end{tabular}}",
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
            r"a note\\",
            "b",
            r"\end{minipage}",
            r"\end{table}",
        ]

    def test_label_columns_are_aligned_left(self):
        assert spec(latex(table(["a", "b", "1"], labels=2))) == "llS[table-format=1.0]"

    def test_a_long_header_is_broken(self):
        drawn = latex(table(["a", "1.0"], columns=["arm", "pre-training of the student"]))
        assert r"{\begin{tabular}[b]{@{}c@{}}pre-training of \\ the student\end{tabular}} \\" in drawn

    def test_many_columns_take_both_columns_of_a_page(self):
        assert r"\begin{table*}" in latex(table(["a", "1", "2", "3", "4"]))
        assert r"\begin{table}" in latex(table(["a", "1", "2", "3"]))


class TestNumbers:
    def test_numbers_stand_at_the_decimal_point_and_spreads_beside_them(self):
        drawn = latex(table(["a", "66.7 ± 20.8 (n=3)"], ["b", Entry("8.25 ± 0.1 (n=2)", bold=True)]))
        assert spec(drawn) == r"lS[table-format=2.2]@{\ }l"
        assert body(drawn) == [
            r"a & 66.7 & $\pm$ 20.8 (n=3) \\",
            r"b & \bfseries 8.25 & \bfseries $\pm$ 0.1 (n=2) \\",
        ]

    def test_what_is_no_number_goes_through_both(self):
        drawn = latex(table(["a", "1.0 ± 0.1"], ["b", "failed"], ["c", "–"], ["d", "2.0"]))
        assert body(drawn)[1:] == [
            r"b & \multicolumn{2}{c}{failed} \\",
            r"c & \multicolumn{2}{c}{--} \\",
            r"d & 2.0 & \\",
        ]

    def test_signs_and_thousands(self):
        drawn = latex(table(["a", "+8.3 [-5.0, +11.6]"], ["b", "-12,345"]))
        assert spec(drawn) == r"lS[table-format=+5.1]@{\ }l"
        assert body(drawn) == [r"a & +8.3 & {[}$-$5.0, +11.6{]} \\", r"b & -12345 & \\"]

    def test_powers_of_ten_are_not_aligned(self):
        drawn = latex(table(["a", "1.8e-06"], ["b", Entry("0.50", bold=True)], ["c", "n/a"]))
        assert spec(drawn) == "lr"
        assert body(drawn) == [r"a & \num{1.8e-6} \\", r"b & \textbf{\num{0.50}} \\", r"c & n/a \\"]

    @pytest.mark.parametrize("text", ["12.34.56", "1,23", "n/a", "3/3", "v1.0", ".5", "1e", ""])
    def test_what_only_looks_like_a_number_is_text(self, text):
        assert spec(latex(table(["a", text]))) == "lr"

    def test_an_n_that_is_the_same_everywhere_is_said_once(self):
        drawn = latex(table(["a", "1.0 ± 0.1 (n=3)", "2 (n=3)"], ["b", "3.0", "failed"]))
        assert "(n=3)" not in drawn
        assert "n=3 in every cell" in drawn

    @pytest.mark.parametrize("other", ["2.0 (n=2)", "2.0 (n=3, 1 missing)"])
    def test_an_n_that_differs_stays(self, other):
        drawn = latex(table(["a", "1.0 (n=3)"], ["b", other]))
        assert "(n=3)" in drawn
        assert "in every cell" not in drawn


def test_a_long_table_is_set_in_parts():
    drawn = latex(table(*[[f"arm {n}", f"{n}.0"] for n in range(LONGEST + 1)], notes=["a note"]))
    parts = drawn.split(r"\end{table}")[:-1]
    assert [re.search(r"\\caption\{(.*)\}", part)[1] for part in parts] == ["A title (1 of 2)", "A title (2 of 2)"]
    assert [re.search(r"\\label\{(.*)\}", part)[1] for part in parts] == ["tab:results", "tab:results-2"]
    rows = [line for part in parts for line in body(part)]
    assert [line.split(" & ")[0] for line in rows] == [f"arm {n}" for n in range(LONGEST + 1)]
    assert ["a note" in part for part in parts] == [False, True]
    assert len({spec(part) for part in parts}) == 1


def test_inputs_say_what_they_need():
    drawn = table_inputs(["accuracy", "gpu_hours"], "made by:\nbenchbench")
    assert PACKAGES in drawn
    code = [line for line in drawn.splitlines() if not line.startswith("%")]
    assert code == [
        r"\providecommand{\benchbenchfolder}{.}",
        r"\input{\benchbenchfolder/accuracy}",
        r"\input{\benchbenchfolder/gpu_hours}",
    ]


class TestMacros:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("A/U, lite2 (linear_probe)", "AULiteTwoLinearProbe"),
            ("pre-train + fine-tune", "PreTrainFineTune"),
            ("ResNet-50", "ResNetFiveZero"),
            ("é", ""),
        ],
    )
    def test_names_are_letters(self, text, name):
        assert letters(text) == name

    def test_no_name_begins_with_end(self):
        """LaTeX would not define it."""
        assert letters("endoscopy", first=False) == "Endoscopy"
        assert letters("Quick start", first=False) == "quickStart"

    def text(self, lab) -> str:
        return macros(make_report(lab.plan, lab.store, "benchbench report"), "about")

    def commands(self, text: str) -> dict[str, str]:
        return dict(re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{([\d.,-]+)\}", text))

    def test_values(self, finished):
        commands = self.commands(self.text(finished))
        where = "DistilBigScratchSmallCifar"
        # 3 hours of its own and a third of the teacher's 6, against 4 hours and 2 of pre-training.
        assert commands["tinyAccuracy" + where] == "70.0"
        assert commands["tinySpread" + where] == "10.0"
        assert commands["tinySeeds" + where] == "3"
        assert commands["tinyHours" + where] == commands["tinyTotal" + where] == "5.00"
        assert commands["tinySaved" + where] == "16.7"
        assert commands["tinyTotalTuneSmallCifar"] == "6.00"
        assert "tinySavedTuneSmallCifar" not in commands

    @pytest.mark.parametrize(
        ("name", "saved"),
        [("chained", {"SmallCifar": "33.3"}), ("tuned_apart", {"ACifar": "42.9", "BCifar": "60.0"})],
    )
    def test_savings_are_against_the_reference_of_each_student(self, request, name, saved):
        commands = self.commands(self.text(request.getfixturevalue(name)))
        start = "tinySavedDistilBigScratch"
        assert {key.removeprefix(start): each for key, each in commands.items() if key.startswith(start)} == saved

    def test_the_answer_in_words(self, finished):
        text = self.text(finished)
        assert r"\newcommand{\tinyAnswer}{On cifar (40 training images) with small, it is open whether " in text
        assert r"70.0 \% for 5.00 GPU-hours a run" in text

    def test_what_is_not_known_has_no_command(self, lab):
        lab.finish_arm("tune", [0.5])
        commands = self.commands(self.text(lab))
        assert set(commands) == {f"tiny{what}TuneSmallCifar" for what in ("Accuracy", "Seeds", "Hours")}

    def test_two_arms_never_share_a_name(self, make_lab):
        lab = make_lab(arms={"a/u": {"method": "scratch"}, "a-u": {"method": "linear_probe"}})
        lab.finish_arm("a/u", [0.5])
        lab.finish_arm("a-u", [0.25])
        commands = self.commands(self.text(lab))
        assert commands["tinyAccuracyAUSmallCifar"] == "50.0"
        assert commands["tinyAccuracyAUSmallCifarAgain"] == "25.0"
