"""The code keeps the habits that a linter does not know: sizes, theories, and nothing left over."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ottla"
GENERATED = (PACKAGE / "v1", PACKAGE / "wire" / "messages")

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

# Written in two halves, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + r"X)\b")

MAY_CATCH_EVERYTHING = {PACKAGE / "runtime" / "tasks.py"}
MAY_PRINT = PACKAGE / "cli"


class Module(NamedTuple):
    """One file of ours."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """As it is imported."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def place(self, node: ast.stmt | ast.expr | ast.ExceptHandler | None = None) -> str:
        """Where to look."""
        path = self.path.relative_to(ROOT)
        return f"{path}:{node.lineno}" if node is not None else str(path)


def read_modules(*folders: str) -> list[Module]:
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(path.is_relative_to(generated) for generated in GENERATED):
                text = path.read_text()
                found.append(Module(path, text, ast.parse(text, path)))
    return found


ALL = read_modules("ottla", "tests", "scripts", "benchmarks", "compat", "examples")
OURS = [module for module in ALL if module.path.is_relative_to(PACKAGE)]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From ``def`` to the end; decorators stand before it and are data."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Every module that may be meant by an import statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def handlers_of_everything(tree: ast.Module) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or ast.unparse(kind) == "Exception" for kind in caught):
                yield node


def calls_of_print(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ):
            yield node


def test_module_opens_with_its_theory() -> None:
    assert [module.place() for module in OURS if not ast.get_docstring(module.tree)] == []


def test_test_file_opens_with_the_sentence_it_proves() -> None:
    tests = [module for module in ALL if module.path.name.startswith("test_")]

    assert [module.place() for module in tests if not ast.get_docstring(module.tree)] == []


def test_file_has_at_most_600_lines() -> None:
    long = [m.place() for m in ALL if len(m.text.splitlines()) > FILE_LINES_MAX]

    assert long == []


def test_function_has_at_most_70_lines() -> None:
    long = [
        module.place(function)
        for module in ALL
        for function in functions(module.tree)
        if body_lines(function) > FUNCTION_LINES_MAX
    ]

    assert long == []


def test_nothing_is_left_for_later() -> None:
    assert [module.place() for module in ALL if UNFINISHED.search(module.text)] == []


def test_no_handler_swallows_everything() -> None:
    caught = [
        module.place(handler)
        for module in OURS
        if module.path not in MAY_CATCH_EVERYTHING
        for handler in handlers_of_everything(module.tree)
    ]

    assert caught == []


def test_only_the_command_line_prints() -> None:
    printed = [
        module.place(call)
        for module in OURS
        if not module.path.is_relative_to(MAY_PRINT)
        for call in calls_of_print(module.tree)
    ]

    assert printed == []


def test_every_module_is_used() -> None:
    """By another module, as an entry point, or by name in the list of lazy commands."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    used = {place.partition(":")[0] for place in project["scripts"].values()}
    used |= {name for module in ALL for name in imported_names(module.tree)}
    for module in OURS:
        used |= set(re.findall(r'"(ottla(?:\.\w+)+):\w+"', module.text))

    names = {module.name for module in OURS if module.path.name != "__init__.py"}

    assert sorted(names - used - {"ottla.__main__"}) == []
