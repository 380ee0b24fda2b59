"""The page of commands, from their declarations for click."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import click

from benchbench.cli.grouped import PURPOSES
from benchbench.cli.main import cli
from benchbench.reference.markdown import inline, prose, table

INTRO = """\
Every command with its options, as `benchbench COMMAND --help` prints them.

Exit codes: 0 all done, 1 some cells or checks failed, 2 bad input (one line: what, where, what to do), 130
interrupted, 143 ended by SIGTERM, 128 + N by another signal N."""


def commands_page() -> str:
    """The page as Markdown."""
    parts = ["# Commands", INTRO]
    parts += [f"{purpose}:\n\n" + "\n".join(map(_entry, names)) for purpose, names in PURPOSES.items()]
    context = click.Context(cli, info_name="benchbench", **cli.context_settings)
    for name in (name for names in PURPOSES.values() for name in names):
        parts += _command(cli.commands[name], name, context)
    return "\n\n".join(parts) + "\n"


def _command(command: click.Command, name: str, parent: click.Context) -> list[str]:
    """The parts of a command, and of those below it."""
    # Under its group: a command keeps the settings of its first context.
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path
    text, examples = _help(command)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## `{path}`", f"```console\n$ {usage}\n```", text]
    if rows := [_option(each) for each in command.params if isinstance(each, click.Option)]:
        parts.append(table(["option", "value", "default", "meaning"], rows))
    if examples:
        parts.append(f"```bash\n{examples}\n```")
    below = command.commands.items() if isinstance(command, click.Group) else ()
    return parts + [part for each, sub in below for part in _command(sub, each, context)]


def _entry(name: str) -> str:
    return f"- [`benchbench {name}`](#benchbench-{name}): {_summary(cli.commands[name])}"


def _summary(command: click.Command) -> str:
    first = _help(command)[0].partition("\n\n")[0]
    return first[:1].lower() + first[1:].rstrip(".")


def _help(command: click.Command) -> tuple[str, str]:
    """A command's help in Markdown, and its examples: the block that click does not wrap."""
    text, _, block = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    return prose(text), textwrap.dedent(block).strip()


def _option(option: click.Option) -> list[str]:
    text = inline(option.help or "")
    about, _, default = text.partition("[default: ")  # of an option whose default is computed
    default = default.rstrip("] ") if default else _default(option)
    names = ", ".join(f"`{name}`" for name in option.opts)
    return [names, _value(option), default, about.strip()]


def _value(option: click.Option) -> str:
    kind: Any = option.type
    if option.is_flag:
        return ""
    if isinstance(kind, click.Choice):
        return ", ".join(f"`{choice}`" for choice in kind.choices)
    if option.metavar:
        return f"`{option.metavar}`"
    if isinstance(kind, click.Path):
        return "`DIR`" if kind.dir_okay and not kind.file_okay else "`FILE`"
    limits = [f"≥ {kind.min}"] if getattr(kind, "min", None) is not None else []
    limits += [f"≤ {kind.max}"] if getattr(kind, "max", None) is not None else []
    words = {"integer": "integer", "float": "number", "text": "text"}
    word = next((words[name] for name in words if kind.name.startswith(name)), kind.name)
    return " ".join([word, *limits])


def _default(option: click.Option) -> str:
    if not option.show_default:
        return ""
    value = f"{option.default:g}" if isinstance(option.default, float) else option.default
    return ", ".join(f"`{each}`" for each in value) if isinstance(value, tuple) else f"`{value}`"
