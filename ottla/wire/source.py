"""Lines of Python being written, with the names that they may use.

The codec turns each table of fields into a function, because a loop over a table costs five times
as much as the statements that it stands for. All text comes from our own tables, none from a peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Any, Final

_INDENT: Final = "    "


class Source:
    """The text of one function and its global names."""

    def __init__(self, **names: object) -> None:
        self.names: dict[str, object] = names
        self._lines: list[str] = []
        self._depth = 0
        self._variables = 0

    def __call__(self, line: str) -> None:
        """Append a line."""
        self._lines.append(_INDENT * self._depth + line)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Append a line and what is inside it."""
        self(opening)
        self._depth += 1
        yield
        self._depth -= 1

    def variable(self, prefix: str) -> str:
        """Return a name that is not used yet."""
        self._variables += 1
        return f"{prefix}{self._variables}"

    def constant(self, prefix: str, value: object) -> str:
        """Make a value known; return its name."""
        name = f"{prefix}_{id(value):x}"
        self.names[name] = value
        return name

    def unpacker(self, letters: str) -> str:
        """Return the name of a function that reads such numbers at a position."""
        name = f"unpack_{letters}"
        if name not in self.names:
            self.names[name] = Struct(f">{letters}").unpack_from
        return name

    def packer(self, letters: str) -> str:
        """Return the name of a function that writes such numbers."""
        name = f"pack_{letters}"
        if name not in self.names:
            self.names[name] = Struct(f">{letters}").pack
        return name

    def compile(self, name: str, title: str) -> Callable[..., Any]:
        """Return the function of this name that the lines define."""
        text = "\n".join(self._lines)
        exec(compile(text, f"<{title}>", "exec"), self.names)  # noqa: S102 -- see above
        function: Callable[..., Any] = self.names[name]  # type: ignore[assignment]
        return function
