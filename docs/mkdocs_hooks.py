"""Hooks of mkdocs: pages may include files of the repository and link to them, as they do on a code host.

A line `<!-- include PATH -->` stands for the file, by its path from the repository's root. A link to a file outside of
docs/ leads to a copy in the site: images and data as they are, source code as a highlighted page, a folder as a list.
A block of the language `math`, LaTeX as a code host shows it, is MathML in the site: `formula`.
"""

from __future__ import annotations

import html
import logging
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound

ROOT = Path(__file__).parents[1]
INCLUDE = re.compile(r"^<!-- include (\S+) -->$", flags=re.MULTILINE)
CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!\\)(\]\(|(?:src|srcset|href)=\")([^)\s\"#:]+)(?=[)\"#])")
AS_THEY_ARE = {".png", ".pdf", ".svg", ".csv", ".tex", ".ipynb", ".html"}
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
log = logging.getLogger("mkdocs.hooks.repository")


def formula(source: str, language: str, css_class: str, options: dict, md, **others) -> str:
    """A block of LaTeX as MathML, which browsers draw without scripts; formats a fence of pymdownx.superfences."""
    return f'<div class="formula">{convert(source.strip(), display="block")}</div>'


def on_config(config: MkDocsConfig) -> None:
    """Has fenced blocks of the language `math` drawn by `formula`."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formula})


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its includes in place, and its links to files of the repository led to pages or copies."""
    folder = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        return match[1] + _target(match[2], folder, config, files)

    return _outside_code(LINK, link, INCLUDE.sub(lambda match: _included(match[1], folder), markdown))


def _outside_code(pattern: re.Pattern[str], replace, text: str) -> str:
    """A substitution in all but fenced blocks and code spans; the text of a link may be a span."""
    parts = CODE.split(text)  # text and code take turns
    return "".join(part if index % 2 else pattern.sub(replace, part) for index, part in enumerate(parts))


def _included(path: str, folder: str) -> str:
    """A file's text, with its links as seen from a folder of docs/."""
    if not (ROOT / path).is_file():
        log.warning("no file %s to include", path)
        return ""

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        return match[1] + posixpath.relpath(target, posixpath.join("docs", folder))

    text = _outside_code(LINK, link, (ROOT / path).read_text(encoding="utf-8"))
    if not path.startswith("reports/"):
        return text
    # The page has a title of its own, and notes below tables are set smaller than its text.
    text = re.sub(r"^# .*\n", "", text)
    return f'<div class="report" markdown>\n\n{text}\n\n</div>'


def _target(target: str, folder: str, config: MkDocsConfig, files: Files) -> str:
    """A link of a page of docs/: as it is, or to what the site has of a file elsewhere in the repository."""
    path = posixpath.normpath(posixpath.join("docs", folder, target))
    if path.startswith("docs/"):
        return target
    if path in PAGES:
        return posixpath.relpath(PAGES[path], folder or ".")
    if path.startswith("..") or not (ROOT / path).exists():
        log.warning("docs/%s links to %s, which is not there", folder, target)
        return target
    return posixpath.relpath(_copy(path, config, files), folder or ".")


def _copy(path: str, config: MkDocsConfig, files: Files) -> str:
    """Adds a file or a folder of the repository to the site, once, and gives its address there."""
    source = ROOT / path
    if source.is_dir():
        uri = f"repository/{path}/index.html"
    else:
        uri = f"repository/{path}" + ("" if source.suffix in AS_THEY_ARE else ".html")
    if files.get_file_from_path(uri) is None:
        if source.is_dir():
            files.append(File.generated(config, uri, content=_listing(path, config, files)))
        elif source.suffix in AS_THEY_ARE:
            files.append(File.generated(config, uri, abs_src_path=str(source)))
        else:
            files.append(File.generated(config, uri, content=_highlighted(path)))
    return uri


def _listing(path: str, config: MkDocsConfig, files: Files) -> str:
    shown = [each for each in sorted((ROOT / path).iterdir()) if each.is_file() and not each.name.startswith(".")]
    rows = []
    for each in shown:
        address = posixpath.relpath(_copy(f"{path}/{each.name}", config, files), f"repository/{path}")
        rows.append(f'<li><a href="{html.escape(address)}">{html.escape(each.name)}</a></li>')
    title = html.escape(path)
    return f'<!doctype html><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><ul>{"".join(rows)}</ul>'


def _highlighted(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = get_lexer_for_filename("plain.txt")
    return highlight(text, lexer, HtmlFormatter(full=True, title=path, linenos="inline", lineanchors="L"))
