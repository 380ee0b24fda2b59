"""Trials of an arm's search over hyper-parameters: its combinations of values, or some that are drawn from them."""

from __future__ import annotations

import itertools
import json
import math
import random
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from benchbench.errors import did_you_mean, quoted
from benchbench.planning.resolve import Resolver
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.recipe import Recipe
from benchbench.suite.schema import Arm, WeightedRef
from benchbench.suite.search import Range, SearchEntry

MOST_TRIALS = 1000  # of one arm
DRAWS = 100  # for each trial, until it differs from the others
DIGITS = 4  # of a number that is drawn from a range
RECIPE, LOSS, WEIGHT = "recipe", "loss", "weight"


@dataclass(frozen=True, eq=False)
class Trial:
    """One combination of values.

    Attributes:
        values: by dotted key, `recipe.lr` or `loss.kd.temperature`.
    """

    values: dict[str, JsonValue]

    @property
    def label(self) -> str:
        """The values in words: `lr 0.01, kd.temperature 4`."""
        names = {key: key.partition(".")[2] for key in self.values}
        return ", ".join(f"{names[key]} {_text(value)}" for key, value in self.values.items())

    def recipe_parts(self, loc: Loc) -> list[tuple[Loc, Recipe]]:
        """The fields of the recipe among them, each with its place in the search at `loc`."""
        fields = {key: key.partition(".")[2] for key in self.values if key.startswith(f"{RECIPE}.")}
        return [((*loc, key), Recipe.model_validate({name: self.values[key]})) for key, name in fields.items()]

    def of(self, arm: Arm) -> Arm:
        """The arm with these values."""
        fields = {name: getattr(arm.recipe, name) for name in arm.recipe.model_fields_set}
        losses = {ref.name: ref for ref in arm.loss}
        for key, value in self.values.items():
            part, _, name = key.partition(".")
            if part == RECIPE:
                fields[name] = getattr(Recipe.model_validate({name: value}), name)
                continue
            name, _, parameter = name.partition(".")
            ref = losses[name]
            changes = {"weight": value} if parameter == WEIGHT else {"params": {**ref.params, parameter: value}}
            losses[name] = ref.model_copy(update=changes)
        return arm.model_copy(update={"recipe": Recipe.model_construct(**fields), "loss": [*losses.values()]})


@dataclass(frozen=True)
class _Field:
    """One field of a search.

    Attributes:
        loc: its place in the suite.
        choices: as the suite has them.
        check: refuses a value, at a place.
        numbers: the kinds of number that it may be.
    """

    loc: Loc
    choices: Sequence[JsonValue] | Range
    check: Callable[[JsonValue, Loc], object]
    numbers: set[object]

    @property
    def whole(self) -> bool:
        return float not in self.numbers

    @property
    def count(self) -> float:
        """Values that there are; of a range of fractions without end."""
        if not isinstance(self.choices, Range):
            return len(self.choices)
        return math.floor(self.choices.high) - math.ceil(self.choices.low) + 1 if self.whole else math.inf

    def draw(self, numbers: random.Random) -> JsonValue:
        """A value by chance."""
        if not isinstance(self.choices, Range):
            return numbers.choice(self.choices)
        low, high = self.choices.low, self.choices.high
        if self.whole and not self.choices.log:
            return numbers.randint(math.ceil(low), math.floor(high))
        value = (
            math.exp(numbers.uniform(math.log(low), math.log(high))) if self.choices.log else numbers.uniform(low, high)
        )
        if self.whole:
            return min(max(round(value), math.ceil(low)), math.floor(high))
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def search_trials(file: SuiteFile, label: str, resolver: Resolver) -> tuple[Trial, ...]:
    """The trials of an arm; none where it searches nothing.

    Args:
        file: the suite.
        label: of the arm.
        resolver: looks up its losses.

    Raises:
        SuiteError: a search that cannot be.
    """
    arm, loc, error = file.suite.arms[label], ("arms", label, "search"), file.error
    if arm.search is None:
        return ()
    if arm.method == "published":
        raise error("a network that is tested as published has nothing to search", loc, "take the search out")
    fields = {key: _Builder(file, label, resolver).field(key) for key in arm.search.fields}
    _check_number(file, label, arm.search, fields)
    if arm.search.trials is None:
        lists = [each.choices for each in fields.values() if not isinstance(each.choices, Range)]
        return tuple(Trial(dict(zip(fields, values, strict=True))) for values in itertools.product(*lists))
    trials = _drawn(arm.search.trials, arm.search.seed, fields)
    if len(trials) < arm.search.trials:
        problem = f"its ranges have too few different values for {arm.search.trials} trials"
        raise error(problem, (*loc, "trials"), "widen one, or draw fewer")
    return tuple(trials)


def _check_number(file: SuiteFile, label: str, search: SearchEntry, fields: dict[str, _Field]) -> None:
    loc, combinations = ("arms", label, "search"), math.prod(each.count for each in fields.values())
    ranges = [key for key, each in fields.items() if isinstance(each.choices, Range)]
    if search.trials is None and ranges:
        problem = f"'{ranges[0]}' is a range, and `trials` does not say how many values to draw"
        raise file.error(problem, (*loc, ranges[0]), "add `trials: 6`, or write a list")
    if search.trials is None and "seed" in search.model_fields_set:
        raise file.error("`seed` draws `trials`, and there are none", (*loc, "seed"), "take it out, or add `trials: 6`")
    if combinations < 2:
        raise file.error("a search has two values or more", loc, "add one, or write the value in the arm itself")
    if search.trials is not None and search.trials > combinations:
        problem = f"{search.trials} trials are more than the {combinations:g} combinations of values"
        raise file.error(problem, (*loc, "trials"), "take it out to try all of them")
    if (search.trials or combinations) > MOST_TRIALS:
        number = search.trials or combinations
        problem = f"{number:,g} trials are more than {MOST_TRIALS:,}"
        raise file.error(problem, loc, "add `trials: 6` to draw some of them" if search.trials is None else "")


def _drawn(count: int, seed: int, fields: dict[str, _Field]) -> list[Trial]:
    """Trials by chance, all different; fewer where the ranges hardly have so many values."""
    numbers = random.Random(f"search {seed}")
    if all(each.count < math.inf for each in fields.values()):
        sizes = [int(each.count) for each in fields.values()]
        if math.prod(sizes) <= MOST_TRIALS * DRAWS and not any(isinstance(f.choices, Range) for f in fields.values()):
            lists = [list(each.choices) for each in fields.values() if not isinstance(each.choices, Range)]
            chosen = numbers.sample(list(itertools.product(*lists)), count)
            return [Trial(dict(zip(fields, values, strict=True))) for values in chosen]
    trials: dict[str, Trial] = {}
    for _ in range(count * DRAWS):
        values = {key: each.draw(numbers) for key, each in fields.items()}
        trials.setdefault(json.dumps(values), Trial(values))
        if len(trials) == count:
            break
    return [*trials.values()]


class _Builder:
    """Looks up the fields that a search names, and checks their values."""

    def __init__(self, file: SuiteFile, label: str, resolver: Resolver):
        self.file, self.label, self.resolver = file, label, resolver
        self.arm = file.suite.arms[label]

    def field(self, key: str) -> _Field:
        """A field of the search by its dotted key, each of its values checked.

        Raises:
            SuiteError: there is no such field, or it cannot have a value.
        """
        assert self.arm.search is not None
        loc, (part, _, name) = ("arms", self.label, "search", key), key.partition(".")
        choices = self.arm.search.fields[key]
        if part == RECIPE:
            field = _Field(loc, choices, self._recipe_check(name), self._recipe_numbers(name, loc))
        elif part == LOSS:
            field = self._loss(name, loc, choices)
        else:
            hint = did_you_mean(key, [f"{RECIPE}.{each}" for each in Recipe.model_fields])
            raise self.file.error(f"'{key}' is no field of a recipe or a loss; {hint}", loc)
        if isinstance(choices, Range):
            self._check_range(field, choices)
            return field
        for index, value in enumerate(choices):
            field.check(value, (*loc, index))
        return field

    def _check_range(self, field: _Field, choices: Range) -> None:
        if not field.numbers:
            raise self.file.error("a range is of numbers, and this is none", field.loc, "write a list of values")
        if field.count < 1:
            problem = f"there is no whole number from {choices.low:g} to {choices.high:g}"
            raise self.file.error(problem, field.loc)
        for end in (choices.low, choices.high):
            field.check(round(end) if field.whole else end, field.loc)

    def _recipe_numbers(self, name: str, loc: Loc) -> set[object]:
        if name not in Recipe.model_fields:
            hint = did_you_mean(name, Recipe.model_fields)
            raise self.file.error(f"a recipe has no field '{quoted(name)}'; {hint}", loc)
        if name == "devices":
            raise self.file.error("`devices` change no result, so there is nothing to search", loc, "take it out")
        if name == "epochs" and isinstance(self.arm.recipe.epochs, list):
            problem = f"the epochs of arm '{self.label}' are a ladder, and cannot be searched as well"
            raise self.file.error(problem, loc, "keep one of the two")
        return _number_types(Recipe.model_fields[name].annotation)

    def _recipe_check(self, name: str) -> Callable[[JsonValue, Loc], object]:
        def check(value: JsonValue, loc: Loc) -> None:
            try:
                Recipe.model_validate({name: value})
            except ValidationError as error:
                raise self.file.source.explain(error, loc) from None

        return check

    def _loss(self, path: str, loc: Loc, choices: Sequence[JsonValue] | Range) -> _Field:
        """A field of a loss: its weight, or a parameter."""
        name, _, parameter = path.partition(".")
        refs = {ref.name: ref for ref in self.arm.loss}
        if name not in refs:
            hint = did_you_mean(name, refs)
            raise self.file.error(f"arm '{self.label}' has no loss '{quoted(name)}'; {hint}", loc)
        component = self.resolver.component("loss", name, ("arms", self.label, "loss", name))
        fields = component.params.model_fields
        if not parameter:
            known = ", ".join((WEIGHT, *fields))
            raise self.file.error(
                f"name the weight or a parameter of loss '{name}'", loc, f"`{LOSS}.{name}.` and {known}"
            )
        if parameter not in (WEIGHT, *fields) and component.params.model_config.get("extra") != "allow":
            hint = did_you_mean(parameter, (WEIGHT, *fields))
            raise self.file.error(f"loss '{name}' has no parameter '{quoted(parameter)}'; {hint}", loc)
        if parameter == WEIGHT:
            return _Field(loc, choices, self._weight_check(name), {float})

        def check(value: JsonValue, place: Loc) -> object:
            return self.resolver.params(component, {**refs[name].params, parameter: value}, place)

        numbers: set[object] = _number_types(fields[parameter].annotation) if parameter in fields else {float}
        return _Field(loc, choices, check, numbers)

    def _weight_check(self, name: str) -> Callable[[JsonValue, Loc], object]:
        def check(value: JsonValue, loc: Loc) -> None:
            try:
                WeightedRef.model_validate({"name": name, "weight": value})
            except ValidationError as error:
                raise self.file.source.explain(error, loc) from None

        return check


def _number_types(annotation: object) -> set[object]:
    """The kinds of number in a type."""
    if annotation in (int, float):
        return {annotation}
    return {each for part in typing.get_args(annotation) for each in _number_types(part)}


def _text(value: JsonValue) -> str:
    return quoted(value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value))
