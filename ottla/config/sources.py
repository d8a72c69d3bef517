"""Where settings are read: a TOML file, the environment, flags; the later outranks the earlier.

In the file a key may be written with its dots (``log.retention.ms = 1``) or under tables
(``[log.retention]`` and ``ms = 1``): TOML takes the two for the same. In the environment it is
``OTTLA_`` and the key in capitals with underscores for dots, ``OTTLA_LOG_RETENTION_MS``.

Each value keeps the place it was found at, so that a problem can name it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ottla.config.broker_config import BadConfigurationError, BrokerConfig, broker_config
from ottla.config.settings import SETTINGS, SPELLINGS, UNIT_ROWS

ENVIRONMENT_PREFIX: Final = "OTTLA_"

CLIENT_VARIABLES: Final = frozenset({"OTTLA_BOOTSTRAP", "OTTLA_CERTS", "OTTLA_SSL"})
"""Variables of the client commands, which a broker's environment may hold as well."""

CONFIG_FILE_BYTES_MAX: Final = 1 << 20
"""All settings with their documentation are a twentieth of this."""


class Found(NamedTuple):
    """One value as it was written, and where."""

    key: str
    text: str
    origin: str


def load_broker_config(
    *,
    file: Path | None,
    environment: Mapping[str, str],
    flags: Sequence[Found],
    defaults: Sequence[Found] = (),
    data_directory: Path | None = None,
) -> BrokerConfig:
    """Read the sources, merge them and check the result.

    A flag that is given twice counts the last time; ``defaults`` count where nothing else is said.
    With ``data_directory``, ``log.dir`` is ``broker-<node.id>`` in it, whatever the sources say.

    Raises :exc:`~ottla.config.broker_config.BadConfigurationError` with every problem, in any
    source.
    """
    merged = _merge(
        [
            defaults,
            [] if file is None else _from_file(file),
            list(_from_environment(environment)),
            flags,
        ]
    )
    if data_directory is not None:
        merged.pop("log.dir", None)
    return broker_config(
        {found.key: found.text for found in merged.values()},
        origins={found.key: found.origin for found in merged.values()},
        default_log_dir=data_directory or default_data_directory(environment),
    )


def default_data_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of brokers' data where nothing else is said.

    ``$XDG_DATA_HOME/ottla``; the specification says to ignore a relative path there.
    """
    data_home = Path(environment.get("XDG_DATA_HOME") or "")
    if not data_home.is_absolute():
        data_home = Path("~/.local/share").expanduser()
    return data_home / "ottla"


def environment_variable(key: str) -> str:
    """Return the name of the variable that sets ``key``."""
    return ENVIRONMENT_PREFIX + key.upper().replace(".", "_")


def _merge(layers: Sequence[Sequence[Found]]) -> dict[str, Found]:
    """Let later layers outrank earlier ones, in whatever unit either is written.

    Within one layer the finest unit of a setting counts, as in Kafka.
    """
    merged: dict[str, Found] = {}
    for layer in layers:
        values = {found.key: found for found in layer}
        for spellings in SPELLINGS.values():
            present = [key for key in spellings if key in values]
            for coarser in present[1:]:
                del values[coarser]
            for outranked in spellings if present else ():
                merged.pop(outranked, None)
        merged |= values
    return merged


def _from_environment(environment: Mapping[str, str]) -> Iterator[Found]:
    keys = {environment_variable(key): key for key in (*SETTINGS, *UNIT_ROWS)}
    for variable, text in environment.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in CLIENT_VARIABLES:
            guess = variable.removeprefix(ENVIRONMENT_PREFIX).lower().replace("_", ".")
            yield Found(keys.get(variable, guess), text, f"environment variable {variable}")


def _from_file(file: Path) -> list[Found]:
    try:
        with file.open("rb") as stream:
            content = stream.read(CONFIG_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadConfigurationError(
            [f"cannot read the configuration file {file}: {error.strerror}"]
        ) from error
    if len(content) > CONFIG_FILE_BYTES_MAX:
        raise BadConfigurationError(
            [f"{file} has more than {CONFIG_FILE_BYTES_MAX} bytes: it is no configuration file"]
        )
    try:
        text = content.decode()
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfigurationError([f"{file} is not TOML: {error}"]) from error
    lines = _lines_by_key(text)
    problems: list[str] = []
    found: list[Found] = []
    for key, value in _flatten("", document):
        origin = f"{file}:{lines[key]}" if key in lines else str(file)
        if (written := _as_text(value)) is None:
            problems.append(
                f"{key} cannot be {value!r}: it takes a string, a number, true or false, "
                f"or a list of strings ({origin})"
            )
        else:
            found.append(Found(key, written, origin))
    if problems:
        raise BadConfigurationError(problems)
    return found


def _flatten(prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value


def _as_text(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return value
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
        case _:
            return None


_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?\Z")
_ASSIGNMENT = re.compile(r"\s*([\w\"'.\s-]+?)\s*=")


def _lines_by_key(text: str) -> dict[str, int]:
    """Say on which line each key stands; good enough for a message, not a parser."""
    lines: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if table := _TABLE.match(line):
            prefix = _plain(table[1]) + "."
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault(prefix + _plain(assignment[1]), number)
    return lines


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
