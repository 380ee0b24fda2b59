"""The pages of the documentation as sections that can be searched: `benchbench docs`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.cli.latex import plain_formula
from benchbench.errors import BenchBenchError, did_you_mean

_PACKAGE = Path(__file__).parents[1]
# In a wheel, and in a checkout: the build copies the one to the other.
_FOLDERS = (_PACKAGE / "_docs", _PACKAGE.parent / "docs")
# Folders of the pages in the order of the site; pages at the top come first, folders that are not named last.
_ORDER = ("", "get-started", "concepts", "how-to", "extend", "reference", "results")
_INCLUDE = re.compile(r"^<!-- include (\S+) -->$", flags=re.MULTILINE)
_HEADING = re.compile(r"(#{1,4}) (.+)")
_FORMULA = re.compile(r"^```math\n(.*)\n```$(\n(?=\n```math$))?", flags=re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A heading of a page with the text below it, up to the next heading.

    Attributes:
        path: the page's file.
        page: its path from the folder of the documentation, without the ending: "concepts/store".
        title: the heading, without Markdown.
        level: 1 for the page's own title.
        text: Markdown.
    """

    path: Path
    page: str
    title: str
    level: int
    text: str

    @property
    def address(self) -> str:
        """The file, from the working folder where that is shorter, and the heading's anchor."""
        path = self.path
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())
        return str(path) if self.level == 1 else f"{path}#{slug(self.title)}"


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def documentation() -> Path:
    """The folder of the pages.

    Raises:
        BenchBenchError: this installation has none.
    """
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        raise BenchBenchError("this installation has no documentation; install benchbench from its wheel or a checkout")
    return folder


def sections(folder: Path) -> list[Section]:
    """Every section of every page, in the order of the site."""
    paths = sorted(folder.rglob("*.md"), key=lambda path: _place(path.relative_to(folder)))
    return [section for path in paths for section in _sections(path, path.relative_to(folder))]


def _place(path: Path) -> tuple[int, bool, str]:
    name = path.parent.as_posix().removeprefix(".")
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), path.stem != "index", path.as_posix()


def _sections(path: Path, name: Path) -> Iterator[Section]:
    text = _INCLUDE.sub(lambda match: _included(path, match[1]), path.read_text(encoding="utf-8"))
    page = name.with_suffix("").as_posix()
    heading, level, lines, in_code = "", 0, list[str](), False
    for line in text.splitlines():
        in_code ^= line.lstrip().startswith("```")
        match = None if in_code else _HEADING.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        if heading:
            yield Section(path, page, plain_text(heading), level, "\n".join(lines).strip())
        # A file that a page includes has a title of its own.
        heading, level, lines = match[2], len(match[1]) + (len(match[1]) == 1 and bool(heading)), []
    if heading:
        yield Section(path, page, plain_text(heading), level, "\n".join(lines).strip())


def _included(path: Path, name: str) -> str:
    """A file of the repository that a page shows; a wheel has none of them."""
    file = next((parent / name for parent in path.parents if (parent / name).is_file()), None)
    return file.read_text(encoding="utf-8") if file else ""


def plain_text(markdown: str) -> str:
    """Markdown for a terminal: without link targets, comments, HTML and escapes; code and tables stay.

    Formulas are in plain text, each on its own line.
    """
    text = _FORMULA.sub(lambda match: f"    {plain_formula(match[1])}", markdown)
    text = re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
    text = re.sub(r"!\[[^]]*\]\([^)]*\)\n*", "", text)
    text = re.sub(r"\[((?:[^][]|\[[^]]*\])*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?m)^</?(?:picture|source|img|div|p)\b[^>]*>\n?", "", text)
    return re.sub(r"\\([\\`*_{}\[\]<>#|!~$])", r"\1", text).replace("**", "")


def search(words: str, known: Sequence[Section]) -> list[Section]:
    """The sections that fit some words, the best first: by a page's path or name, a command, headings, then texts.

    Raises:
        BenchBenchError: none does.
    """
    wanted = _normal(words)
    rules = (
        lambda each: each.level == 1 and _normal(each.page) == wanted,
        lambda each: each.level == 1 and _normal(each.page.rpartition("/")[2]) == wanted,
        lambda each: _normal(each.title) == f"benchbench {wanted}",
        lambda each: _normal(each.title) == wanted,
        lambda each: f" {wanted} " in f" {_normal(each.title)} ",
        lambda each: f" {wanted}" in f" {_normal(each.title)}",
        lambda each: f" {wanted} " in f" {_normal(each.text)} ",
    )
    for index, fits in enumerate(rules):
        fitting = [each for each in known if fits(each)]
        if fitting and wanted:
            # After a page of that name come the headings that have it too.
            return _unique([*fitting, *(each for rule in rules[index + 1 : 5] for each in known if rule(each))])
    names = {each.page.rpartition("/")[2] for each in known} | {each.title.strip("`") for each in known}
    raise BenchBenchError(f"no page has '{words}'; {did_you_mean(words, names)} (`benchbench docs` lists all pages)")


def _normal(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _unique(found: Iterable[Section]) -> list[Section]:
    return list(dict.fromkeys(found))
