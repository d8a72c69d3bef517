"""A broker's configuration becomes typed values, or every sentence about what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.config.addresses import Address, parse_address
from ottla.config.broker_config import (
    BadConfigurationError,
    BrokerConfig,
    broker_config,
)
from ottla.config.settings import SETTINGS, SPELLINGS, UNIT_ROWS, Section
from ottla.config.topic_settings import TOPIC_SETTINGS, resolve_topic_settings
from ottla.model.ids import BrokerId

DATA = Path("/data")


def configured(**values: str) -> BrokerConfig:
    """Give keys with ``__`` for dots."""
    return broker_config(dotted(values), default_log_dir=DATA)


def problems(**values: str) -> tuple[str, ...]:
    with pytest.raises(BadConfigurationError) as refused:
        configured(**values)
    return refused.value.problems


def problem(**values: str) -> str:
    """The only one."""
    (only,) = problems(**values)
    return only


def dotted(values: dict[str, str]) -> dict[str, str]:
    return {key.replace("__", "."): value for key, value in values.items()}


# --- The table ------------------------------------------------------------------------


@pytest.mark.parametrize("key", SETTINGS)
def test_default_is_canonical(key: str) -> None:
    assert SETTINGS[key].canonical(SETTINGS[key].default) == SETTINGS[key].default


@pytest.mark.parametrize("key", SETTINGS)
def test_documentation_is_whole_sentences(key: str) -> None:
    assert SETTINGS[key].documentation.endswith(".")


def test_every_topic_setting_has_a_broker_default() -> None:
    defaults = {key for key, row in SETTINGS.items() if row.section is Section.TOPIC_DEFAULTS}

    assert defaults == {row.synonym for row in TOPIC_SETTINGS.values()}


def test_no_key_but_one_of_kafka_is_the_beginning_of_another() -> None:
    """Otherwise a TOML file could hold both only with quotation marks."""
    keys = [*SETTINGS, *UNIT_ROWS]

    both = [(a, b) for a in keys for b in keys if b.startswith(f"{a}.")]

    assert both == [("max.connections", "max.connections.per.ip")]


def test_units_of_a_setting_are_listed_from_fine_to_coarse() -> None:
    assert SPELLINGS["log.retention.ms"] == (
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    )


# --- Values ---------------------------------------------------------------------------


def test_nothing_set_is_a_broker_on_loopback() -> None:
    config = configured()

    assert config.node.node_id == 0
    assert config.listeners.grpc == Address("127.0.0.1", 7092)
    assert config.listeners.http == Address("127.0.0.1", 8092)
    assert config.listeners.advertised is None
    assert config.storage.log_dir == DATA / "broker-0"
    assert not config.storage.ephemeral
    assert not config.tls.enabled
    assert config.values == {}


def test_data_directory_is_the_brokers_own() -> None:
    assert configured(node__id="7").storage.log_dir == DATA / "broker-7"


def test_log_dir_outranks_the_default_directory() -> None:
    assert configured(log__dir="/elsewhere").storage.log_dir == Path("/elsewhere")


def test_tilde_is_the_home_directory() -> None:
    assert configured(log__dir="~/x").storage.log_dir == Path.home() / "x"


def test_values_are_typed() -> None:
    config = configured(
        num__partitions="6",
        auto__create__topics__enable="FALSE",
        grpc__listen="[::1]:0",
        grpc__advertised="broker.example:7092",
        diagnostics__level="Debug",
    )

    assert config.topics.num_partitions == 6
    assert config.topics.auto_create is False
    assert config.listeners.grpc == Address("::1", 0)
    assert config.listeners.advertised == Address("broker.example", 7092)
    assert config.diagnostics.level == "debug"


def test_tls_is_on_with_a_certificate_and_its_key() -> None:
    config = configured(ssl__certificate__location="/c.pem", ssl__key__location="/k.pem")

    assert config.tls.enabled
    assert config.tls.certificate == Path("/c.pem")


def test_defaults_of_topics_stay_text_in_canonical_form() -> None:
    config = configured(log__segment__bytes=" 2097152 ", log__write__caching="TRUE")

    assert config.values == {"log.segment.bytes": "2097152", "log.write.caching": "true"}
    assert resolve_topic_settings({}, config.values).segment_bytes == 2_097_152


def test_hours_become_milliseconds() -> None:
    assert configured(log__retention__hours="2").values == {"log.retention.ms": "7200000"}


def test_no_limit_is_no_limit_in_any_unit() -> None:
    assert configured(log__retention__hours="-1").values == {"log.retention.ms": "-1"}


# --- Sentences ------------------------------------------------------------------------


def test_bad_number_is_answered_with_the_range() -> None:
    assert problem(num__partitions="many") == (
        "num.partitions cannot be 'many': it takes a whole number from 1 to 10000, in partitions"
    )


@pytest.mark.parametrize("text", ["0", "10001", "1_000", "+1", "1.5", ""])
def test_number_out_of_range_or_oddly_written_is_refused(text: str) -> None:
    assert problems(num__partitions=text)


@pytest.mark.parametrize("text", ["1", "10000"])
def test_number_takes_both_ends_of_its_range(text: str) -> None:
    assert configured(num__partitions=text).topics.num_partitions == int(text)


def test_bad_flag_is_answered_with_true_or_false() -> None:
    assert problem(log__ephemeral="yes") == (
        "log.ephemeral cannot be 'yes': it takes true or false"
    )


def test_bad_choice_is_answered_with_the_choices() -> None:
    assert problem(diagnostics__level="loud") == (
        "diagnostics.level cannot be 'loud': it takes one of debug, info, warning, error"
    )


@pytest.mark.parametrize(
    "text", ["localhost", "localhost:", ":7092", "a:70000", "::1:7092", "a b:1"]
)
def test_bad_address_is_answered_with_examples(text: str) -> None:
    assert problem(grpc__listen=text) == (
        f"grpc.listen cannot be {text!r}: it takes host:port, e.g. 127.0.0.1:7092 or [::1]:7092"
    )


def test_bad_default_of_topics_is_named_by_the_brokers_key() -> None:
    assert problems(log__segment__bytes="10")[0].startswith("log.segment.bytes cannot be '10': ")


def test_bad_unit_is_named_as_it_was_written() -> None:
    assert problem(log__roll__hours="0") == (
        "log.roll.hours cannot be '0': it takes a whole number from 1 to 2562047788015, in hours"
    )


def test_unknown_key_is_answered_with_the_nearest() -> None:
    assert problem(num__partition="1") == (
        "unknown setting 'num.partition'; did you mean num.partitions?"
    )


def test_unknown_key_like_no_other_is_answered_with_the_page() -> None:
    assert problem(zzz="1") == "unknown setting 'zzz'; docs/configuration.md lists them all"


def test_topic_key_is_answered_with_the_brokers_key() -> None:
    assert problem(retention__ms="1") == (
        "unknown setting 'retention.ms'; the default for all topics is log.retention.ms"
    )


def test_all_problems_come_at_once() -> None:
    found = problems(num__partitions="x", zzz="1", ssl__client__auth="required")

    assert len(found) == 3


def test_problem_says_where_the_value_was_found() -> None:
    with pytest.raises(BadConfigurationError) as refused:
        broker_config(
            {"zzz": "1", "ssl.key.location": "/k"},
            origins={"zzz": "ottla.toml:3", "ssl.key.location": "flag"},
            default_log_dir=DATA,
        )

    assert refused.value.problems[0].endswith("(ottla.toml:3)")
    assert refused.value.problems[1].endswith("(flag)")


def test_missing_log_dir_is_a_problem_where_there_is_no_default() -> None:
    with pytest.raises(BadConfigurationError, match=r"log\.dir is not set"):
        broker_config({})


def test_refused_setting_is_reported_once() -> None:
    assert len(problems(min__insync__replicas="x")) == 1


# --- Contradictions -------------------------------------------------------------------


def test_certificate_without_key_is_refused() -> None:
    assert "ssl.key.location is not" in problems(ssl__certificate__location="/c.pem")[0]


def test_key_without_certificate_is_refused() -> None:
    assert "ssl.certificate.location is not" in problems(ssl__key__location="/k.pem")[0]


def test_client_certificates_need_an_authority() -> None:
    said = problem(
        ssl__certificate__location="/c.pem", ssl__key__location="/k", ssl__client__auth="required"
    )

    assert said == (
        "ssl.client.auth cannot be 'required' without ssl.certificate.location, ssl.key.location "
        "and ssl.ca.location"
    )


FILES = {
    "ssl__certificate__location": "/c.pem",
    "ssl__key__location": "/k.pem",
    "ssl__ca__location": "/ca.pem",
}


def test_three_files_are_mutual_tls() -> None:
    assert configured(**FILES).tls.client_certificate_required


def test_certificate_alone_is_tls_for_everybody() -> None:
    tls = configured(ssl__certificate__location="/c.pem", ssl__key__location="/k.pem").tls

    assert (tls.enabled, tls.client_certificate_required) == (True, False)


def test_everybody_may_be_let_in_over_tls() -> None:
    assert not configured(**FILES, ssl__client__auth="none").tls.client_certificate_required


def test_authority_without_a_certificate_would_be_plain_text_and_is_refused() -> None:
    assert "would serve in plain text" in problem(ssl__ca__location="/ca.pem")


@pytest.mark.parametrize("address", ["0.0.0.0:7092", "[::]:7092", "example.org:0"])
def test_advertised_address_is_one_that_clients_can_use(address: str) -> None:
    assert "an address that clients can connect to" in problems(grpc__advertised=address)[0]


def test_two_listeners_cannot_share_a_port() -> None:
    assert problem(http__listen="127.0.0.1:7092") == (
        "http.listen and grpc.listen cannot both be '127.0.0.1:7092': give one of them another port"
    )


def test_two_listeners_may_both_take_any_port() -> None:
    assert configured(grpc__listen="127.0.0.1:0", http__listen="127.0.0.1:0")


def test_topics_that_nobody_could_write_to_are_refused() -> None:
    assert problem(min__insync__replicas="2") == (
        "min.insync.replicas cannot be '2' while default.replication.factor is 1: every write with "
        "acks=all would be refused"
    )


# --- Addresses ------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["127.0.0.1:7092", "[::1]:7092", "broker.example:0"])
def test_address_reads_back_as_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize("text", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_loopback_is_this_machine_only(text: str) -> None:
    assert parse_address(text).is_loopback


@pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "broker.example:1"])
def test_every_other_address_is_not_loopback(text: str) -> None:
    assert not parse_address(text).is_loopback


def test_voter_is_reached_where_it_votes_and_others_where_they_registered() -> None:
    quorum = configured(controller__quorum__voters="0@inside:7092").quorum
    outside = Address("localhost", 7093)

    assert quorum.address_of(BrokerId(0), outside) == Address("inside", 7092)
    assert quorum.address_of(BrokerId(1), outside) == outside


def test_every_address_of_the_machine_is_a_wildcard() -> None:
    assert parse_address("0.0.0.0:1").is_wildcard
    assert parse_address("[::]:1").is_wildcard
    assert not parse_address("127.0.0.1:1").is_wildcard
