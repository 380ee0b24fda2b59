"""Discovery of plugins; a broken one only breaks the suites that name it."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

import pluggy

from benchbench import hookspecs
from benchbench.components import PROJECT, Component, Offer, Registry
from benchbench.errors import PluginError, did_you_mean, one_line
from benchbench.planning.claims import Claims, forget_module
from benchbench.planning.neighbours import FINDER, module_in_package, named, neighbours
from benchbench.planning.source_hash import forget_sources

if TYPE_CHECKING:
    from benchbench.suite.file import SuiteFile

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


class _Manager(pluggy.PluginManager):
    """Looks for hooks of the built-in plugins by their names alone, which takes a fraction of the time."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if not name.startswith("benchbench_") and getattr(plugin, "__name__", None) in BUILT_INS:
            return None
        return super().parse_hookimpl_opts(plugin, name)


class PluginFileError(PluginError):
    """A plugin file that is absent or does not load."""

    def __init__(self, message: str, file: Path):
        super().__init__(message)
        self.file = file


@dataclass
class PluginHost:
    """The plugin manager of one run, and all that its plugins offer. There is no global one.

    Attributes:
        manager: pluggy's manager, with every extension point of `hookspecs`.
        registry: the components of all plugins.
        origins: file or distribution of each plugin, by its name.
        failed: reasons of plugins that did not load, by their names.
        claims: names of modules beside plugin files.
    """

    manager: pluggy.PluginManager
    registry: Registry
    origins: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)

    def __post_init__(self) -> None:
        self.registry.take_turn = self.claims.take

    def add(self, plugin: object, name: str, origin: str) -> None:
        """Registers a plugin object and takes in what it offers.

        Raises:
            PluginError: a hook that does not exist, wrong arguments, a registration hook that raises, or no component.
        """
        try:
            self.manager.register(plugin, name=name)
            self.manager.check_pending()
            offers = [offer for kind in hookspecs.REGISTRATION_HOOKS for offer in self._offers(plugin, kind, origin)]
        except BaseException as error:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(self._unknown_hook(error) or one_line(error)) from error
        for offer in offers:
            self.registry.add(offer)
        self.origins[name] = origin

    def _unknown_hook(self, error: BaseException) -> str | None:
        """The reason why a hook is none of ours, and which may have been meant; None for another error."""
        unknown = re.search(r"unknown hook '(\w+)'", str(error))
        if unknown is None or not isinstance(error, pluggy.PluginValidationError):
            return None
        hooks = vars(self.manager.hook).items()
        known = [name for name, hook in hooks if isinstance(hook, pluggy.HookCaller) and hook.has_spec()]
        return f"unknown hook '{unknown[1]}'; {did_you_mean(unknown[1], known)}"

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
        """Registers objects with lifecycle hooks for a while; modules beside plugin files are those of this host."""
        self.claims.take()
        for listener in listeners:
            self.manager.register(listener)
        try:
            yield
        finally:
            for listener in listeners:
                self.manager.unregister(listener)

    def add_file(self, path: Path) -> None:
        """Loads a plugin from one Python file, and makes what it imports from beside it importable.

        Raises:
            PluginFileError: the file is absent or does not load, or a module beside it cannot have its name.
        """
        path = path.resolve()  # under two names it is one plugin
        if str(path) in self.origins:
            return
        if not path.is_file():
            raise PluginFileError(f"plugin file {path} {_absence(path)}", path)
        forget_sources()
        try:
            with contained():
                self._add_file(path)
        except Exception as error:
            raise PluginFileError(f"plugin {path} did not load: {one_line(error)}", path) from error
        self.registry.plugin_files.append(path)

    def _add_file(self, path: Path) -> None:
        found = neighbours(path)
        self.claims.add(found, path)
        self.add(_import_file(path, found.is_part), str(path), str(path))
        offers = [offer for kind in hookspecs.REGISTRATION_HOOKS for offer in self.registry.of_kind(kind)]
        for module in {offer.component.target.partition(":")[0] for offer in offers if offer.origin == str(path)}:
            top = module.partition(".")[0]
            if top not in FINDER.plugins and top not in self.claims.folders:  # a class beside it, say, not imported yet
                self.claims.add(named(module, path), path)


def load_plugins(files: Sequence[Path] = ()) -> PluginHost:
    """The built-in plugins, the installed ones (entry-point group `benchbench`), and these files."""
    manager = _Manager(PROJECT)
    manager.add_hookspecs(hookspecs.Registration)
    manager.add_hookspecs(hookspecs.Lifecycle)
    host = PluginHost(manager, Registry())
    host.registry.failed_plugins = host.failed
    for module in BUILT_INS:
        host.add(importlib.import_module(module), module, "benchbench")
    _load_others(host, files)
    return host


def load_suite_plugins(file: SuiteFile, files: Sequence[Path] = ()) -> PluginHost:
    """The same with the plugin files of a suite.

    Raises:
        SuiteError: one of those is absent or does not load; with its line.
        PluginError: one of the others.
    """
    own = file.plugin_files()
    try:
        return load_plugins([*own, *files])
    except PluginFileError as error:
        resolved = [path.resolve() for path in own]
        if error.file in resolved:
            raise file.error(str(error), ["plugins", resolved.index(error.file)]) from error
        raise


def _load_others(host: PluginHost, files: Sequence[Path]) -> None:
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry_point.dist
        origin = f"{distribution.name} {distribution.version}" if distribution else entry_point.value
        name = f"{entry_point.name} ({origin})"
        if name in host.origins:
            continue
        try:
            with contained():
                host.add(entry_point.load(), name, origin)
        except Exception as error:
            host.failed[name] = one_line(error)
    for path in files:
        host.add_file(path)


def _import_file(path: Path, is_part: bool) -> ModuleType:
    """The module of a plugin file; of one that imports from the package that it is part of, by its name there."""
    if is_part:
        forget_module(name := module_in_package(path))
        return importlib.import_module(name)
    # The name depends on the path alone, so that a component's target "module:attribute" means the same in a worker.
    stem = re.sub(r"\W", "_", path.stem)
    name = f"benchbench_plugin_{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    FINDER.plugins[name] = path
    spec = FINDER.find_spec(name)
    if spec is None or spec.loader is None:
        del FINDER.plugins[name]
        raise PluginError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    forget_module(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        forget_module(name)
        raise
    return module


def _absence(path: Path) -> str:
    """The reason why a path is no plugin file, and what may have been meant."""
    if path.is_dir():
        return "is a folder; name a Python file in it"
    with_suffix = path.with_name(f"{path.name}.py")
    names = [with_suffix.name] if with_suffix.is_file() else sorted(each.name for each in path.parent.glob("*.py"))
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"does not exist{f'; did you mean {close[0]}?' if close else ''}"


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Code of a plugin as it is imported: what it prints goes to standard error, and it leaves the working folder.

    Raises:
        PluginError: it ends the process, or interrupts itself.
        KeyboardInterrupt: the user has interrupted, even if the plugin has caught that.
    """
    with contextlib.ExitStack() as stack, _interrupts() as pressed:
        with contextlib.suppress(OSError):  # a folder that has been deleted
            stack.callback(os.chdir, os.getcwd())
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))  # it must not end up in `--json`
        stack.enter_context(_descriptor_to_stderr())
        try:
            yield
        except Exception:
            if pressed:
                raise KeyboardInterrupt from None
            raise
        except BaseException as error:
            if pressed:
                raise KeyboardInterrupt from None
            raise PluginError(one_line(error)) from error
        if pressed:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _descriptor_to_stderr() -> Iterator[None]:
    """Sends what programs and C libraries print to standard error too."""
    try:
        sys.__stdout__.flush() if sys.__stdout__ else None
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a closed stream
        yield
        return
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The signals of Ctrl-C that come meanwhile; they are raised as ever."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def remember(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
