"""Parts that are drawn from a data set without a test part: stratified, and the same on every machine."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from benchbench.errors import DataError, did_you_mean, quoted

Part = Literal["train", "validation", "test"]
TWO_VALIDATIONS = "there is a validation part already, and `split: {validation: ...}` draws one; take one of them out"


class Split(BaseModel):
    """A share of the images that is drawn to test on, and one to validate on.

    Attributes:
        test: share of each class that tests.
        validation: share of each class that chooses epochs.
        by: `seed` draws images one by one; `group` keeps those of one group in one part.
        seed: of the draw; it is not one of the suite's seeds, so that all cells are tested on the same images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    test: float = Field(gt=0, lt=1)
    validation: float = Field(0.0, ge=0, lt=1)
    by: Literal["seed", "group"] = "seed"
    seed: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping_of_known_keys(cls, given: Any) -> Any:
        if not isinstance(given, dict | Split):
            raise PydanticCustomError("split", "write shares, as in `{test: 0.2, by: seed}`")
        for key in given if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                context = {"key": key, "name": quoted(str(key)), "hint": did_you_mean(str(key), cls.model_fields)}
                raise PydanticCustomError("unknown_key", "unknown key '{name}'; {hint}", context)
        return given

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> Split:
        if self.test + self.validation >= 1:
            raise PydanticCustomError("split", "test and validation together leave nothing to train on")
        return self


def draw_parts(source: str, labels: Sequence[str], groups: Sequence[str], split: Split) -> list[Part]:
    """The part of each of N images.

    Groups come in the order of a hash of their names and the seed, so that images which are added later hardly move
    others. One is taken as long as that brings the classes nearer to their shares.

    Args:
        source: name of the data set, for errors.
        labels: class of each image.
        groups: the group of each image; without groups, its own name.
        split: the shares.

    Raises:
        DataError: a class leaves no image to test or to train on.
    """
    members: dict[str, Counter[str]] = {}
    for label, group in zip(labels, groups, strict=True):
        members.setdefault(group, Counter())[label] += 1
    order = sorted(members, key=lambda group: hashlib.sha256(f"{split.seed}/{group}".encode(errors="replace")).digest())
    parts: dict[str, Part] = dict.fromkeys(order, "train")
    left = Counter(labels)
    shares: tuple[tuple[Part, float], ...] = (("test", split.test), ("validation", split.validation))
    for part, share in shares:
        if not share:
            continue
        counts = Counter(labels)
        room = {label: min(max(1, round(counts[label] * share)), left[label] - 1) for label in counts}
        for group in order:
            change = sum(abs(room[label] - count) - abs(room[label]) for label, count in members[group].items())
            if parts[group] == "train" and change < 0:
                parts[group] = part
                for label, count in members[group].items():
                    room[label] -= count
                    left[label] -= count
    drawn = [parts[group] for group in groups]
    _check_classes(source, labels, drawn, split)
    return drawn


def draw_unlabelled(source: str, names: Sequence[str], split: Split) -> list[Part]:
    """The part of each of N images that have no class of their own.

    Args:
        source: name of the data set, for errors.
        names: of the images; those of one sub-folder are one group, where groups are kept together.
        split: the shares.

    Raises:
        DataError: there are too few images or groups.
    """
    by_group = split.by == "group"
    groups = [os.path.dirname(name) if by_group and "/" in name else name for name in names]
    try:
        return draw_parts(source, ["images"] * len(names), groups, split)
    except DataError:  # it speaks of classes, of which images have none here
        in_groups = f" in {len(set(groups))} sub-folder{'s' if len(set(groups)) > 1 else ''}" if by_group else ""
        raise DataError(
            f"{source}: {len(names)} image{'s' if len(names) > 1 else ''}{in_groups} are too few for `split`, which "
            "leaves none to train or to test on; add images"
        ) from None


def _check_classes(source: str, labels: Sequence[str], drawn: Sequence[Part], split: Split) -> None:
    """Every class trains and is tested.

    Raises:
        DataError: one does not.
    """
    pairs, counts = set(zip(labels, drawn, strict=True)), Counter(labels)
    for label in sorted(counts):
        for part in ("test", "train"):
            if (label, part) not in pairs:
                of_group = " in too few groups" if split.by == "group" and counts[label] > 1 else ""
                images = f"{counts[label]} image{'s' if counts[label] > 1 else ''}{of_group}"
                raise DataError(
                    f"{source}: class '{quoted(label)}' has {images}, and `split` leaves none to {part} on; add images "
                    "or remove the class"
                )
