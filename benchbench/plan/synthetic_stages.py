"""The stages of generated images: what makes a set, what judges it, and what an arm that uses one stands on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbench.data.info import DataInfo
from benchbench.errors import did_you_mean
from benchbench.plan.resolve import Resolver
from benchbench.plan.shared_stages import EXECUTION_FIELDS, INPUT_FIELDS, FrozenNetwork, FrozenStages
from benchbench.plan.source_hash import source_hash
from benchbench.suite.file import Loc
from benchbench.suite.schema import Arm, Recipe, Suite
from benchbench.suite.synthetic import SyntheticUse
from benchbench.synthesis.base import GeneratorParams
from benchbench.synthesis.prompts import GENERAL, PAPER

Augmenters = tuple[Loc, Recipe]


class SyntheticStages:
    """Makes "diffusion", "synthesis" and "quality" stages, and the outputs of judges; `add` keeps each once.

    Args:
        suite: what is asked for.
        resolver: looks its components up.
        frozen: makes the stages that run frozen networks.
        add: takes a stage.
        adapted: the key of the stage that adapts a teacher, by its label, state and data set; None where none does.
        info: sizes of the data sets.
    """

    def __init__(
        self,
        suite: Suite,
        resolver: Resolver,
        frozen: FrozenStages,
        add: Callable[..., str],
        adapted: Callable[[str, Any, str], str | None],
        info: dict[str, DataInfo],
    ):
        self.suite, self.resolver, self.frozen, self.add, self.adapted = suite, resolver, frozen, add, adapted
        self.info = info
        self.synthesis_code = source_hash("benchbench.stages.synthesis")
        self.diffusion_code = source_hash("benchbench.stages.diffusion")
        self.quality_code = source_hash("benchbench.stages.quality")
        for label, entry in suite.synthetic.items():
            loc = ("synthetic", label, "source")
            component = resolver.component("augmenter", entry.source.name, loc)
            if not component.generates:
                raise resolver.file.error(
                    f"'{entry.source.name}' generates no images; it belongs into a recipe's `augment`", loc
                )
            resolver.params(component, entry.source.params, [*loc, entry.source.name])
        if suite.quality is not None:
            self._check_judge(suite.quality.teacher, suite.quality.state, ("quality",))

    def use(
        self, label: str, arm: Arm, data: str, augmenters: Augmenters
    ) -> tuple[dict[str, Any] | None, dict[str, str]]:
        """What a job's data say of generated images, and the stages that they come from.

        Raises:
            SuiteError: the arm cannot use them, or not so.
        """
        use, loc = arm.synthetic, ("arms", label, "synthetic")
        if use is None:
            return None, {}
        self._check(label, arm, use, loc, augmenters)
        made = self._made(use.set, data)
        needs = {"synthetic": made}
        if use.teacher is not None:
            needs["judged"] = self._judged(use, made, data, augmenters)
        if self.suite.quality is not None:
            self._quality(use.set, made, data, augmenters)
        job = use.model_dump(mode="json", exclude={"losses", "teacher", "state"})
        # How many there will be at most, for estimates.
        job["at_most"] = self._count(data, use.times) if use.times is not None else self._count_of(use.set, data)
        return job, needs

    def _count_of(self, label: str, data: str) -> int:
        """Images that a set has, none refused."""
        entry = self.suite.synthetic[label]
        if entry.per_class is not None:
            return entry.per_class * self.info[data].classes
        return self._count(data, entry.times_or_default or 1.0)

    def _count(self, data: str, times: float) -> int:
        entry, info = self.suite.data[data], self.info[data]
        whole = info.train if entry.fraction is None else round(info.train * entry.fraction)
        subset = entry.per_class * info.classes if entry.per_class is not None else whole
        return round(times * (subset - round(subset * self.suite.selection.validation)))

    def _check(self, label: str, arm: Arm, use: SyntheticUse, loc: Loc, augmenters: Augmenters) -> None:
        error = self.resolver.file.error
        if use.set not in self.suite.synthetic:
            raise error(f"unknown set '{use.set}'; {did_you_mean(use.set, self.suite.synthetic)}", [*loc, "set"])
        if arm.method in ("linear_probe", "published"):
            problem = f"arm '{label}' has method {arm.method}, which takes no generated images"
            raise error(problem, loc, "use scratch, finetune or distill")
        there = self.suite.synthetic[use.set].times_or_default
        if use.times is not None and there is not None and use.times > there:
            raise error(f"times: {use.times:g} is more than set '{use.set}' has ({there:g})", [*loc, "times"])
        names = [ref.name for ref in arm.loss]
        for name in use.losses or ():
            if name not in names:
                raise error(f"arm '{label}' has no loss '{name}'; {did_you_mean(name, names)}", [*loc, "losses"])
        if use.losses and self.resolver.mixers(augmenters[1], augmenters[0]):
            problem = "losses of their own for generated images do not go with an augmenter that mixes images"
            raise error(problem, [*loc, "losses"], "take it out of `augment`")
        if use.teacher is not None:
            self._check_judge(use.teacher, use.state, loc)
            if use.state == "pretrained":
                problem = "a judge in state 'pretrained' does not know the task's classes"
                raise error(problem, [*loc, "state"], "take an adapted state")

    def _check_judge(self, teacher: str, state: Any, loc: Loc) -> None:
        error = self.resolver.file.error
        if teacher not in self.suite.teachers:
            hint = did_you_mean(teacher, self.suite.teachers)
            raise error(f"unknown teacher '{teacher}'; {hint}", [*loc, "teacher"])
        known = self.suite.teachers[teacher].adapt
        if state != "pretrained" and state not in known:
            raise error(f"teacher '{teacher}' has no state '{state}'; it has {', '.join(known)}", [*loc, "state"])

    def _made(self, label: str, data: str) -> str:
        """The stage that generates a set for a data set."""
        entry, loc = self.suite.synthetic[label], ("synthetic", label, "source")
        used: dict[str, Any] = {}
        component = self.resolver.component("augmenter", entry.source.name, loc)
        params = self.resolver.params(component, entry.source.params, [*loc, entry.source.name])
        generator = self.resolver.reference("augmenter", entry.source, loc, used)
        if "prompts" in component.params.model_fields and "prompts" not in entry.source.params:
            generator["params"]["prompts"] = [PAPER.get(self.suite.data[data].source.name, GENERAL)]
        common = {
            "data": self.resolver.data(self.suite.data[data], self.suite.selection, ("data", data), used),
            "seed": entry.seed,
        }
        needs: dict[str, str] = {}
        training = params.training if isinstance(params, GeneratorParams) else frozenset()
        if training:
            asked = {name: generator["params"][name] for name in sorted(training)}
            job = {**common, "generator": {"name": entry.source.name, "params": asked}, "components": used}
            job |= {"code": self.diffusion_code, "needs": {}}
            needs["diffusion"] = self.add("diffusion", f"diffusion model of {label} | {data}", job, {})
        job = {
            **common,
            "generator": generator,
            "times": entry.times_or_default,
            "per_class": entry.per_class,
            "size": entry.size,
            "components": used,
            "code": self.synthesis_code,
            "needs": needs,
        }
        return self.add("synthesis", f"images of {label} | {data}", job, needs)

    def _judged(self, use: SyntheticUse, made: str, data: str, augmenters: Augmenters) -> str:
        """The stage that keeps what a judge says of every image of a set."""
        assert use.teacher is not None
        source, stage = self._network(use.teacher, use.state, data)
        shown = f"what {source.label} says of {use.set} | {data}"
        return self.frozen.judged(source, stage, made, self._count_of(use.set, data), data, augmenters, shown)

    def _network(self, teacher: str, state: Any, data: str) -> tuple[FrozenNetwork, str | None]:
        stage = self.adapted(teacher, state, data)
        place, entry = ("teachers", teacher), self.suite.teachers[teacher]
        model = self.resolver.model("teacher", entry, stage is None, place, {})
        return FrozenNetwork(f"{teacher} ({state})", "teacher", model, state), stage

    def _quality(self, label: str, made: str, data: str, augmenters: Augmenters) -> str:
        """The stage that judges a set."""
        quality = self.suite.quality
        assert quality is not None
        source, stage = self._network(quality.teacher, quality.state, data)
        used: dict[str, Any] = {}
        plain = augmenters[1].model_copy(update={"augment": [], "views": None})
        recipe = self.resolver.recipe(plain, "published", augmenters[0], used)
        self.resolver.use("teacher", source.model["source"], used)
        needs = {"synthetic": made, **({"teacher0": stage} if stage else {})}
        job = {
            "data": self.resolver.data(self.suite.data[data], self.suite.selection, ("data", data), used),
            "view_seed": self.suite.view_seed,
            "teachers": [{"model": source.model, "kind": "teacher", "adapt": source.state}],
            "recipe": {name: recipe[name] for name in (*INPUT_FIELDS, *EXECUTION_FIELDS)},
            "components": used,
            "code": self.quality_code,
            "needs": needs,
        }
        shown = f"quality of {label} by {source.label} | {data}"
        return self.add("quality", shown, job, needs, self.frozen.tuned("teacher0", source, recipe, 0))
