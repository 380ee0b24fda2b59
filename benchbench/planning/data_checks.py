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
        SuiteError: it has a single class, or no image to spare for a validation split that it needs; it is a part of
            each class of a segmentation.
    """
    if info.classes == 1 and info.task != "detection":
        raise file.error(f"data set '{label}' has one class, and there is nothing to tell apart", [*loc, "source"])
    if info.task != "classification" and entry.per_class is not None:
        problem = f"per_class: images of '{label}' have pixels of many classes"
        raise file.error(problem, [*loc, "per_class"], "give a `fraction` of them")
    _require_validation(info, loc, file)
    strata = info.classes if info.task == "classification" else 1  # that subsets are drawn by
    classes, notes, subset = max(strata, 1), [info.note], info.train
    if entry.per_class is not None:
        subset = entry.per_class * classes
    elif entry.fraction is not None:
        subset = round(info.train * entry.fraction)
        if subset < classes:
            notes.append(
                f"fraction {entry.fraction:g} is less than one image of each class; one is taken: {classes} images"
            )
            subset = classes
    notes.append(_checked_validation(label, classes, subset, file) if not info.validation else "")
    return replace(info, note="; ".join(filter(None, notes)))


def _require_validation(info: DataInfo, loc: Loc, file: SuiteFile) -> None:
    """Images to choose by are there where something is chosen.

    Raises:
        SuiteError: neither the suite nor the data set holds any out.
    """
    selection, hint = file.suite.selection, "add `selection: {validation: 0.1}`; the test set is never used to choose"
    if selection.validation or info.validation or not info.labelled:
        return
    if selection.rule == "best":
        problem = "rule 'best' needs a validation split (validation: 0.1); the test set is never used to choose"
        raise file.error(f"selection: {problem}", ["selection"])
    searches = [label for label, arm in file.suite.arms.items() if arm.search is not None and loc[0] == "data"]
    if searches:
        problem = f"arm '{searches[0]}' searches, and the suite holds no images out to choose by"
        raise file.error(problem, ["arms", searches[0], "search"], hint)


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
