"""The data sets of a suite by label, looked at before anything else of it is planned."""

from __future__ import annotations

from pathlib import Path

from benchbench.components import Registry
from benchbench.data.info import DatasetParams
from benchbench.data.sources.bundled import Cifar10SubsetParams
from benchbench.data.sources.nuclei import NucleiParams
from benchbench.data.sources.nuclei_boxes import NucleiBoxesParams
from benchbench.data.sources.own_images import OwnImagesParams
from benchbench.data.survey import Survey, survey
from benchbench.errors import DataError
from benchbench.planning.fingerprints import named_paths
from benchbench.planning.model import corpus_label
from benchbench.planning.resolve import Resolver
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import DataEntry

IN_THE_PACKAGE = (Cifar10SubsetParams, NucleiParams, NucleiBoxesParams)


def survey_suite(file: SuiteFile, registry: Registry, data_root: Path, decode: bool = False) -> dict[str, Survey]:
    """A survey of every data set of a suite, and of every corpus of its pre-trainings, by label.

    Images that are somebody's own files, and those that come with the package, are looked at. Of published sets the
    sizes are given, without a download.

    Args:
        file: the suite.
        registry: the components that it may name.
        data_root: the folder of downloads.
        decode: whether to decode every image, however many there are.

    Raises:
        SuiteError: a data set that cannot be; with its place.
    """
    resolver = Resolver(file, registry, data_root)
    entries: dict[str, tuple[DataEntry, Loc]] = {
        label: (entry, ("data", label, "source")) for label, entry in file.suite.data.items()
    }
    for label, pretraining in file.suite.pretraining.items():
        entries[corpus_label(label)] = pretraining.data, ("pretraining", label, "data", "source")
    return {label: _survey(entry, loc, resolver, decode) for label, (entry, loc) in entries.items()}


def _survey(entry: DataEntry, loc: Loc, resolver: Resolver, decode: bool) -> Survey:
    name = entry.source.name
    component = resolver.component("dataset", name, loc)
    params = resolver.params(component, entry.source.params, [*loc, name])
    assert isinstance(params, DatasetParams)
    try:
        if is_at_hand(params, resolver.data_root):
            return survey(name, component.load(), params, resolver.data_root, decode)
        return Survey(name, params.info(resolver.data_root))
    except DataError as error:
        raise resolver.file.error(str(error), loc) from None


def is_at_hand(params: DatasetParams, root: Path) -> bool:
    """True for files that somebody put there and for those of the package: nothing is downloaded for a look."""
    if isinstance(params, OwnImagesParams):
        return params.split_files("train", root) is not None
    return isinstance(params, IN_THE_PACKAGE) or bool(named_paths(params))
