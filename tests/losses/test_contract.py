"""What every loss that comes with BenchBench keeps to, whatever its formula."""

from __future__ import annotations

import subprocess
import sys

import pluggy
import pytest
import torch
from pydantic import ValidationError

import benchbench.losses
from benchbench.hookspecs import PROJECT, Registration
from benchbench.losses.base import Loss

COMPONENTS = {component.name: component for component in benchbench.losses.benchbench_losses()}
PROJECTORS = ["linear", "mocov2", "simclr", "simclrv2"]
CASES = [
    ("ce", {}),
    ("ce", {"label_smoothing": 0.1}),
    ("kd", {}),
    ("kd", {"standardize": True}),
    ("srrl", {}),
    ("logit_mse", {}),
    ("dkd", {}),
    ("dkd", {"standardize": True}),
    ("dist", {}),
    ("dist", {"standardize": True}),
    ("nkd", {}),
    ("wsld", {}),
    ("embedding_mse", {}),
    ("embedding_cosine", {}),
    ("pkt", {}),
    ("rkd", {}),
    ("cc", {}),
    ("cc", {"order": 4}),
    ("sp", {}),
    ("vid", {}),
    *[("align_uniform", {"projector": kind, "dim": 4}) for kind in PROJECTORS],
    *[("crd", {"projector": kind, "dim": 4, "negatives": 33}) for kind in PROJECTORS],
    *[("info_nce", {"projector": kind, "dim": 4}) for kind in PROJECTORS],
]
ON_LOGITS = ["logit_mse", "kd", "dkd", "dist", "nkd", "wsld"]
ON_EMBEDDINGS = [
    "align_uniform",
    "crd",
    "embedding_mse",
    "embedding_cosine",
    "pkt",
    "rkd",
    "cc",
    "sp",
    "vid",
    "info_nce",
]
TRAINED = ["align_uniform", "crd", "srrl", "embedding_mse", "embedding_cosine", "vid", "info_nce"]  # own parameters
READS = {"ce": "logits", "srrl": "embedding"} | dict.fromkeys(ON_LOGITS, "logits")
READS |= dict.fromkeys(ON_EMBEDDINGS, "embedding")
cases = pytest.mark.parametrize(("name", "params"), CASES)


def build(name, params, context, seed=0) -> Loss:
    """As a training stage does: parameters are checked first, then dumped."""
    torch.manual_seed(seed)
    component = COMPONENTS[name]
    return component.load()(context, **component.params(**params).model_dump())


def step(loss, outputs, seed=5):
    torch.manual_seed(seed)
    return loss(*outputs)


def assert_same(terms, expected):
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        assert torch.equal(term, expected[name]), name


def test_every_loss_has_a_case():
    assert {name for name, _ in CASES} == set(COMPONENTS) == set(READS)


def test_needs():
    of_task = dict.fromkeys([*ON_LOGITS, "srrl"], frozenset({"teacher", "teacher.logits"}))
    expected = {"ce": frozenset()} | of_task | dict.fromkeys(ON_EMBEDDINGS, frozenset({"teacher"}))
    assert {name: component.needs for name, component in COMPONENTS.items()} == expected


@pytest.mark.parametrize("component", COMPONENTS.values(), ids=COMPONENTS)
def test_components_are_described_and_load(component):
    assert issubclass(component.load(), Loss)
    assert component.summary
    assert "\n" not in component.summary
    assert all(field.description for field in component.params.model_fields.values())


def test_the_module_is_a_plugin():
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Registration)
    manager.register(benchbench.losses)
    manager.check_pending()
    (offered,) = manager.hook.benchbench_losses()
    assert {component.name for component in offered} == set(COMPONENTS)


def test_registration_does_not_import_torch():
    code = "import sys, benchbench.losses as l; list(l.benchbench_losses()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@cases
@pytest.mark.parametrize("size", [3, 7])
def test_gradients_reach_the_student_and_never_the_teacher(name, params, size, context, make_step):
    student, teacher, _ = outputs = make_step(size)
    loss = build(name, params, context)
    sum(step(loss, outputs).values()).backward()
    assert getattr(student, READS[name]).grad.abs().sum() > 0
    assert teacher.logits.grad is None
    assert teacher.embedding.grad is None
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in loss.parameters())
    assert all(parameter.grad is None for parameter in context.teacher_head.parameters())


@cases
@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_terms_are_finite_scalars_in_float32(name, params, size, dtype, context, make_step):
    student, _, _ = outputs = make_step(size, dtype=dtype)
    terms = step(build(name, params, context), outputs)
    for term in terms.values():
        assert term.shape == ()
        assert term.dtype == torch.float32
        assert term.isfinite()
    sum(terms.values()).backward()
    gradient = getattr(student, READS[name]).grad
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


@cases
def test_half_precision_inputs_are_computed_on_in_float32(name, params, context, make_step):
    """Equal to the last bit to the loss of the same numbers in float32, with and without autocast."""
    half = make_step(dtype=torch.bfloat16)
    full = make_step(dtype=torch.bfloat16)
    for outputs in full[:2]:
        outputs.logits, outputs.embedding = outputs.logits.float(), outputs.embedding.float()
    expected = step(build(name, params, context), full)
    assert_same(step(build(name, params, context), half), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(step(build(name, params, context), half), expected)


@cases
def test_same_seed_same_value(name, params, context, make_step):
    first, second = (step(build(name, params, context, seed=1), make_step()) for _ in range(2))
    assert_same(first, second)


@pytest.mark.parametrize("name", TRAINED)
def test_everything_a_loss_owns_is_on_the_training_device(name, context):
    context.device = torch.device("meta")
    owned = build(name, {}, context)
    assert {tensor.device.type for tensor in [*owned.parameters(), *owned.buffers()]} == {"meta"}


def test_the_training_loop_s_seed_draws_crd_s_negatives(context, make_step):
    values = [step(build("crd", {"dim": 4, "negatives": 5}, context), make_step(), seed) for seed in (1, 2)]
    assert values[0]["crd_student"] != values[1]["crd_student"]


@cases
def test_a_restored_loss_goes_on_alike(name, params, context, make_step):
    loss = build(name, params, context, seed=1)
    optimizer = torch.optim.SGD([*loss.parameters(), torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    for seed in range(3):
        sum(step(loss, make_step(seed=seed), seed).values()).backward()
        optimizer.step()
    restored = build(name, params, context, seed=2)
    restored.load_state_dict(loss.state_dict())
    for seed in range(3, 6):
        assert_same(step(restored, make_step(seed=seed), seed), step(loss, make_step(seed=seed), seed))


def test_a_fresh_loss_does_not_go_on_alike(context, make_step):
    """The check above tells a restored loss from one that starts anew."""
    for name in TRAINED:
        values = [step(build(name, {}, context, seed), make_step()) for seed in (1, 2)]
        assert any(values[0][term] != values[1][term] for term in values[0])


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *[(name, {"unheard_of": 1}) for name in COMPONENTS],
        ("ce", {"label_smoothing": -0.1}),
        ("ce", {"label_smoothing": 1.0}),
        ("kd", {"temperature": 0}),
        ("kd", {"temperature": float("inf")}),
        ("kd", {"temperature": float("nan")}),
        ("align_uniform", {"projector": "mlp"}),
        ("align_uniform", {"dim": 0}),
        ("align_uniform", {"dim": 1.5}),
        ("align_uniform", {"alpha": 0.5}),
        ("align_uniform", {"t": 0}),
        ("crd", {"negatives": 0}),
        ("crd", {"temperature": 0}),
        ("crd", {"momentum": -0.1}),
        ("crd", {"momentum": 1}),
        ("crd", {"dim": 0}),
        ("crd", {"projector": "mlp"}),
        ("kd", {"standardize": "perhaps"}),
        *[(name, {"temperature": 0}) for name in ("dkd", "dist", "nkd", "wsld", "info_nce")],
        ("dkd", {"alpha": -1}),
        ("dkd", {"beta": -1}),
        ("dist", {"beta": -1}),
        ("dist", {"gamma": -1}),
        ("nkd", {"gamma": -1}),
        ("rkd", {"distance": -1}),
        ("rkd", {"angle": -1}),
        ("cc", {"gamma": 0}),
        ("cc", {"order": 0}),
        ("vid", {"variance": 0}),
        ("info_nce", {"dim": 0}),
        ("info_nce", {"projector": "mlp"}),
    ],
)
def test_bad_parameters_are_refused(name, bad):
    with pytest.raises(ValidationError) as caught:
        COMPONENTS[name].params(**bad)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(bad)]
