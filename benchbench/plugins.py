"""Discovery of plugins; a broken one only breaks the suites that name it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pluggy

from benchbench import hookspecs
from benchbench.components import PROJECT, Component, Offer, Registry
from benchbench.errors import PluginError, one_line

ENTRY_POINT_GROUP = "benchbench"
BUILT_INS = (
    "benchbench.models.registry",
    "benchbench.losses",
    "benchbench.augmenters",
    "benchbench.synthesis",
    "benchbench.data",
    "benchbench.executors",
    "benchbench.reports",
)


@dataclass
class PluginHost:
    """The plugin manager of one run, and all that its plugins offer. There is no global one.

    Attributes:
        manager: pluggy's manager, with every extension point of `hookspecs`.
        registry: the components of all plugins.
        origins: file or distribution of each plugin, by its name.
        failed: reasons of plugins that did not load, by their names.
    """

    manager: pluggy.PluginManager
    registry: Registry
    origins: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, plugin: object, name: str, origin: str) -> None:
        """Registers a plugin object and takes in what it offers.

        Raises:
            PluginError: a hook that does not exist, wrong arguments, a registration hook that raises, or no component.
        """
        try:
            self.manager.register(plugin, name=name)
            self.manager.check_pending()
            offers = [offer for kind in hookspecs.REGISTRATION_HOOKS for offer in self._offers(plugin, kind, origin)]
        except (Exception, SystemExit) as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            raise PluginError(one_line(error)) from error
        for offer in offers:
            self.registry.add(offer)
        self.origins[name] = origin

    def _offers(self, plugin: object, kind: str, origin: str) -> list[Offer]:
        hook = getattr(self.manager.hook, hookspecs.REGISTRATION_HOOKS[kind])
        offers = []
        for implementation in hook.get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            components = implementation.function()
            if not isinstance(components, Iterable):
                raise PluginError(f"{hook.name} gave {components!r}, not a list of components")
            for component in components:
                if not isinstance(component, Component):
                    raise PluginError(f"{hook.name} gave {component!r}, which is no benchbench.Component")
                offers.append(Offer(kind, component, origin))
        return offers

    @contextlib.contextmanager
    def with_listeners(self, listeners: Sequence[object]) -> Iterator[None]:
        """Registers objects with lifecycle hooks for a while."""
        for listener in listeners:
            self.manager.register(listener)
        try:
            yield
        finally:
            for listener in listeners:
                self.manager.unregister(listener)

    def add_file(self, path: Path) -> None:
        """Loads a plugin from one Python file.

        Raises:
            PluginError: the file is absent or does not load.
        """
        path = path.resolve()  # under two names it is one plugin
        if not path.is_file():
            raise PluginError(f"plugin file {path} does not exist")
        if str(path) in self.origins:
            return
        try:
            self.add(_import_file(path), str(path), str(path))
        except (Exception, SystemExit) as error:
            raise PluginError(f"plugin {path} did not load: {one_line(error)}") from error
        self.registry.plugin_files.append(path)


def load_plugins(files: Sequence[Path] = ()) -> PluginHost:
    """The built-in plugins, the installed ones (entry-point group `benchbench`), and these files."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs.Registration)
    manager.add_hookspecs(hookspecs.Lifecycle)
    host = PluginHost(manager, Registry())
    host.registry.failed_plugins = host.failed
    for module in BUILT_INS:
        host.add(importlib.import_module(module), module, "benchbench")
    with contextlib.redirect_stdout(sys.stderr):  # output of a plugin must not end up in `--json`
        _load_others(host, files)
    return host


def _load_others(host: PluginHost, files: Sequence[Path]) -> None:
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry_point.dist
        origin = f"{distribution.name} {distribution.version}" if distribution else entry_point.value
        name = f"{entry_point.name} ({origin})"
        if name in host.origins:
            continue
        try:
            host.add(entry_point.load(), name, origin)
        except (Exception, SystemExit) as error:  # a module that calls sys.exit() must not end the run
            host.failed[name] = one_line(error)
    for path in files:
        host.add_file(path)


def _import_file(path: Path) -> ModuleType:
    # The name depends on the path alone, so that a component's target "module:attribute" means the same in a worker.
    name = f"benchbench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
