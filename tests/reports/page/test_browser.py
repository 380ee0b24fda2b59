"""The page in a real browser: what a reader sees, clicks, types and prints."""

from __future__ import annotations

import base64
import itertools

import numpy as np
import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from benchbench.specs.records import ExecutionRecord, TuningMetrics
from benchbench.store.predictions import Predictions, write_predictions
from tests.specs import cost_record, tuning_record

pytestmark = pytest.mark.browser


def answer(lab, key: str, labels: list[int], classes: list[int]) -> None:
    """Gives a finished cell predictions of its test images."""
    true, top = np.array(labels), np.array(classes)
    write_predictions(lab.folder(key).predictions, Predictions(true, top[:, None], np.ones((len(true), 1), np.float16)))
    bits, share = np.packbits(top == true).tobytes().hex(), float(np.mean(top == true))
    lab.change(key, "metrics", test_count=len(true), test_correct=bits, test_accuracy=share)


def points(page) -> list[str]:
    return [point.get_attribute("aria-label") for point in page.all(".point")]


class TestFirstSight:
    """Tests that only look, at one page."""

    @pytest.fixture
    def page(self, still_page):
        return still_page

    def test_what_came_out_comes_first(self, page):
        assert page.browser.title == "tiny – BenchBench"
        assert page.one("h1").text == "tiny"
        assert page.one(".counts").text == "12 cells: 10 done, 1 failed, 1 not run yet"
        assert [heading.text for heading in page.all("main h2") if heading.is_displayed()] == [
            "Accuracy, cost and learning",
            "1 cell failed",
            "Verdicts",
            "Tables",
            "Cells",
            "Beside another report",
            "About this page",
        ]
        assert page.one("main").text.startswith(
            "On cifar (40 training images) with small, it is open whether distillation matches tune within 0.5 points, "
            "with a difference of -10.0 points (95 % interval -32.7 to +12.7, 3 seeds): 70.0 % for 5.00 GPU-hours a run"
        )
        lines = page.one("#summary").text.splitlines()
        assert lines[:3] == ["Verdicts", "inconclusive: 1", "distil, big (scratch)"]
        assert lines[3] == "inconclusive -10.00 [-32.67, +12.67] points"  # 10 points either side, with four degrees
        assert lines[4:] == [
            "Distillation against tune in tiny: test accuracy, margin 0.5 points.",
            "Signs of failure: 1, in the tables below.",
        ]

    def test_every_table_with_its_notes(self, page):
        assert [title.text for title in page.all("#tables h3")] == [
            "Distillation against tune in tiny: test accuracy, margin 0.5 points",
            "Test accuracy (%) of tiny",
            "GPU-hours of one run of tiny",
            "Stages that one run of tiny needs, in GPU-hours",
            "Resources of one run of tiny beside time",
            "Training time saved by distillation against tune in tiny",
            "Tasks from which one pre-training costs less than distillation, in tiny",
            "Signs of failure in tiny",
        ]
        assert page.column("Test accuracy", "arm") == ["scratch", "probe", "tune", "distil, big (scratch)"]
        assert page.column("Test accuracy", "cifar, small")[2] == "80.0 ± 10.0 (n=3)"
        assert page.one("#tables tbody strong").text == "80.0 ± 10.0 (n=3)"
        assert page.column("Signs of failure", "sign") == ["far below the baseline"]
        assert "made by: benchbench report suite.yaml" in page.one("#tables .notes").text

    def test_nothing_moves_once_it_is_there(self, page):
        script = """
            const done = arguments[0];
            new PerformanceObserver(list => done(list.getEntries().reduce((sum, e) => sum + e.value, 0)))
                .observe({type: 'layout-shift', buffered: true});
            setTimeout(() => done(0), 300);"""
        assert page.browser.execute_async_script(script) == 0

    def test_everything_that_can_be_used_has_a_name(self, page):
        controls = [each for each in page.all("button, input, select, [role=region], svg[role]") if each.is_displayed()]
        assert len(controls) > 40
        assert [each.get_attribute("outerHTML") for each in controls if not each.accessible_name] == []

    def test_a_point_an_arm_with_the_front(self, page):
        assert points(page) == [
            "scratch: 50.0 % (n=1) for 1.00 GPU-hours; on the Pareto front",
            "probe: 40.0 ± 0.0 % (n=3) for 0.500 GPU-hours; on the Pareto front",
            "tune: 80.0 ± 10.0 % (n=3) for 4.00 GPU-hours; on the Pareto front",
            # With the teacher's 6 hours over 3 cells.
            "distil, big (scratch): 70.0 ± 10.0 % (n=3) for 5.00 GPU-hours",
        ]
        assert len(page.all(".run")) == 10

    def test_arms_differ_in_more_than_colour(self, page):
        marks = [(m.get_attribute("d"), m.get_attribute("class")) for m in page.all(".legend .marker")]
        assert len({shape for shape, _ in marks}) == len({color for _, color in marks}) == 4


class TestTables:
    def test_numbers_are_sorted_as_numbers_and_what_is_none_comes_last(self, page):
        before = page.column("Cells", "accuracy (%)")
        assert page.sort("Cells", "accuracy (%)") == "ascending"
        up = page.column("Cells", "accuracy (%)")
        assert up == ["40.0", "40.0", "40.0", "50.0", "60.0", "70.0", "70.0", "80.0", "80.0", "90.0", "–", "–"]
        assert page.sort("Cells", "accuracy (%)") == "descending"
        assert page.column("Cells", "accuracy (%)") == [*up[9::-1], "–", "–"]
        assert page.sort("Cells", "accuracy (%)") == "none"
        assert page.column("Cells", "accuracy (%)") == before

    def test_a_spread_does_not_hinder_and_the_focus_stays_on_the_column(self, page):
        page.sort("GPU-hours", "own")
        assert [text.partition(" ")[0] for text in page.column("GPU-hours", "own")] == ["0.500", "1.00", "3.00", "4.00"]
        page.sort("Test accuracy", "cifar, small")
        assert page.run("return document.activeElement.closest('th').innerText").startswith("cifar, small")

    def test_filter_by_words_in_any_order(self, page):
        field = page.one("#cells input")
        field.send_keys("DONE dist")
        assert page.column("Cells", "arm") == ["distil, big (scratch)"] * 3
        assert page.one("#cells .count").text == "3 of 12 rows"
        field.send_keys(Keys.BACKSPACE * 9)
        assert len(page.column("Cells", "arm")) == 12
        assert page.one("#cells .count").text == ""

    def test_long_tables_are_drawn_in_part_and_say_so(self, make_lab, page_of, open_page):
        lab = make_lab(seeds=list(range(60)))
        lab.finish_arm("scratch", [n / 100 for n in range(60)])
        page = open_page(page_of(lab))
        assert len(page.column("Cells", "arm")) == 200
        assert page.one("#cells .count").text == "200 of 240 rows"
        page.sort("Cells", "accuracy (%)")
        page.sort("Cells", "accuracy (%)")
        assert page.column("Cells", "accuracy (%)")[:2] == ["59.0", "58.0"]
        page.one("#cells .more").click()
        assert len(page.column("Cells", "arm")) == 240


class TestCharts:
    def test_names_stand_beside_the_points(self, page):
        assert [name.text for name in page.all("svg .name")] == ["scratch", "probe", "tune", "distil, big (scratch)"]
        boxes = [name.rect for name in page.all("svg .name")]
        for one, other in itertools.combinations(boxes, 2):
            wide = min(each["x"] + each["width"] for each in (one, other)) - max(one["x"], other["x"])
            high = min(each["y"] + each["height"] for each in (one, other)) - max(one["y"], other["y"])
            assert min(wide, high) <= 0
        page.one(".legend input").send_keys(Keys.SPACE)
        assert [name.text for name in page.all("svg .name")] == ["probe", "tune", "distil, big (scratch)"]

    def test_other_costs_give_another_front(self, page):
        page.one("#charts select option[value=own]").click()
        front = "; on the Pareto front"
        assert points(page)[3] == f"distil, big (scratch): 70.0 ± 10.0 % (n=3) for 3.00 GPU-hours{front}"
        # Fine-tuning takes 2 hours more in pre-training.
        page.one("#charts select option[value=total]").click()
        assert [text.partition(" for ")[2] for text in points(page)] == [
            "1.00 GPU-hours; on the Pareto front",
            "2.50 GPU-hours",
            "6.00 GPU-hours; on the Pareto front",
            "5.00 GPU-hours; on the Pareto front",
        ]

    def test_a_point_says_what_it_is_and_leads_to_its_runs(self, page):
        page.run("document.querySelectorAll('.point')[2].focus()")
        assert page.one(".readout").text == points(page)[2]
        page.browser.switch_to.active_element.send_keys(Keys.ENTER)
        assert page.column("Cells", "arm") == ["tune"] * 3
        assert page.one("#cells .count").text == "3 of 12 rows: tune, cifar, small"
        page.one("#cells .more").click()
        assert len(page.column("Cells", "arm")) == 12

    def test_arms_are_switched_off_and_on(self, page):
        boxes = page.all(".legend input")
        boxes[0].send_keys(Keys.SPACE)
        assert [text.partition(":")[0] for text in points(page)] == ["probe", "tune", "distil, big (scratch)"]
        assert len(page.all("#charts .line")) == 3
        page.one(".legend .tools button:last-child").click()
        assert [empty.text for empty in page.all(".empty")] == ["No run to draw yet.", "No curve to draw yet."]
        page.one(".legend .tools button").click()
        assert len(points(page)) == len(page.all("#charts .line")) == 4

    def test_curves_tell_their_values_at_an_epoch(self, page):
        assert page.one(".values").text.splitlines()[:3] == ["Epoch 4", "scratch", "40.0"]
        page.one("#charts input[type=range]").send_keys(Keys.ARROW_LEFT)
        assert page.one(".values").text.splitlines()[:3] == ["Epoch 3", "scratch", "30.0"]
        page.one("#charts select option[value=loss]").click()
        assert page.one(".values").text.splitlines()[:3] == ["Epoch 3", "scratch", "1.50"]


class TestCells:
    def open(self, page, text: str, index: int = 0):
        page.one("#cells input").send_keys(text)
        page.all("#cells tbody button")[index].send_keys(Keys.ENTER)
        return page.one("dialog[open]")

    def test_all_that_is_known_of_a_cell(self, page, run_lab):
        dialog = self.open(page, "distil")
        cell = run_lab.cells("distil")[0]
        text = dialog.text
        assert dialog.find_element(By.TAG_NAME, "h2").text == "distil, big (scratch) | cifar | small | seed 0"
        for expected in ("done\n", "test_accuracy\n0.6\n", "device_hours\n3\n", "ce\nweight\n1\nlabel_smoothing\n0\n"):
            assert expected in text
        assert f"stage cell/{cell.stage[:16]}" in text
        for title in ("Recipe", "Weights", "Environment", "End of the log", "teacher0: teacher big (scratch) | cifar"):
            dialog.find_element(By.XPATH, f".//summary[starts-with(., '{title}')]").click()
        page.wait("document.querySelectorAll('dialog pre').length === 1")
        text = dialog.text
        for expected in (
            "batch_size\n20\n",
            "ab" * 32,
            "Big GPU",
            f"{run_lab.plan.stages[cell.stage].label} says <hello>",
        ):
            assert expected in text
        assert "device_hours\n6\n" in text  # the teacher's
        assert dialog.find_element(By.CSS_SELECTOR, "svg[role=img]").accessible_name.startswith(
            "train accuracy (%) by epoch: 1: 10.0, 2: 20.0"
        )

    def test_which_classes_it_takes_for_which(self, page_of, open_page, run_lab):
        answer(run_lab, run_lab.cells("distil")[0].stage, labels=[0, 0, 0, 1, 1], classes=[0, 0, 1, 1, 1])
        page = open_page(page_of(run_lab))
        bars = page.all("td progress")  # of the shares by class
        assert [page.run("return arguments[0].parentNode.textContent", bar) for bar in bars] == ["66.7", "100.0"]
        assert [float(bar.get_attribute("value")) for bar in bars] == [66.7, 100]
        assert page.column("Accuracy by class", "test images") == ["3", "2"]
        dialog = self.open(page, "distil")
        dialog.find_element(By.XPATH, ".//summary[. = 'Confusion matrix']").click()
        table = dialog.find_element(By.CSS_SELECTOR, "table.confusion")
        assert table.text.splitlines()[1:] == ["class a b", "a 2 1", "b 0 2"]
        assert len(dialog.find_elements(By.XPATH, ".//summary[. = 'Confusion matrix']")) == 1  # others have none

    def test_the_stages_it_needs_with_the_choices_and_the_seconds(self, make_lab, page_of, open_page):
        lab = make_lab("recipes.default.precision=fp32")
        cell = lab.plan.stages[lab.cells("probe")[0].stage]
        outputs = lab.plan.stages[cell.needs["features"]]
        lab.finish(cell.key, 0.4)
        tuning = outputs.soft_needs["tuning.teacher0"]
        execution = ExecutionRecord(channels_last=True)
        metrics = TuningMetrics(execution=execution, step_seconds={"plain": 0.5, "chosen": 0.25})
        cost = cost_record(seconds={"tuning": 2.5}, alone_seconds={"tuning": 2.5})
        lab.write(tuning, tuning_record(metrics=metrics, cost=cost))
        page = open_page(page_of(lab))
        dialog = self.open(page, "probe")
        for title in (f"features: {outputs.label} (done)", f"tuning.teacher0: {lab.plan.stages[tuning].label} (done)"):
            dialog.find_element(By.XPATH, f".//summary[. = '{title}']").click()
            page.wait(
                "[...document.querySelectorAll('dialog details[open]')].every(each => each.childElementCount > 1)"
            )
        for expected in ("channels_last\ntrue\n", "plain\n0.5\nchosen\n0.25\n", "seconds\ntuning\n2.5\n"):
            assert expected in dialog.text

    def test_what_was_measured_on_another_device_is_not_said_to_be_missing(self, make_lab, page_of, open_page):
        lab = make_lab("recipes.default.precision=fp32")
        done, missing = (cell.stage for cell in lab.cells("scratch")[:2])
        lab.finish(done)  # as after a run elsewhere: this device has measured nothing
        page = open_page(page_of(lab))
        assert "Needs" not in self.open(page, "scratch").text
        page.one("dialog .close").click()
        page.all("#cells tbody button")[1].click()
        (tuning,) = lab.plan.stages[missing].soft_needs.values()
        assert f"tuning.student: {lab.plan.stages[tuning].label} (not run yet)" in page.one("dialog").text

    def test_a_failure_has_its_reason_and_its_log(self, page):
        page.one(".failures button").click()
        text = page.one("dialog[open]").text
        assert "failed\nOutOfMemoryError: no room" in text
        assert "attempt 1 on cpu" in text
        page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert page.all("dialog[open]") == []

    def test_the_log_of_a_teacher_that_failed_is_at_hand(self, run_lab, page_of, open_page):
        run_lab.folder(run_lab.teacher()).record.unlink()
        run_lab.fail(run_lab.teacher(), "no such weights")
        cell = run_lab.cells("distil")[0].stage
        run_lab.folder(cell).record.unlink()
        page = open_page(page_of(run_lab))
        text = self.open(page, "distil", 0).text
        assert "not run yet" in text
        assert "no such weights" in text
        assert "teacher big (scratch) | cifar says <hello>" in text


class TestEverywhere:
    def colours(self, page) -> tuple[int, int]:
        """Brightness of the ground and of the text, 0 to 255."""
        script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        return tuple(sum(map(int, each[4:-1].split(","))) // 3 for each in page.run(script))

    def test_dark_where_the_reader_wants_it(self, still_page, screen):
        ground, ink = self.colours(still_page)
        assert ground > 240 > 60 > ink
        screen(scheme="dark")
        ground, ink = self.colours(still_page)
        assert ground < 30 < 200 < ink

    @pytest.mark.parametrize("opened", [False, True])
    def test_fits_on_a_phone(self, page, screen, opened):
        if opened:
            page.all("#cells tbody button")[-1].click()
        screen(360, 740)
        page.wait("[...document.querySelectorAll('svg')].every(svg => svg.getBoundingClientRect().right <= 360)")
        assert page.run("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
        assert page.run("return document.querySelector('.chart svg').clientWidth") > 280
        if opened:
            assert (
                page.run("const b = document.querySelector('dialog .body'); return b.scrollWidth - b.clientWidth") == 0
            )

    def test_prints_all_of_the_tables_in_black_on_white(self, page, screen):
        screen(scheme="dark", media="print")
        assert self.colours(page)[0] > 240
        assert page.run("return getComputedStyle(document.querySelector('.scroller')).overflow") == "visible"
        for control in ("nav", "#cells input", ".legend input", ".legend button"):
            assert page.run("return document.querySelector(arguments[0]).checkVisibility()", control) is False, control
        screen()
        printed = page.browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
        assert base64.b64decode(printed["data"]).startswith(b"%PDF")

    def test_prints_only_the_cell_that_is_open(self, page, screen):
        page.all("#cells tbody button")[0].click()
        screen(media="print")
        assert page.run("return document.querySelector('main').checkVisibility()") is False
        assert page.run("return document.querySelector('dialog').checkVisibility()") is True


def test_nothing_done_yet(lab, page_of, open_page):
    page = open_page(page_of(lab))
    assert page.one(".counts").text == "12 cells: 12 not run yet"
    assert [empty.text for empty in page.all(".empty")] == ["No run to draw yet.", "No curve to draw yet."]
    assert page.column("Test accuracy", "cifar, small") == ["–"] * 4


def test_runs_without_the_metric_are_not_drawn(make_lab, page_of, open_page):
    lab = make_lab("metric=balanced_accuracy")
    lab.finish_arm("scratch", [0.5])
    lab.finish_arm("tune", [0.8, 0.8], [4.0, 4.0])
    answer(lab, lab.cells("tune")[0].stage, labels=[0, 0, 1, 1], classes=[0, 1, 1, 1])
    page = open_page(page_of(lab))
    assert points(page) == ["tune: 75.0 % (n=1) for 4.00 GPU-hours; on the Pareto front"]
    assert len(page.all(".run")) == 1
    assert page.column("Cells", "balanced accuracy (%)").count("–") == 11
