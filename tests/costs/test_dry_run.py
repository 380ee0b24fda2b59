"""Networks that a method does not fit are found without memory and without computing."""

from __future__ import annotations

import pytest

from benchbench.costs.dry_run import DryRunRequest, DryRunTeacher, LossDryRun
from benchbench.plugins import load_plugins
from benchbench.specs.parts import LossSpec, ModelSpec


@pytest.fixture(scope="module")
def refusal():
    registry = load_plugins().registry
    dry_run = LossDryRun(registry)

    def of(loss: str, student: str, teacher: str, **params) -> str | None:
        student_model, teacher_model = (
            ModelSpec(source=name.partition("/")[0], name=name.partition("/")[2]) for name in (student, teacher)
        )
        arguments = registry.get("loss", loss).params(**params).model_dump(mode="json")
        return dry_run.refusal(
            DryRunRequest(
                student=student_model,
                teachers=(DryRunTeacher(model=teacher_model, has_head=True),),
                loss=(LossSpec(name=loss, params=arguments),),
                classes=5,
                image_size=64,
                epochs=2,
            )
        )

    return of


@pytest.mark.parametrize(("loss", "params"), [("simkd", {"maps": True}), ("norm", {}), ("sdd", {})])
@pytest.mark.parametrize("teacher", ["timm/test_vit", "timm/test_convnext"])
def test_a_teacher_whose_embedding_is_not_the_mean_of_its_last_map(loss, params, teacher, refusal):
    assert "this teacher's is not" in refusal(loss, "cifar/resnet8", teacher, **params)
    assert refusal(loss, "cifar/resnet8", "timm/test_resnet", **params) is None


@pytest.mark.parametrize(("loss", "refused"), [("norm", True), ("sdd", True), ("simkd", False)])
def test_such_a_student(loss, refused, refusal):
    params = {"maps": True} if loss == "simkd" else {}
    answer = refusal(loss, "timm/test_convnext", "cifar/resnet8", **params)
    assert ("this student's is not" in answer) if refused else answer is None


def test_more_singular_vectors_than_columns(refusal):
    assert refusal("kdsvd", "cifar/resnet8", "cifar/resnet20", rank=16) is None
    assert "set `rank` to 16 or less" in refusal("kdsvd", "cifar/resnet8", "cifar/resnet20", rank=17)
