"""A flag outranks the environment, which outranks the file; each value knows where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ottla.config.broker_config import BadConfigurationError, BrokerConfig
from ottla.config.settings import SETTINGS, UNIT_ROWS
from ottla.config.sources import (
    Found,
    default_data_directory,
    environment_variable,
    load_broker_config,
)


class Sources:
    """The three places, each empty until a test puts something there."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "ottla.toml"
        self.environment: dict[str, str] = {"XDG_DATA_HOME": str(directory)}
        self.flags: list[Found] = []

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def flag(self, key: str, text: str) -> None:
        self.flags.append(Found(key, text, "--set"))

    def load(self, data_directory: Path | None = None) -> BrokerConfig:
        return load_broker_config(
            file=self.file if self.file.exists() else None,
            environment=self.environment,
            flags=self.flags,
            data_directory=data_directory,
        )

    def problem(self) -> str:
        (only,) = self.problems()
        return only

    def problems(self) -> Sequence[str]:
        with pytest.raises(BadConfigurationError) as refused:
            self.load()
        return refused.value.problems


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def test_defaults_of_a_command_count_where_nothing_else_is_said(sources: Sources) -> None:
    sources.write("num.partitions = 2")

    config = load_broker_config(
        file=sources.file,
        environment=sources.environment,
        flags=[],
        defaults=[Found("num.partitions", "5", "x"), Found("min.insync.replicas", "1", "x")],
    )

    assert config.topics.num_partitions == 2
    assert config.values["min.insync.replicas"] == "1"


def test_environment_outranks_the_file(sources: Sources) -> None:
    sources.write("num.partitions = 2")
    sources.environment["OTTLA_NUM_PARTITIONS"] = "3"

    assert sources.load().topics.num_partitions == 3


def test_flag_outranks_the_environment(sources: Sources) -> None:
    sources.environment["OTTLA_NUM_PARTITIONS"] = "3"
    sources.flag("num.partitions", "4")

    assert sources.load().topics.num_partitions == 4


def test_last_of_two_flags_counts(sources: Sources) -> None:
    sources.flag("num.partitions", "4")
    sources.flag("num.partitions", "5")

    assert sources.load().topics.num_partitions == 5


def test_bad_value_that_is_outranked_does_no_harm(sources: Sources) -> None:
    sources.write("num.partitions = 0")
    sources.flag("num.partitions", "4")

    assert sources.load().topics.num_partitions == 4


@pytest.mark.parametrize(
    "text",
    [
        "log.retention.ms = 5",
        "[log.retention]\nms = 5",
        "[log]\nretention.ms = 5",
        '"log.retention.ms" = "5"',
        "log = { retention = { ms = 5 } }",
    ],
)
def test_file_may_nest_keys_as_it_likes(sources: Sources, text: str) -> None:
    sources.write(text)

    assert sources.load().values == {"log.retention.ms": "5"}


def test_file_takes_toml_types(sources: Sources) -> None:
    sources.write(
        'log.ephemeral = true\nnum.partitions = 6\nbroker.rack = "r1"\n'
        'log.cleanup.policy = ["delete"]'
    )

    assert sources.load().values == {
        "log.ephemeral": "true",
        "num.partitions": "6",
        "broker.rack": "r1",
        "log.cleanup.policy": "delete",
    }


def test_finest_unit_counts_within_one_source(sources: Sources) -> None:
    sources.write("log.retention.hours = 1\nlog.retention.minutes = 3")

    assert sources.load().values == {"log.retention.ms": "180000"}


def test_coarse_unit_outranks_a_fine_one_from_below(sources: Sources) -> None:
    sources.write("log.retention.ms = 5")
    sources.environment["OTTLA_LOG_RETENTION_HOURS"] = "1"

    assert sources.load().values == {"log.retention.ms": "3600000"}


def test_data_directory_outranks_log_dir(sources: Sources) -> None:
    sources.write('log.dir = "/file"\nnode.id = 3')

    assert sources.load(data_directory=Path("/flag")).storage.log_dir == Path("/flag/broker-3")


def test_problem_in_the_file_names_its_line(sources: Sources) -> None:
    sources.write("# a comment\n\n[log.retention]\nms = -7  # too little\n")

    assert sources.problems()[0].endswith(f"({sources.file}:4)")


def test_problem_in_the_environment_names_the_variable(sources: Sources) -> None:
    sources.environment["OTTLA_NODE_ID"] = "x"

    assert sources.problems()[0].endswith("(environment variable OTTLA_NODE_ID)")


def test_unknown_variable_is_refused(sources: Sources) -> None:
    sources.environment["OTTLA_NUM_PARTITION"] = "1"

    assert sources.problem() == (
        "unknown setting 'num.partition'; did you mean num.partitions? "
        "(environment variable OTTLA_NUM_PARTITION)"
    )


def test_variables_of_client_commands_are_left_alone(sources: Sources) -> None:
    sources.environment |= {
        "OTTLA_BOOTSTRAP": "b:7092",
        "OTTLA_CERTS": "c",
        "OTTLA_SSL": "1",
        "OTTLARY": "1",
    }

    assert sources.load().values == {}


def test_problems_of_all_sources_come_at_once(sources: Sources) -> None:
    sources.write("node.id = -1")
    sources.environment["OTTLA_NUM_PARTITIONS"] = "0"
    sources.flag("broker.rak", "x")

    assert len(sources.problems()) == 3


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfigurationError, match=r"none\.toml: No such file or directory"):
        load_broker_config(file=tmp_path / "none.toml", environment={}, flags=[])


def test_file_that_is_not_toml_is_answered_with_the_place(sources: Sources) -> None:
    sources.write("node.id = = 1")

    assert "is not TOML" in sources.problems()[0]
    assert "line 1" in sources.problems()[0]


def test_file_that_is_not_text_is_refused(sources: Sources) -> None:
    sources.file.write_bytes(b"\xff\xfe")

    assert "is not TOML" in sources.problems()[0]


def test_endless_file_is_refused_without_reading_it_all() -> None:
    with pytest.raises(BadConfigurationError, match="no configuration file"):
        load_broker_config(file=Path("/dev/zero"), environment={}, flags=[])


def test_value_of_no_use_is_refused_with_its_line(sources: Sources) -> None:
    sources.write("\nnode.id = 1.5")

    assert sources.problem() == (
        "node.id cannot be 1.5: it takes a string, a number, true or false, or a list of strings "
        f"({sources.file}:2)"
    )


def test_every_setting_has_a_variable_of_its_own() -> None:
    variables = [environment_variable(key) for key in (*SETTINGS, *UNIT_ROWS)]

    assert len(set(variables)) == len(variables)


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"XDG_DATA_HOME": "/xdg"}, Path("/xdg/ottla")),
        ({}, Path.home() / ".local/share/ottla"),
        ({"XDG_DATA_HOME": "relative"}, Path.home() / ".local/share/ottla"),
    ],
)
def test_default_data_directory_follows_the_xdg_specification(
    environment: Mapping[str, str], directory: Path
) -> None:
    assert default_data_directory(environment) == directory
