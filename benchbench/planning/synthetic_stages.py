"""Stages of generated images: their generation, their judge's outputs and their quality, for the arms that use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchbench.errors import did_you_mean
from benchbench.planning.channels import require_rgb
from benchbench.planning.draft import PlanDraft
from benchbench.planning.shared_stages import Network, NetworkInputs, SharedStages
from benchbench.planning.source_hash import source_hash
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.specs.parts import RampSpec, State, SyntheticUseSpec
from benchbench.specs.stages import DiffusionSpec, QualitySpec, SynthesisSpec
from benchbench.suite.document import Loc
from benchbench.suite.schema import Arm
from benchbench.suite.synthetic import SyntheticEntry, SyntheticUse
from benchbench.synthesis.base import GeneratorParams
from benchbench.synthesis.prompts import GENERAL, PAPER


@dataclass(frozen=True)
class SyntheticImages:
    """Generated images of a training: its part of the data's spec, and keys of the stages behind it, by role."""

    spec: SyntheticUseSpec | None = None
    needs: dict[str, str] = field(default_factory=dict)


class SyntheticStages:
    """Adds "diffusion", "synthesis" and "quality" stages, and the outputs of judges, to a plan.

    Args:
        draft: the plan in the making.
        shared: adds the outputs of judges.
        teacher: a network by label of the teacher, state and label of the data set.

    Raises:
        SuiteError: a set whose source generates no images, or a judge that does not exist.
    """

    def __init__(self, draft: PlanDraft, shared: SharedStages, teacher: Callable[[str, State, str], Network]):
        self.draft, self.suite, self.resolver = draft, draft.suite, draft.resolver
        self.shared, self.teacher = shared, teacher
        for label, entry in self.suite.synthetic.items():
            self._check_source(label, entry)
        if self.suite.quality is not None:
            self._check_judge(self.suite.quality.teacher, self.suite.quality.state, ("quality",))

    def images(self, arm: Arm, inputs: NetworkInputs) -> SyntheticImages:
        """The generated images that an arm uses on a data set; adds their stages.

        Args:
            arm: an arm that `check` has passed.
            inputs: of the cell.
        """
        use = arm.synthetic
        if use is None:
            return SyntheticImages()
        require_rgb("generated images", ("synthetic", use.set), inputs.label, self.draft)
        generation = self._generation(use.set, inputs.label)
        needs = {"synthetic": generation}
        plain = replace(inputs.plain(), needs={"synthetic": generation})
        count = self._set_size(use.set, inputs.label)
        if use.teacher is not None and use.state is not None:
            judge = self.teacher(use.teacher, use.state, inputs.label)
            needs["judge"] = self.shared.set_outputs(judge, plain, use.set, count)
        if self.suite.quality is not None:
            self._quality(use.set, plain)
        spec = SyntheticUseSpec(
            set=use.set,
            times=use.times,
            share=None if use.share is None else RampSpec(first=use.share.first, last=use.share.last),
            labels=use.labels,
            min_confidence=use.min_confidence,
            at_most=self._images(inputs.label, use.times) if use.times is not None else count,
        )
        return SyntheticImages(spec, needs)

    def check(self, label: str, arm: Arm, mixes: bool) -> None:
        """Refuses an arm's use of generated images that cannot work.

        Args:
            label: of the arm.
            arm: the arm.
            mixes: whether its recipe has an augmenter that mixes images.

        Raises:
            SuiteError: at the part that is wrong.
        """
        use, loc, error = arm.synthetic, ("arms", label, "synthetic"), self.resolver.file.error
        if use is None:
            return
        if use.set not in self.suite.synthetic:
            raise error(f"unknown set '{use.set}'; {did_you_mean(use.set, self.suite.synthetic)}", [*loc, "set"])
        if arm.method in ("linear_probe", "published"):
            problem = f"arm '{label}' has method {arm.method}, which takes no generated images"
            raise error(problem, loc, "use scratch, finetune or distill")
        times = self.suite.synthetic[use.set].times_or_default
        if use.times is not None and times is not None and use.times > times:
            raise error(f"times: {use.times:g} is more than set '{use.set}' has ({times:g})", [*loc, "times"])
        names = [ref.name for ref in arm.loss]
        for name in use.losses or ():
            if name not in names:
                raise error(f"arm '{label}' has no loss '{name}'; {did_you_mean(name, names)}", [*loc, "losses"])
        if use.losses and mixes:
            problem = "losses of their own for generated images do not go with an augmenter that mixes images"
            raise error(problem, [*loc, "losses"], "take it out of `augment`")
        self._check_use_of_judge(use, loc)

    def _check_use_of_judge(self, use: SyntheticUse, loc: Loc) -> None:
        if use.teacher is None or use.state is None:
            return
        self._check_judge(use.teacher, use.state, loc)
        if use.state == "pretrained":
            problem = "a judge in state 'pretrained' does not know the task's classes"
            raise self.resolver.file.error(problem, [*loc, "state"], "take an adapted state")

    def _check_judge(self, teacher: str, state: State, loc: Loc) -> None:
        error = self.resolver.file.error
        if teacher not in self.suite.teachers:
            hint = did_you_mean(teacher, self.suite.teachers)
            raise error(f"unknown teacher '{teacher}'; {hint}", [*loc, "teacher"])
        states = self.suite.teachers[teacher].adapt
        if state != "pretrained" and state not in states:
            raise error(f"teacher '{teacher}' has no state '{state}'; it has {', '.join(states)}", [*loc, "state"])

    def _check_source(self, label: str, entry: SyntheticEntry) -> None:
        name, loc = entry.source.name, ("synthetic", label, "source")
        component = self.resolver.component("augmenter", name, loc)
        if not component.generates:
            raise self.resolver.file.error(f"'{name}' generates no images; it belongs into a recipe's `augment`", loc)
        self.resolver.params(component, entry.source.params, [*loc, name])

    def _set_size(self, label: str, data: str) -> int:
        """Images that a set has, none refused."""
        entry = self.suite.synthetic[label]
        if entry.per_class is not None:
            return entry.per_class * self.draft.info[data].classes
        return self._images(data, entry.times_or_default or 1.0)

    def _images(self, data: str, times: float) -> int:
        """So many times the training images of a data set."""
        entry, info = self.suite.data[data], self.draft.info[data]
        whole = info.train if entry.fraction is None else round(info.train * entry.fraction)
        subset = entry.per_class * info.classes if entry.per_class is not None else whole
        held_out = 0 if info.validation else round(subset * self.suite.selection.validation)
        return round(times * (subset - held_out))

    def _generation(self, label: str, data: str) -> str:
        """The stage that generates a set for a data set."""
        entry, loc = self.suite.synthetic[label], ("synthetic", label, "source")
        component = self.resolver.component("augmenter", entry.source.name, loc)
        params = self.resolver.params(component, entry.source.params, [*loc, entry.source.name])
        builder = SpecBuilder(self.resolver)
        generator = builder.component("augmenter", entry.source, loc)
        if "prompts" in component.params.model_fields and "prompts" not in entry.source.params:
            prompts = [PAPER.get(self.suite.data[data].source.name, GENERAL)]
            generator = generator.model_copy(update={"params": {**generator.params, "prompts": prompts}})
        images = builder.data(self.suite.data[data], self.suite.selection, ("data", data))
        needs: dict[str, str] = {}
        if training := params.training if isinstance(params, GeneratorParams) else frozenset():
            own = {name: generator.params[name] for name in sorted(training)}
            diffusion = DiffusionSpec(
                data=images,
                seed=entry.seed,
                generator=generator.model_copy(update={"params": own}),
                components=builder.components,
                code=source_hash("benchbench.stages.diffusion"),
            )
            needs["diffusion"] = self.draft.add(diffusion, f"diffusion model of {label} | {data}")
        spec = SynthesisSpec(
            data=images,
            seed=entry.seed,
            generator=generator,
            times=entry.times_or_default,
            per_class=entry.per_class,
            size=entry.size,
            components=builder.components,
            code=source_hash("benchbench.stages.synthesis"),
            needs=needs,
        )
        return self.draft.add(spec, f"images of {label} | {data}")

    def _quality(self, label: str, inputs: NetworkInputs) -> str:
        """The stage that measures a set."""
        quality = self.suite.quality
        assert quality is not None
        network = self.teacher(quality.teacher, quality.state, inputs.label)
        spec = QualitySpec(**self.shared.frozen_parts(network, inputs), code=source_hash("benchbench.stages.quality"))
        soft_needs = self.shared.tuning("teacher0", network, inputs.recipe)
        return self.draft.add(spec, f"quality of {label} by {network.label} | {inputs.label}", soft_needs)
