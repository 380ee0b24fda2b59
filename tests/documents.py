"""Parts of Markdown documents: code blocks, commands and links, and whether they hold."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from benchbench.cli.main import cli
from benchbench.cli.pages import slug

ROOT = Path(__file__).parents[1]
INCLUDE = re.compile(r"^<!-- include (\S+) -->$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: the word after the fence; empty where there is none.
        code: its lines, each with its newline.
    """

    language: str
    code: str

    @property
    def file_name(self) -> str:
        """The name in its first line, `# NAME.py`; such a block is a file without that line."""
        match = re.match(r"# ([\w.-]+\.(?:py|yaml|toml))\n", self.code)
        return match[1] if match else ""


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those of one language; indented ones lose their indentation."""
    found = []
    for indent, words, code in re.findall(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", text, flags=re.MULTILINE):
        lines = [line.removeprefix(indent) for line in code.splitlines(keepends=True)]
        found.append(Block(words.split(maxsplit=1)[0] if words.strip() else "", "".join(lines)))
    return [block for block in found if language is None or block.language == language]


def files(text: str) -> dict[str, str]:
    """The files in a page, by their names."""
    named = [block for block in blocks(text) if block.file_name]
    assert len({block.file_name for block in named}) == len(named), "two files of one name"
    return {block.file_name: block.code.partition("\n")[2] for block in named}


def console_sessions(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a page's console blocks, with the lines below it; `...` stands for any."""
    sessions: list[tuple[str, list[str]]] = []
    for block in blocks(text, "console"):
        for line in block.code.splitlines():
            if line.startswith("$ "):
                sessions.append((line.removeprefix("$ "), []))
            elif line.strip() and line.strip() != "...":
                sessions[-1][1].append(line.strip())
    return sessions


def assert_shows(printed: str, lines: list[str]) -> None:
    """Every line is printed, in this order; `...` within one stands for anything, and runs of spaces are one."""
    rest = " ".join(printed.split())
    for line in lines:
        pattern = ".*?".join(re.escape(" ".join(part.split())) for part in line.split("..."))
        match = re.search(pattern, rest)
        assert match, f"'{line}' is not printed; what is:\n{printed}"
        rest = rest[match.end() :]


def benchbench_commands(text: str) -> Iterator[list[str]]:
    """The arguments of every `benchbench` command in a page's shell and console blocks, and in its code spans."""
    shell = [block.code for language in ("bash", "console") for block in blocks(text, language)]
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`(benchbench [a-z][^`]*)`", prose)
    for line in "\n".join(shell).replace("\\\n", " ").splitlines() + spans:
        for part in re.split(r"&&|;|\|\s", line.removeprefix("$ ")):
            words = shlex.split(part, comments=True)
            if words and words[0].rpartition("/")[2] == "benchbench":
                yield words[1:]


def command_error(arguments: list[str]) -> str:
    """The first fault of a command's name, options or choices, and of a suite that it names; else empty."""
    name, *rest = arguments
    command = cli.get_command(click.Context(cli), name) if not name.startswith("-") else None
    if command is None:
        return "" if name.startswith("-") else f"no command {name}"
    context = click.Context(command, info_name=name, parent=click.Context(cli, **cli.context_settings))
    try:
        values, _, _ = command.make_parser(context).parse_args(rest)
        for option in command.params:
            given = values.get(option.name)
            for value in given if isinstance(given, list | tuple) else [given]:
                if isinstance(value, str) and isinstance(option.type, click.Choice) and not value.isupper():
                    option.type.convert(value, option, context)
    except click.UsageError as error:
        return error.format_message()
    missing = [word for word in rest if word.startswith(("suites/", "plugins/")) and not (ROOT / word).exists()]
    return f"no file {missing[0]}" if missing else ""


def missing_names(source: str) -> list[str]:
    """Modules of the package, and attributes of them, that a source names and that are not there."""
    tree = ast.parse(source)
    modules, errors = {}, []
    for module, name, alias in imports(tree):
        loaded = importlib.import_module(module)
        if not name:
            modules[alias] = loaded
        elif not hasattr(loaded, name):
            errors.append(f"{module}.{name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            errors += [] if hasattr(modules[node.value.id], node.attr) else [f"{node.value.id}.{node.attr}"]
    return errors


def imports(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Imports out of the package: module, name out of it (empty for the module itself), and the name here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchbench":
            yield from ((str(node.module), each.name, each.asname or each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            ours = [each for each in node.names if each.name.split(".")[0] == "benchbench"]
            yield from ((each.name, "", each.asname or each.name) for each in ours)


def links(text: str) -> list[str]:
    """Targets of a page's links and images that are not addresses of the web."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


def leads_somewhere(page: Path, link: str) -> bool:
    """True if the file and the heading that a link names are there."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not anchor or anchor.startswith("gh-"):
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", whole(target), flags=re.MULTILINE)
    return anchor in {slug(heading) for heading in headings}


def whole(page: Path) -> str:
    """A page with the files that it includes."""
    text = page.read_text(encoding="utf-8")
    return INCLUDE.sub(lambda match: (ROOT / match[1]).read_text(encoding="utf-8"), text)
