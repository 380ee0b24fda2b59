"""Parts of a suite become the typed parts of one stage's spec."""

from __future__ import annotations

from typing import Literal

from benchbench.data.info import DatasetParams
from benchbench.planning.keys import describe
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.planning.resolve import Resolver
from benchbench.specs.parts import (
    FINGERPRINT,
    ComponentSpec,
    ComponentVersion,
    DataSpec,
    InputSpec,
    LossSpec,
    ModelSpec,
    RecipeSpec,
    Role,
)
from benchbench.specs.stages import Method
from benchbench.suite.document import Loc
from benchbench.suite.fields import MODEL, PATTERNS_IN_WORDS
from benchbench.suite.schema import DataEntry, ModelEntry, Ref, Selection, WeightedRef

# Augmented views of each image that a linear probe's head is trained on.
PROBE_VIEWS = 4
# Optimisers that are named without their library.
PLAIN_OPTIMIZERS = ("adamw", "sgd")


class SpecBuilder:
    """Resolves the parts of one stage's spec and collects the components that it uses.

    Attributes:
        components: version and source of each, by "kind/name".
    """

    def __init__(self, resolver: Resolver):
        self.resolver = resolver
        self.components: dict[str, ComponentVersion] = {}

    def use(self, kind: str, *names: str) -> None:
        """Adds components that parts of another stage's spec name."""
        for name in names:
            self.components[f"{kind}/{name}"] = describe(self.resolver.registry.get(kind, name))

    def use_network(self, role: Role, model: ModelSpec) -> None:
        """Adds the components of a network."""
        self.use(role, model.source)
        if model.head is not None:
            self.use("head", model.head.name)

    def use_inputs(self, data: DataSpec, recipe: InputSpec) -> None:
        """Adds the components of a data set and of the augmenters that work on it."""
        self.use("dataset", data.source.name)
        self.use("augmenter", *(ref.name for ref in recipe.augment))

    def component(self, kind: str, ref: Ref, loc: Loc, hint: str = "") -> ComponentSpec:
        """A component with its parameters; `hint` is a further remedy where there is none of that name.

        Raises:
            SuiteError: an unknown name or parameter, or a wrong value.
        """
        component = self.resolver.component(kind, ref.name, loc, hint)
        params = self.resolver.params(component, ref.params, loc)
        self.components[f"{kind}/{ref.name}"] = describe(component)
        own = self.resolver.fingerprint(kind, component, params, loc)
        values = self.resolver.as_json(params)
        return ComponentSpec(name=ref.name, params=values if own is None else {**values, FINGERPRINT: own})

    def loss(self, ref: WeightedRef, loc: Loc, images: Literal["all", "real"] = "all") -> LossSpec:
        """A loss with its weight."""
        component = self.component("loss", ref, loc)
        return LossSpec(name=component.name, params=component.params, weight=ref.weight, images=images)

    def model(self, role: Role, entry: ModelEntry, with_weights: bool, loc: Loc) -> ModelSpec:
        """A student or teacher; `with_weights` is false where it starts from random ones."""
        source, slash, name = entry.model.partition("/")
        hint = "" if slash else PATTERNS_IN_WORDS[MODEL]  # it may be the name of a network, without a source
        component = self.component(role, Ref(name=source, params=entry.params), [*loc, "model"], hint)
        own = self.resolver.weights_file(entry, loc) if with_weights else None
        weights = self.resolver.weights(entry, loc) if with_weights else None
        params = component.params
        if weights is not None and weights.pretrained is not None:
            of_weights = self.resolver.registry.get(role, source).params.of_weights
            params = {**of_weights.get(f"{name}.{weights.pretrained}".lower(), {}), **params}
        return ModelSpec(
            source=source,
            name=name,
            params=params,
            weights=weights,
            mean=entry.mean or (own and own.mean),
            std=entry.std or (own and own.std),
            input_size=entry.input_size,
        )

    def data(self, entry: DataEntry, selection: Selection, loc: Loc) -> DataSpec:
        """A data set with the subset and the validation split taken from it."""
        source = self.component("dataset", entry.source, [*loc, "source"])
        params = self.resolver.params(self.resolver.component("dataset", source.name, loc), entry.source.params, loc)
        folder = params.place(self.resolver.data_root) if isinstance(params, DatasetParams) else None
        return DataSpec(
            source=source,
            folder=self.resolver.file_spec(folder) if folder else None,
            fraction=entry.fraction,
            per_class=entry.per_class,
            subset_seed=entry.subset_seed,
            validation=selection.validation,
        )

    def recipe(self, merged: MergedRecipe, method: Method) -> RecipeSpec:
        """A full recipe with its augmenters resolved, those that mix apart as `mix`, and its number of views.

        Args:
            merged: the recipe, with its places in the suite.
            method: of the stage.

        Raises:
            SuiteError: steps without milestones, or batches that are mixed, where views of single images are asked for.
        """
        file, recipe, loc = self.resolver.file, merged.recipe, merged.loc
        if recipe.schedule == "step" and not recipe.milestones:
            hint = "for example milestones: [150, 180, 210]"
            raise file.error("schedule 'step' needs milestones", merged.loc_of("schedule"), hint)
        for index, ref in enumerate(recipe.augment):
            if self.resolver.component("augmenter", ref.name, [*loc, index, ref.name]).generates:
                problem = f"'{ref.name}' generates images in a stage of its own, and is no part of a recipe"
                raise file.error(problem, [*loc, index, ref.name], "name it in the suite's `synthetic:`")
        augmenters = tuple(
            self.component("augmenter", ref, [*loc, index, ref.name]) for index, ref in enumerate(recipe.augment)
        )
        first_mixer = len(augmenters) - len(self.resolver.mixers(recipe, loc))
        mixers = augmenters[first_mixer:]
        views = PROBE_VIEWS if method == "linear_probe" and recipe.views is None else recipe.views
        if views is not None and mixers:
            problem = f"'{mixers[0].name}' mixes the images of a batch, and views are of single images"
            hint = f"give {method} an `augment` without it" + ("" if recipe.views is None else ", or no `views`")
            raise file.error(problem, loc, hint)
        if views is not None:
            views = min(recipe.epochs if views == "all" else views, recipe.epochs if recipe.augment else 1)
        fields = recipe.model_dump(exclude={"augment", "views", "devices"})
        if views is not None:
            fields["decode"] = "cpu"  # views are drawn by the loader processes
        fields["dot"] = recipe.dot if method == "distill" else None  # there is one gradient, and no other
        if "/" not in recipe.optimizer and recipe.optimizer not in PLAIN_OPTIMIZERS:
            fields["optimizer"] = f"timm/{recipe.optimizer}"
        return RecipeSpec(**fields, augment=augmenters[:first_mixer], mix=mixers, views=views)
