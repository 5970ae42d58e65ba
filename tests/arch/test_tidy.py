"""House rules that no linter knows, over every file in git (and those about to be)."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "madang"

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 50
PARAMETERS_MAX = 5

CODE = {".py", ".rs", ".ts", ".svelte", ".css", ".sh"}
# Written by a package manager, or texts that are not ours to cut.
LONG_BY_NATURE = {"web/package-lock.json", "LICENSE", "constraints.txt"}

# Spelt in pieces, so that this file does not break its own rules.
REGISTRIES = re.compile(
    "|".join(
        [
            r"pypi\." + r"org",
            r"python" + r"hosted\.org",
            r"registry\." + r"npmjs",
            r"npmjs\." + r"org",
            r"crates\." + r"io",
            r"deb\." + r"debian",
            r"repo1?\.maven",
            r"proxy\." + r"golang",
            r"--(extra-)?index-" + r"url",
            r'"resol' + r'ved":',
        ]
    )
)
MACHINE_PATHS = re.compile(r"/(wor" + r"k|roo" + r"t|hom" + r"e)/\w")
BLANKET_IGNORES = re.compile(
    r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)|#\s*ruff:\s*noqa(?!:)|#\s*pragma:\s*no cover"
    r"|@ts-" + r"ignore|eslint-" + r"disable|svelte-ignore\s*-->|#!?\[allow\(warnings"
)


def repository_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


FILES = repository_files()


def text_files() -> Iterator[tuple[str, str]]:
    """Yield name and text of every file that is text."""
    for path in FILES:
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def lines_matching(pattern: re.Pattern[str], skip: frozenset[str] = frozenset()) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in text_files()
        if name not in skip
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def python_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                yield where, node


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function below its docstring."""
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = first.end_lineno if is_docstring else node.lineno
    return (node.end_lineno or 0) - (start or 0)


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count what a caller hands over: all but self and cls."""
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def test_the_listing_finds_the_repository() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert {"Makefile", "pyproject.toml", "python/madang/__init__.py"} <= names


def test_no_file_is_longer_than_two_rooms() -> None:
    lengths = {
        name: len(text.splitlines())
        for name, text in text_files()
        if name not in LONG_BY_NATURE and Path(name).suffix in CODE
    }
    assert {name: n for name, n in lengths.items() if n > FILE_LINES_MAX} == {}


def test_every_function_fits_a_screen() -> None:
    # A migration is one list of columns from top to bottom.
    lengths = {
        where: body_lines(node) for where, node in python_functions() if "/migrations/" not in where
    }
    assert {where: n for where, n in lengths.items() if n > FUNCTION_LINES_MAX} == {}


def test_no_function_takes_more_parameters_than_a_hand_has_fingers() -> None:
    # A command's parameters are its options; a record's are the fields of its byte layout.
    counts = {
        where: parameters(node)
        for where, node in python_functions()
        if not where.startswith(("python/madang/cli/", "python/madang/wire/"))
    }
    assert {where: n for where, n in counts.items() if n > PARAMETERS_MAX} == {}


def test_no_file_names_a_package_registry() -> None:
    assert lines_matching(REGISTRIES) == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert lines_matching(MACHINE_PATHS) == []


def test_no_check_is_switched_off_wholesale() -> None:
    assert lines_matching(BLANKET_IGNORES) == []


def is_migration(path: Path) -> bool:
    """Alembic runs migrations by path; they are no package."""
    return any(part.endswith("migrations") for part in path.relative_to(PACKAGE).parts[:-1])


def test_every_package_says_what_it_is() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py") if not is_migration(path)}
    silent = []
    for folder in sorted(folders):
        module = folder / "__init__.py"
        if not module.is_file() or not ast.get_docstring(ast.parse(module.read_text())):
            silent.append(str(folder.relative_to(ROOT)))
    assert silent == []


def test_every_module_opens_with_its_model() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted(PACKAGE.rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("pattern", "line", "caught"),
    [
        (REGISTRIES, "pip install --index-" + "url x", True),
        (REGISTRIES, "https://registry." + "npmjs.example", True),
        (REGISTRIES, "the index as configured", False),
        (MACHINE_PATHS, 'open("/wor' + 'k/main/x")', True),
        (MACHINE_PATHS, "a / work / b, framework/x", False),
        (BLANKET_IGNORES, "x = 1  # type: " + "ignore", True),
        (BLANKET_IGNORES, "x = 1  # type: ignore[arg-type]", False),
        (BLANKET_IGNORES, "x = 1  # " + "noqa", True),
        (BLANKET_IGNORES, "x = 1  # noqa: E501", False),
    ],
)
def test_the_patterns_catch_what_they_are_for(
    pattern: re.Pattern[str], line: str, caught: bool
) -> None:
    assert bool(pattern.search(line)) is caught


def test_the_counters_count() -> None:
    tree = ast.parse('def f(self, a, b, *, c):\n    """One."""\n    x = 1\n    return x\n')
    node = tree.body[0]
    assert isinstance(node, ast.FunctionDef)
    assert (body_lines(node), parameters(node)) == (2, 3)
