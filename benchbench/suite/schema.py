"""Schema of a suite file: all checks that need neither a component nor a data set."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictInt, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from benchbench.specs.stages import Method
from benchbench.suite.fields import (
    MODEL,
    NAME,
    Label,
    Positive,
    Ref,
    Strict,
    TeacherState,
    one_ref,
)
from benchbench.suite.forms import as_losses, as_names, as_states, as_weighted_teachers
from benchbench.suite.normalisation import Mean, ModelParams, Std
from benchbench.suite.recipe import ArmRecipe, Recipe
from benchbench.suite.reporting import Factors, Metric, Published, Statistics
from benchbench.suite.search import SearchEntry, search_entry
from benchbench.suite.synthetic import QualityEntry, SyntheticEntry, SyntheticUse, one_use
from benchbench.suite.weights import WeightsEntry, weights_entry


class WeightedRef(Ref):
    """A loss, with its weight in the sum."""

    weight: float = Field(1.0, gt=0, description="multiplies the sum of its terms")
    preset: str | None = Field(
        None, description="published weight and parameters; what stands beside it in the suite wins"
    )


class PreTraining(Strict):
    """The published recipe of pre-trained weights, to price a pre-training that nobody repeats; or its hours."""

    images: int | None = Field(None, ge=1, description="size of its training set")
    epochs: float | None = Field(None, gt=0, description="passes over it")
    image_size: int | None = Field(None, ge=8, description="pixels a side in that training")
    hours: float | None = Field(None, gt=0, description="device-hours that its publishers state")
    hours_on: str = Field("", max_length=60, description="the device that `hours` are of")
    source: str = Field(description="reference for these figures")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        recipe = (self.images, self.epochs, self.image_size)
        if None in recipe and (recipe != (None, None, None) or self.hours is None):
            raise PydanticCustomError("pretraining", "give images, epochs and image_size, or the published hours")
        return self

    @property
    def samples(self) -> float | None:
        """Images that were trained on, over all epochs; None where the hours alone are known."""
        return None if self.images is None or self.epochs is None else self.images * self.epochs


class ModelEntry(Strict):
    """A student: `model: SOURCE/NAME` out of `benchbench list students`."""

    model: Annotated[str, StringConstraints(pattern=MODEL)] = Field(description="source and name of the network")
    weights: Annotated[WeightsEntry | None, BeforeValidator(weights_entry)] = Field(
        None, description="origin of pre-trained weights; a word alone is a tag of the library's"
    )
    params: ModelParams = Field({}, description="parameters of the source, or of the library's constructor")
    mean: Mean = Field(None, description="mean of the normalisation of images in 0..1; default: the model's own")
    std: Std = Field(None, description="its standard deviation; default: the model's own")
    input_size: int | None = Field(
        None, ge=8, description="resize images to this before the model; default: as they come"
    )
    head: Annotated[Ref | None, BeforeValidator(lambda value: None if value is None else one_ref(value))] = Field(
        None, description="its head on a segmentation or detection, as in `{fpn: {width: 128}}`; default: fpn or fcos"
    )
    by_name: bool = Field(False, description="only arms that name it take it; default: every arm does")
    pretraining: PreTraining | None = Field(
        None, description="cost of the weights, where the built-in table does not have them"
    )
    recipe: Recipe = Field(Recipe(), description="changes of the recipe for this model")

    @model_validator(mode="after")
    def _one_cost(self) -> Self:
        if self.pretraining is not None and self.weights is not None and self.weights.pretraining is not None:
            problem = "`pretraining` states the cost of public weights, and that of these is measured; take it out"
            raise PydanticCustomError("pretraining", problem)
        return self


class TeacherEntry(ModelEntry):
    """A teacher, and the states in which arms may take it, each with its changes of the recipe."""

    students: Annotated[list[str] | None, BeforeValidator(as_names)] = Field(
        None, description="the students that distil from it; default: all"
    )
    seed: StrictInt | None = Field(None, description="the seed of its adaptation; default: the suite's teacher_seed")
    adapt: Annotated[dict[TeacherState, Recipe], BeforeValidator(as_states)] = Field(
        min_length=1,
        description="states that arms may take it in: a list, a mapping to changes of the recipe, or both, as in "
        "`[linear_probe, {finetune: {epochs: 5}}]`",
    )


class DataEntry(Strict):
    """A data set, whole or a stratified part of its training split."""

    source: Annotated[Ref, BeforeValidator(one_ref)] = Field(
        description="a data set's name, or `{name: {parameter: value}}`"
    )
    fraction: float | None = Field(None, gt=0, le=1, description="share of the training images to take, class by class")
    per_class: int | None = Field(None, ge=1, description="training images to take of each class")
    subset_seed: int = Field(0, ge=0, description="draws the images that `fraction` and `per_class` take")
    classes: int | None = Field(None, ge=2, description="checked against the data")
    recipe: Recipe = Field(Recipe(), description="changes of the recipe for this data set")

    @model_validator(mode="after")
    def _one_subset(self) -> Self:
        if self.fraction is not None and self.per_class is not None:
            raise PydanticCustomError("subset", "give fraction or per_class, not both")
        return self


class Arm(Strict):
    """One way to get a small model: one row of the tables (for distillation, one per teacher and state)."""

    method: Method = Field(description="how the student is trained")
    loss: Annotated[list[WeightedRef], BeforeValidator(as_losses)] = Field(
        [WeightedRef(name="ce")],
        description="losses to add up, as in `{ce: 1, kd: {weight: 0.5, temperature: 4}}` or "
        "`[ce, {kd: {temperature: 4}}]`; `{kd: {preset: cifar100}}` has the published weights and parameters",
    )
    teachers: Annotated[list[str] | dict[str, Positive] | None, BeforeValidator(as_weighted_teachers)] = Field(
        None, description="a list: one row each; a mapping {teacher: weight}: all of them together"
    )
    adapt: Annotated[list[TeacherState] | None, BeforeValidator(as_names)] = Field(
        None, description="states to take teachers in; default: all that they have in common"
    )
    students: Annotated[list[str] | None, BeforeValidator(as_names)] = Field(
        None, description="students to train; default: all but those with `by_name`"
    )
    synthetic: Annotated[SyntheticUse | None, BeforeValidator(one_use)] = Field(
        None, description="generated images to train on as well: the label of a set, or a mapping"
    )
    start: str | None = Field(
        None,
        description="the arm whose student it goes on from, or the label of a `pretraining:`; default: the student's "
        "own weights, random ones for scratch and distill",
    )
    recipe: ArmRecipe = Field(ArmRecipe(), description="changes of the recipe for this arm")
    search: Annotated[SearchEntry | None, BeforeValidator(search_entry)] = Field(
        None, description="values to choose from by validation accuracy, as in `{recipe.lr: [0.01, 0.1]}`"
    )


class Recipes(Strict):
    """The suite's recipe, and changes of it by method (for students and for teachers alike)."""

    default: Recipe = Field(Recipe(), description="of every training run")
    scratch: Recipe = Field(Recipe(), description="changes for training from random weights")
    linear_probe: Recipe = Field(Recipe(), description="changes for training the classifier alone")
    finetune: Recipe = Field(Recipe(), description="changes for training all of a pre-trained network")
    published: Recipe = Field(
        Recipe(), description="changes for testing a network as it is published; it has no epochs"
    )
    distill: Recipe = Field(Recipe(), description="changes for distillation")


class Selection(Strict):
    """The epoch whose weights are tested: the last, or the best on a validation split of the training set."""

    rule: Literal["last", "best"] = Field("last", description="the epoch whose weights are tested")
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training set, stratified and seeded; of a data set with a validation part of its "
        "own, that part instead",
    )


def _selection(value: Any) -> Any:
    return {"rule": value} if isinstance(value, str) else value


class PretrainingEntry(Strict):
    """A pre-training that the suite runs itself, of each network that starts from it; measured, and not estimated."""

    data: DataEntry = Field(description="the corpus; its classes need not be those of the task")
    method: Literal["supervised", "distill"] = Field(
        "supervised", description="from the corpus's labels; or from a teacher's embedding, which needs none"
    )
    teacher: str | None = Field(None, description="the teacher of `distill`, taken with its own weights as they are")
    loss: Annotated[list[WeightedRef] | None, BeforeValidator(as_losses)] = Field(
        None, description="losses to add up; default: `{ce: 1}`, of `distill` `{align_uniform: 1}`"
    )
    recipe: Recipe = Field(Recipe(), description="changes of the recipe for this pre-training")
    seeds: Literal["shared", "own"] = Field(
        "shared", description="shared: one pre-training for all cells; own: one for each of the suite's seeds"
    )
    seed: StrictInt = Field(0, description="of the pre-training that is shared")

    @model_validator(mode="after")
    def _a_teacher_where_it_distils(self) -> Self:
        if (self.method == "distill") != (self.teacher is not None):
            problem = "`method: distill` needs a `teacher`, and no other method takes one"
            raise PydanticCustomError("pretraining", problem)
        return self

    @property
    def losses(self) -> list[WeightedRef]:
        """The losses, or the method's own."""
        default = "align_uniform" if self.method == "distill" else "ce"
        return self.loss or [WeightedRef(name=default)]


class Suite(Strict):
    """A whole suite file."""

    name: Annotated[str, StringConstraints(pattern=NAME, max_length=60)] = Field(
        description="name of the suite and of the folder of its tables"
    )
    extends: str | None = Field(
        None, description="a suite that this one changes: a file, relative to this one, or the name of one that ships"
    )
    seeds: list[Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]] = Field(
        min_length=1, description="every cell is run once with each"
    )
    teacher_seed: int = Field(0, description="the seed of the teachers' adaptation")
    data_seed: StrictInt | None = Field(
        None,
        description="draws the order of images and their augmentation for every cell, so that cells of different seeds "
        "train side by side; default: each cell's own seed",
    )
    plugins: list[str] = Field([], description="plugin files to load; relative to the suite file")
    executor: Annotated[Ref | None, BeforeValidator(one_ref)] = Field(
        None,
        description="where stages run, with its parameters, as in `{slurm: {partition: gpu, time: 4:00:00}}`; part of "
        "no key; default: `local`",
    )
    selection: Annotated[Selection, BeforeValidator(_selection)] = Field(
        Selection(), description="epoch whose weights are tested; the rule alone may stand here"
    )
    data: dict[Label, DataEntry] = Field(min_length=1, description="the data sets")
    students: dict[Label, ModelEntry] = Field(min_length=1, description="the small networks")
    teachers: dict[Label, TeacherEntry] = Field({}, description="the networks to distil from")
    pretraining: dict[Label, PretrainingEntry] = Field(
        {}, description="pre-trainings that the suite runs itself, for `weights: {pretraining: LABEL}`"
    )
    synthetic: dict[Label, SyntheticEntry] = Field({}, description="sets of generated images")
    quality: QualityEntry | None = Field(None, description="measure the generated images that arms use")
    recipes: Recipes = Field(Recipes(), description="recipes of training runs")
    arms: dict[Label, Arm] = Field(min_length=1, description="the ways to get a small model that are compared")
    metric: Metric = Field(
        "accuracy",
        description="what tables, verdicts and figures compare, on the test images; part of no key: the stages' stored "
        "predictions have them all",
    )
    statistics: Statistics = Field(Statistics(), description="the margin and the level of the tests")
    price_teachers: bool = Field(
        False, description="estimate the teachers' public pre-training too, which measures their training throughput"
    )
    factors: Factors = Field(Factors(), description="prices in money and in CO2, for the table `resources`")
    published: list[Published] = Field([], description="published accuracies, printed beside the reproduced ones")

    @property
    def view_seed(self) -> int:
        """The seed of the views of images: one for all seeds, or caching outputs on them would not pay."""
        return self.data_seed or 0

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise PydanticCustomError("seeds", "seeds must differ from one another")
        return seeds
