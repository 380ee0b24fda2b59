"""JSON and the page's own script and style become one HTML file."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

from benchbench.reports.folder import write_folder
from benchbench.reports.page.data import page_data
from benchbench.reports.report import Report
from benchbench.reports.sheet_request import SheetRequest
from benchbench.specs.parts import Json

NAME = "report.html"
# In this order: each uses what those before it define.
SCRIPTS = tuple(
    f"{name}.js"
    for name in ("dom", "filters", "tables", "charts", "wrong", "stages", "head", "panel", "compare", "page")
)


def write_page(report: Report, folder: Path, sheets: SheetRequest | None = None) -> Path:
    """Writes the page of a report into a folder, beside what is there; gives its path; `sheets` as of `page_data`.

    Raises:
        StoreError: the folder cannot be written.
    """
    return write_folder(
        folder, {NAME: render(page_data(report, sheets=sheets)).encode()}, report.plan.registry, beside=True
    )[0]


def render(data: Json) -> str:
    """A whole page around its data. Only a live one may connect, and only to where it came from."""
    script, style = _script(), _text("page.css")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",  # its icon, and test images
            *(["connect-src 'self'"] if data["live"] else []),
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",  # text cannot become markup, whatever the script does
            "trusted-types 'none'",
        ]
    )
    parts = {"POLICY": policy, "STYLE": style, "SCRIPT": script, "DATA": to_json(data)}
    # In one pass: what a part holds is never looked at again.
    return re.sub(r"@@([A-Z]+)@@", lambda match: parts[match[1]], _text("page.html"))


def to_json(data: Json) -> str:
    """JSON in ASCII that no HTML parser takes for markup, wherever it stands in a document."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


@functools.cache
def _script() -> str:
    parts = "\n".join(_text(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


@functools.cache
def _text(name: str) -> str:
    return (files("benchbench.reports.page") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source of a content security policy: the hash of what stands between the tags."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
