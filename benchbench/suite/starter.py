"""A suite file to start from: a copy of one that ships, with a comment at each part."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from benchbench.errors import BenchBenchError, one_line, quoted
from benchbench.suite.fields import NAME, PATTERNS_IN_WORDS
from benchbench.suite.schema import Suite
from benchbench.suite.shipped import QUICKSTART, shipped_suite
from benchbench.suite.yaml_text import name_text

WIDTH = 118  # characters of a line of comments
_HEADER = """\
{name}: a copy of the suite `{base}`, to change.
  benchbench plan {file}    # checks it, and says what it would run and cost
  benchbench run {file}     # runs what is not done yet; `--set 'seeds=[0]'` for a first look
Paths are relative to this file. `benchbench list` has every component that a suite can name, with its parameters."""
# Beside the descriptions of the schema: what to change first.
_COMMENTS = {
    "name": "name of the suite and of the folder of its tables, reports/{name}",
    "seeds": "every run is repeated with each; claims need three or more",
    "data": "the data sets (`benchbench list datasets`); a folder of images, one sub-folder a class: "
    "`leaves: {{source: {{imagefolder: {{path: DIR}}}}}}`",
    "students": "the small networks (`benchbench list students`): `{{model: timm/resnet18, weights: pretrained}}`, say",
    "teachers": "the networks to distil from (`benchbench list teachers`); `adapt` names the states that arms take "
    "them in: linear_probe, finetune, pretrained, scratch, published",
    "recipes": "how networks are trained: `default`, and changes of it for a method; the nearest setting wins",
    "arms": "what is compared, one row of the tables each (for distillation, one per teacher and state); losses are in "
    "`benchbench list losses`, and the number at each is its weight",
}


def new_suite(name: str, base: str = QUICKSTART, folder: Path | None = None) -> Path:
    """Writes NAME.yaml, and gives its path.

    Args:
        name: of the suite and of its file.
        base: name of the suite that ships and is copied.
        folder: of the file; made where it does not exist; default: the current one.

    Raises:
        BenchBenchError: the name cannot be used, there is no such base, or the file exists or cannot be written.
    """
    if not re.fullmatch(NAME.strip("^$"), name) or len(name) > 60:
        raise BenchBenchError(f"'{quoted(name)}' is no name for a suite: {PATTERNS_IN_WORDS[NAME]}, at most 60")
    path = (folder or Path()) / f"{name}.yaml"
    text = suite_text(name, base)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise BenchBenchError(f"{path} exists already; choose another name, or another --folder DIR") from None
    except OSError as error:
        raise BenchBenchError(f"cannot write {path} ({one_line(error)}); give another --folder DIR") from None
    return path


def suite_text(name: str, base: str) -> str:
    """The new file's text.

    Raises:
        SuiteError: no suite called `base` ships.
    """
    lines = shipped_suite(base).read_text(encoding="utf-8").splitlines()
    header = _HEADER.format(name=name, base=base, file=f"{name}.yaml")
    output = [*(f"# {line}" for line in header.splitlines()), ""]
    start = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    for line in lines[start:]:
        key = line.split(":")[0]
        if key in Suite.model_fields:
            output += [""] if output[-1] and not output[-1].startswith("#") else []
            output += _comment(key, name)
        output.append(f"name: {name_text(name)}" if key == "name" else line)
    return "\n".join(output) + "\n"


def _comment(key: str, name: str) -> list[str]:
    text = _COMMENTS[key].format(name=name) if key in _COMMENTS else str(Suite.model_fields[key].description)
    sentence = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), text[0].upper() + text[1:] + ".")  # one word
    lines = textwrap.wrap(sentence, WIDTH, initial_indent="# ", subsequent_indent="# ")
    return [line.replace("\0", " ") for line in lines]
