"""Targets of `benchbench check`: a plugin file, a package's folder, an installed package, a component."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pluggy

from benchbench import hookspecs
from benchbench.components import KINDS, PROJECT, Offer, Registry
from benchbench.errors import BenchBenchError, PluginError, did_you_mean, one_line
from benchbench.plugins import ENTRY_POINT_GROUP, PluginHost, load_plugins

KIND_NAMES = ", ".join(KINDS)


@dataclass
class Target:
    """The part of all loaded plugins that is to be checked.

    Attributes:
        host: all plugins.
        offers: its components.
        plugins: its plugins, by their names in the host; empty for a component alone.
        origins: of each of them: a file, or "module:attribute".
        path: the folders of its modules, where it is not installed.
    """

    host: PluginHost
    offers: list[Offer]
    plugins: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    path: list[str] = field(default_factory=list)


def find_target(text: str, files: Sequence[Path] = ()) -> Target:
    """The target of a name.

    Args:
        text: a plugin file, a package's folder, an installed package's name, or KIND/NAME.
        files: further plugin files, where a component may come from.

    Raises:
        BenchBenchError: it does not exist, or does not load.
    """
    path = Path(text)
    kind, slash, name = text.partition("/")
    if text and path.is_dir():  # an empty path would be the current folder
        return _folder(path, files)
    if path.is_file() or path.suffix == ".py":
        return _file(path, files)
    if slash and kind in KINDS:
        host = load_plugins(files)
        return Target(host, [_only_offer(host, kind, name)])
    return _distribution(text, files)


def bare_host() -> PluginHost:
    """A host without a single plugin, not even a built-in one."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs.Registration)
    manager.add_hookspecs(hookspecs.Lifecycle)
    return PluginHost(manager, Registry())


def _only_offer(host: PluginHost, kind: str, name: str) -> Offer:
    host.registry.get(kind, name)  # raises for a wrong name
    return host.registry.offers[kind][name][0]


def _file(path: Path, files: Sequence[Path]) -> Target:
    host = load_plugins(files)
    path = path.resolve()
    for name, plugin in host.manager.list_name_plugin():
        if name in host.origins and path == _source(plugin):  # installed in place; it is not to be loaded twice
            return _target(host, {name: str(path)})
    with contextlib.redirect_stdout(sys.stderr):
        host.add_file(path)
    return _target(host, {str(path): str(path)})


def _folder(folder: Path, files: Sequence[Path]) -> Target:
    """A package that need not be installed: its modules are found by their folders, its plugins in pyproject.toml."""
    project, entry_points = _project(folder)
    path = [str(each.resolve()) for each in (folder / "src", folder) if each.is_dir()]
    sys.path[:0] = [each for each in path if each not in sys.path]
    host = load_plugins(files)
    loaded = {}
    for name, value in entry_points.items():
        try:
            with contextlib.redirect_stdout(sys.stderr):
                plugin = EntryPoint(name, value, ENTRY_POINT_GROUP).load()
                _require_own(value, folder)
                label = _add(host, plugin, f"{name} ({folder})", f"{project} ({folder})")
        except (Exception, SystemExit) as error:
            raise PluginError(f"plugin {name} of {folder} did not load: {one_line(error)}") from error
        loaded[label] = value
    return _target(host, loaded, path)


def _add(host: PluginHost, plugin: object, name: str, origin: str) -> str:
    """Adds a plugin to the host, unless it is installed in place; gives its name there."""
    known = host.manager.get_name(plugin)
    if known is not None:
        return known
    host.add(plugin, name, origin)
    return name


def _project(folder: Path) -> tuple[str, dict[str, str]]:
    """The name of a package, and its entry points in our group."""
    file = folder / "pyproject.toml"
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BenchBenchError(f"{folder} has no pyproject.toml; name a plugin file or a package's folder") from None
    except (OSError, ValueError) as error:
        raise BenchBenchError(f"cannot read {file} ({one_line(error)})") from None
    project = content.get("project", {})
    groups = project.get("entry-points") if isinstance(project, dict) else None
    plugins = groups.get(ENTRY_POINT_GROUP) if isinstance(groups, dict) else None
    if not isinstance(plugins, dict) or not plugins or not all(isinstance(value, str) for value in plugins.values()):
        table = f"[project.entry-points.{ENTRY_POINT_GROUP}]"
        raise BenchBenchError(f"{file} names no plugin; add {table} with a line NAME = 'MODULE'")
    return str(project.get("name", folder.name)), plugins


def _require_own(value: str, folder: Path) -> None:
    """Refuses another module of the same name, which would be checked instead."""
    source = _source(sys.modules.get(value.partition(":")[0]))
    if source is not None and not source.is_relative_to(folder.resolve()):
        raise PluginError(f"module {value} is taken by {source}; rename it")


def _distribution(name: str, files: Sequence[Path]) -> Target:
    known = {_normal(point.dist.name) for point in _installed() if point.dist}
    points = [point for point in _installed() if point.dist and _normal(point.dist.name) == _normal(name)]
    if not points:
        try:
            importlib.metadata.distribution(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            close = f"; {did_you_mean(name, known)}" if known else ""
            raise BenchBenchError(
                f"there is no plugin '{name}': give a Python file, a package's folder, an installed package's name, "
                f"or KIND/NAME as in loss/kd (kinds: {KIND_NAMES}){close}"
            ) from None
        raise BenchBenchError(f"{name} is installed and offers no plugin: it has no entry point '{ENTRY_POINT_GROUP}'")
    host = load_plugins(files)
    loaded = {f"{point.name} ({point.dist.name} {point.dist.version})": point.value for point in points if point.dist}
    for plugin in loaded:
        if plugin in host.failed:
            raise PluginError(f"plugin {plugin} did not load: {host.failed[plugin]}")
    return _target(host, loaded)


def _installed() -> list[EntryPoint]:
    return list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))


def _target(host: PluginHost, loaded: dict[str, str], path: Sequence[str] = ()) -> Target:
    """The components of these plugins, by their names in the host."""
    origins = {host.origins[name] for name in loaded}
    offers = [offer for kind in KINDS for offer in host.registry.of_kind(kind) if offer.origin in origins]
    return Target(host, offers, list(loaded), list(loaded.values()), list(path))


def _source(plugin: Any) -> Path | None:
    file = getattr(plugin, "__file__", None)
    return Path(file).resolve() if isinstance(file, str) else None


def _normal(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
