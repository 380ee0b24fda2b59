"""A suite that trains its own generator, draws, judges and uses images; and the same run killed on the way."""

from __future__ import annotations

import csv
import shutil
from functools import partial
from pathlib import Path

import pytest

from benchbench.specs.records import TrainingRecord
from tests.running.commands import kill, run, stage_records, start_inline, wait_for

pytestmark = pytest.mark.whole_run

SUITE = """
name: generated
seeds: [0]
data:
  few: {source: {imagefolder: {path: IMAGES}}, per_class: 4}
students:
  small: {model: timm/test_efficientnet}
teachers:
  big: {model: timm/test_resnet, adapt: [scratch]}
synthetic:
  mixed: {source: same_class_mixup, times: 2}
  own:
    source: {trained_diffusion: {image_size: 16, channels: [8, 8], train_steps: 30, train_batch_size: 8, steps: 2,
      batch_size: 4}}
    per_class: 2
quality: {teacher: big, state: scratch}
recipes:
  default: {epochs: 2, batch_size: 16, image_size: 16, precision: exact, augment: {flip: {}, dsa: {}}}
arms:
  scratch: {method: scratch}
  scratch + mixed: {method: scratch, synthetic: mixed}
  kd: {method: distill, loss: {ce: 1, kd: 1}}
  kd + own: {method: distill, loss: {ce: 1, kd: 1}, synthetic: own}
  kd + half:
    method: distill
    loss: {ce: 1, kd: 1}
    synthetic: {set: mixed, share: {first: 0, last: 0.5}, losses: [kd]}
  kd + seen:
    method: distill
    loss: {ce: 1, kd: 1}
    synthetic: {set: mixed, times: 1, labels: teacher, teacher: big, state: scratch, min_confidence: 0.01}
    recipe: {views: 2}
"""


def suite_in(folder: Path, images: Path, text: str = SUITE) -> Path:
    path = folder / "generated.yaml"
    path.write_text(text.replace("IMAGES", str(images)))
    return path


def results(folder: Path) -> dict[str, tuple[str, str, str]]:
    with (folder / "reports" / "generated" / "results.csv").open() as file:
        return {row["arm"]: (row["status"], row["accuracy"], row["weights_sha256"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def generated(made_once, images) -> Path:
    """A folder where the suite ran to its end."""

    def fill(folder: Path) -> None:
        formats = [word for each in ("csv", "md", "png") for word in ("--format", each)]
        run(suite_in(folder, images), *formats, cwd=folder, figures=True)
        assert {state for state, *_ in results(folder).values()} == {"done"}

    return made_once("generated", fill)


def test_every_kind_of_stage_has_run_once(generated):
    counts = {
        kind.name: len(list(kind.glob("*/record.json"))) for kind in (generated / "runs").iterdir() if kind.is_dir()
    }
    assert {kind: counts[kind] for kind in ("diffusion", "synthesis", "quality", "teacher", "cell")} == {
        "diffusion": 1,
        "synthesis": 2,
        "quality": 2,
        "teacher": 1,
        "cell": 6,
    }


def test_records_have_the_selection_of_images(generated):
    cells = [record for record in stage_records(generated / "runs", "cell") if isinstance(record, TrainingRecord)]
    selections = {record.label.split(" | ")[0]: record.data.synthetic for record in cells}
    assert selections["scratch"] is selections["kd, big (scratch)"] is None
    assert selections["scratch + mixed"] == {"set": "mixed", "images": 80, "kept": 80}
    assert selections["kd + own, big (scratch)"] == {"set": "own", "images": 20, "kept": 20}
    seen = selections["kd + seen, big (scratch)"]
    assert (seen["images"], seen["kept"] + seen["left_out"]) == (40, 40)
    (mixed,) = (
        record.metrics for record in stage_records(generated / "runs", "quality") if record.metrics.images == 80
    )
    assert mixed.precision > 0.5
    assert mixed.agreement is not None


def test_the_report_has_quality_beside_gain(generated):
    report = generated / "reports" / "generated"
    quality = (report / "synthetic.md").read_text()
    assert "mixed" in quality
    assert "FID" in quality
    gains = (report / "synthetic_gains.md").read_text()
    assert "scratch + mixed" in gains
    assert {"contact_sheet.png", "quality_and_gain.png"} <= {path.name for path in report.iterdir()}
    assert "generating images" in (report / "ledger.md").read_text()


def test_killed_anywhere_it_ends_with_the_same_numbers(generated, images, tmp_path):
    def begun(kind: str) -> bool:
        return any(tmp_path.glob(f"runs/{kind}/*/checkpoint.pt"))

    text = SUITE.partition("  kd + half:")[0]  # the arms behind it have no kind of stage more
    suite = suite_in(tmp_path, images, text)
    for kind in ("diffusion", "synthesis"):
        process = start_inline(suite, "--checkpoint-seconds", 1e-6, cwd=tmp_path)
        wait_for(partial(begun, kind), process)
        kill(process)
    run(suite, cwd=tmp_path)
    ours, theirs = results(tmp_path), results(generated)
    assert len(ours) == 4
    assert ours == {arm: theirs[arm] for arm in ours}
    for kind in ("diffusion", "synthesis"):
        ours, theirs = (
            {record.label: (record.data, record.weights_sha256) for record in stage_records(folder / "runs", kind)}
            for folder in (tmp_path, generated)
        )
        assert ours == theirs


def test_a_generator_without_its_model_is_one_clear_failure(generated, images, tmp_path):
    shutil.copytree(generated / "runs", tmp_path / "runs")  # all that needs no such generator is done
    text = SUITE.replace("same_class_mixup", "{pixel_diffusion: {path: absent}}")
    done = run(suite_in(tmp_path, images, text), cwd=tmp_path, code=1)
    assert "no model can be loaded from" in done.out
    rows = results(tmp_path)
    assert rows["scratch + mixed"][0] == "failed"
    assert rows["scratch"][0] == rows["kd + own"][0] == "done"
