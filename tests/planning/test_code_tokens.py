"""Hashes of source text: equal for other words and another layout, different for other code, fixed for all time."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

import benchbench
from benchbench.planning.code_tokens import code_hash, statements

SOURCE = '''
"""A module."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RATES = {"low": 0.1, "high": 1e-3, "mask": 0xFF}


class Scale(object):
    """A class."""

    factor: float = 2.0  # by default

    def apply(self, values: Sequence[float], *rest: int, offset=1) -> list[float]:
        """A method."""
        if not values or (offset and len(values) > 3):
            raise ValueError(f"no {offset:>{len(values)}} of '{values!r}' # here" " or there")
        for index, value in enumerate(values):
            scaled = [math.sqrt(x) * self.factor + offset for x in values if x > 0]
            yield index, value
        return scaled, (1,), lambda x, y=2: x[1:2, ...]
'''


def hash_of(text: str) -> str:
    return code_hash(dedent(text))


class TestSame:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("# by default", "# unless a suite gives another one: 'so' it says"),
            ("  # by default", ""),
            ('"""A module."""', '"""Another word\n\nfor it.\n"""'),
            ('"""A module."""', ""),
            ('    """A class."""\n', ""),
            ('        """A method."""\n', ""),
            ('        """A method."""\n', "        r'''Other words'''\n        pass\n"),
            ("\n\n\nclass", "\nclass"),
            ("Sequence\n\nRATES", "Sequence, Mapping\nRATES"),  # types alone
            ("* self.factor + offset", "*self.factor+offset"),
            ("object):", "object,):"),
            ("0.1, ", "0.1 , \n    "),
            ("0xFF}", "255,\n}"),
            ("1e-3", "0.001"),
            ('"low"', "'low'"),
            ('"low"', "'''low'''"),
            ('"low"', "\"lo\" 'w'"),
            ('"low"', '"\\x6cow"'),
            ("import math\n", "import math;\n"),
            ("= [math.sqrt(x)", "= \\\n            [math.sqrt(x)"),
            ("2.0", "(2.0)"),
            ("if not values or (offset and len(values) > 3):", "if (not values\n or (offset and len(values) > 3)):"),
            ("for index, value in enumerate(values):", "for (index, value) in (enumerate(values)):"),
            ("yield index, value", "yield (index, value)"),
            ("return scaled, (1,), lambda", "return (\n            scaled,\n            (1,),\n            lambda"),
            ('" or there"', "' or there'"),
            ('\' # here" " or there"', "' # here or there\""),
            ("{offset:>{len(values)}}", "{ offset :>{ len(values) }}"),
        ],
    )
    def test_other_words_and_layout(self, old, new):
        assert SOURCE.count(old) == 1
        text = SOURCE.replace(old, new)
        if new.endswith("lambda"):
            text = text.rstrip() + ",\n        )\n"
        assert text != SOURCE
        assert code_hash(text) == code_hash(SOURCE)

    @pytest.mark.parametrize("width", [1, 2, 8])
    def test_width_of_indents(self, width):
        assert code_hash(SOURCE.replace("    ", " " * width)) == code_hash(SOURCE)

    def test_tabs(self):
        assert code_hash(SOURCE.replace("    ", "\t")) == code_hash(SOURCE)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("if a: b(); c()", "if a:\n    b()\n    c()"),
            ("a = 1; b = 2", "a = 1\nb = 2"),
            ("class A: pass", 'class A:\n    """Words."""'),
            ("def f(): ...", 'def f():\n    "Words."'),
            ("try: f()\nexcept (A): g()", "try:\n    f()\nexcept A:\n    g()"),
            ("with (open(a) as b, c): f()", "with open(a) as b, c:\n    f()"),
            ("f(lambda: (a or b))", "f(lambda: a or b)"),
            ("def f() -> (int | None): return (1)", "def f() -> int | None:\n    return 1"),
            ("x: (int | None) = 1", "x: int | None = 1"),
            ("a = (b.c) = 1", "a = b.c = 1"),
            ("f'{a}' f\"{b!r}\"", "f'{a}{b!r}'"),
            ("f'{a[\"b\"]}'", "f\"{a['b']}\""),
            ("f(rb'a', b\"a\", u'b')", "f(b'a', b'a', 'b')"),
            ("f(1_000, 0b11, 1E5, 0.50, 1J)", "f(1000, 3, 100000.0, .5, 1j)"),
            ("assert a, (b)", "assert a, b"),
            ("from a import (b, c,)", "from a import b, c"),
        ],
    )
    def test_two_forms_of_one_statement(self, one, other):
        assert code_hash(one) == code_hash(other)


class TestDifferent:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("+ offset", "- offset"),
            ("1e-3", "1e-4"),
            ("2.0", "2"),
            ("x > 0", "x >= 0"),
            ('"low"', '"Low"'),
            ('"low"', 'b"low"'),
            ("or there", "or  there"),
            ("# here", "#here"),
            ("'{values!r}'", "'{values!s}'"),
            ("{offset:>{", "{offset:<{"),
            ("no {offset", "no  {offset"),
            ("(1,)", "(1)"),
            ("x[1:2, ...]", "x[1:2]"),
            ("*rest", "**rest"),
            ("offset=1", "offset=2"),
            ("self.factor + offset", "(self.factor + offset)"),
            ("(offset and len(values) > 3)", "offset and len(values) > 3"),  # another tree, by chance the same value
            ("class Scale(object)", "class Scales(object)"),
            ("        return scaled", "    return scaled"),
            ("            yield", "        yield"),
            ("import math", "import cmath"),
            ("    factor: float = 2.0", "    factor = 2.0"),
        ],
    )
    def test_other_code(self, old, new):
        assert SOURCE.count(old) == 1
        assert code_hash(SOURCE.replace(old, new)) != code_hash(SOURCE)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
            ("if a:\n    if b:\n        c()\n    else:\n        d()", "if a:\n    if b:\n        c()\nelse:\n    d()"),
            ("a = b,", "a = b"),
            ("a, b = c,", "a, b = c"),
            ("a = (b,)", "a = b"),
            ("a[b,]", "a[b]"),
            ("a = match[b,]", "a = match[b]"),
            ("match a:\n    case (b,): pass", "match a:\n    case (b): pass"),
            ("a = (lambda b, c: d,)", "a = (lambda b, c: d)"),
            ("a = lambda b=1, *c: d,", "a = lambda b=1, *c: d"),
            ("a = lambda b=lambda c: d, *e: f,", "a = lambda b=lambda c: d, *e: f"),
            ("f((a, b))", "f(a, b)"),
            ("f((a for a in b), c)", "f(a for a in b)"),
            ("(a): int = 1", "a: int = 1"),
            ("(a): int", "a: int"),
            ("while a in (b or c): f()", "while a in b or c: f()"),
            ("a = -(b ** c)", "a = (-b) ** c"),
            ("a = ('b' % c)", "a = 'b'\n(c)"),
            ("a = f'{b=}'", "a = f'{b = }'"),
            ("a = f'{{b}}'", "a = f'{b}'"),
            ("a = f'{{b}}'", "a = '{{b}}'"),
            ("a = rf'\\{b}'", "a = f'\\{b}'.x"),
            ("a = r'\\n'", "a = '\\n'"),
            ("a = b'b' 'b'", "a = 'bb'"),
            ("a = 'b' 'c'", "a = 'b', 'c'"),
            ("a = '''b\n c'''", "a = '''b\nc'''"),
            ("a = 1 .real", "a = 1. .real"),
            ("a = not b", "a = notb"),
            ("a: b", "a = b"),
            ("x = 1\n'''words'''", "x = 1\ny = '''words'''"),
        ],
    )
    def test_two_statements_that_look_alike(self, one, other):
        assert code_hash(one) != code_hash(other)

    def test_a_string_that_is_no_docstring_counts(self):
        assert hash_of("def f():\n    x = 'one'\n") != hash_of("def f():\n    x = 'two'\n")

    def test_a_hash_sign_in_a_string_is_no_comment(self):
        assert hash_of("x = '# one'") != hash_of("x = '# two'")
        assert hash_of("x = f'{y} # one'") != hash_of("x = f'{y} # two'")
        assert hash_of("x = '''\n# one\n'''") != hash_of("x = '''\n# two\n'''")
        assert hash_of("x = 'a'  # one") == hash_of("x = 'a'  # two")


def test_levels_are_those_of_blocks():
    text = "def f():\n  if a:\n        b()\n  # c\n  else: d()\ne()\n"
    assert [line.level for line in statements(text)] == [0, 1, 2, 1, 2, 0]


def test_text_that_is_no_python_has_a_hash():
    for text in ("", "'unfinished", 'f"{unfinished', "f'{a:{b", "f'\\N{", "((", "))", "1e", "?", "\\", 'x = """'):
        assert len(code_hash(text)) == 64


# Keys must be equal under every Python and on every machine: this is no number to update when the test fails.
FIXED = "a6bd93d2ccaebd8c50441d748048c491f1407a33f5e00dc29bc73567494f604a"


def test_the_hash_is_fixed():
    assert code_hash(SOURCE) == FIXED


def python_of(version: str) -> Path | None:
    """An interpreter of another version, out of pyenv's folder or on the path."""
    own = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    command = shutil.which(f"python{version}")
    return next(own, Path(command) if command else None)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_python_agrees(version, tmp_path):
    interpreter = python_of(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} here")
    (tmp_path / "source.py").write_text(SOURCE)
    (tmp_path / "benchbench" / "planning").mkdir(parents=True)  # these files alone: other Pythons have no pydantic
    for name in ("code_tokens.py", "code_brackets.py"):
        shutil.copy(Path(benchbench.__file__).parent / "planning" / name, tmp_path / "benchbench" / "planning")
    code = "from benchbench.planning.code_tokens import code_hash; print(code_hash(open('source.py').read()))"
    command = [interpreter, "-E", "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, FIXED), done.stderr
