"""Sizes that a suite takes of a data set, checked before anything runs."""

from __future__ import annotations

from dataclasses import replace

from benchbench.data.info import DataInfo
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import DataEntry


def checked_part(label: str, entry: DataEntry, info: DataInfo, loc: Loc, file: SuiteFile) -> DataInfo:
    """The sizes of a data set, with a note where the suite takes less of it than it says.

    Args:
        label: of the data set.
        entry: its part of the suite.
        info: its sizes.
        loc: of the entry.
        file: the suite.

    Raises:
        SuiteError: it has a single class, or no image to spare for a validation split that it needs.
    """
    if info.classes == 1:
        raise file.error(f"data set '{label}' has one class, and there is nothing to tell apart", [*loc, "source"])
    classes, notes, subset = max(info.classes, 1), [info.note], info.train
    if entry.per_class is not None:
        subset = entry.per_class * classes
    elif entry.fraction is not None:
        subset = round(info.train * entry.fraction)
        if subset < classes:
            notes.append(
                f"fraction {entry.fraction:g} is less than one image of each class; one is taken: {classes} images"
            )
            subset = classes
    notes.append(_checked_validation(label, classes, subset, file))
    return replace(info, note="; ".join(filter(None, notes)))


def _checked_validation(label: str, classes: int, subset: int, file: SuiteFile) -> str:
    """A note on a validation split that is larger or smaller than asked for; empty where there is none."""
    selection, loc = file.suite.selection, ("selection", "validation")
    share = selection.validation
    if not share:
        return ""
    if subset < 2 * classes:
        if selection.rule == "best" and subset <= classes:
            problem = f"'{label}' has one training image of each class, and none to spare for validation"
            raise file.error(problem, loc, "take more images, or `selection: last`")
        return ""
    if subset - round(subset * share) < classes:
        return (
            f"validation {share:g} leaves less than one image of each class; one trains: {classes} of {subset} images"
        )
    if round(subset * share) < classes:
        return f"validation {share:g} is less than one image of each class; one is held out: {classes} images"
    return ""
