"""Suites that ship with the package, by name: `benchbench run quickstart`."""

from __future__ import annotations

from pathlib import Path

from benchbench.errors import SuiteError, did_you_mean
from benchbench.suite.places import given_path

QUICKSTART = "quickstart"
_PACKAGE = Path(__file__).parents[1]
# In a wheel, and in a checkout: the build copies the one to the other.
_FOLDERS = (_PACKAGE / "_suites", _PACKAGE.parent / "suites")
_SUFFIXES = (".yaml", ".yml")


def shipped_suites() -> dict[str, Path]:
    """Files of the suites that ship, by name, in alphabetical order."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def shipped_suite(name: str) -> Path:
    """The file of a suite that ships.

    Raises:
        SuiteError: no suite of that name ships.
    """
    suites = shipped_suites()
    if name not in suites:
        raise SuiteError(f"no suite '{name}' ships with benchbench; {did_you_mean(name, suites)}")
    return suites[name]


def suite_path(suite: str | Path) -> Path:
    """The file that a user means: a path, or the name of a suite that ships. A file that exists comes first.

    Raises:
        SuiteError: there is neither such a file nor such a name.
    """
    path = given_path(suite)
    if path.is_file():
        return path
    name = str(suite)
    if name == path.name and path.suffix not in _SUFFIXES:
        if name in shipped_suites():
            return shipped_suite(name)
        raise SuiteError(f"there is no suite file {name}, and no suite '{name}' ships", hint=_hint(name))
    if path.exists():
        return path  # a folder or a pipe: reading it says what is wrong
    raise SuiteError(f"suite file {path} does not exist", hint=_hint(path.stem))


def suite_argument(path: Path) -> str:
    """The shortest argument that `suite_path` takes for a file: its name where it ships, else its path."""
    names = [name for name, shipped in shipped_suites().items() if shipped == path]
    return names[0] if names and not Path(names[0]).is_file() else str(path)


def _hint(name: str) -> str:
    suites = shipped_suites()
    if name in suites:
        return f"the suite that ships is called '{name}', without a folder or an ending"
    suggestion = did_you_mean(name, suites)
    if suggestion.startswith("known"):
        return f"give the path of a YAML file, or a suite that ships: {', '.join(suites)}"
    return suggestion
