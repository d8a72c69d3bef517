"""The command line takes what it documents and refuses the rest in one sentence that helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ottla.cli.client_loop import in_words_of_the_command_line
from ottla.cli.connection import Connection
from ottla.cli.main import cli, run
from ottla.cli.output import ByteCount, as_size, print_facts, print_table

CaptureFixture = pytest.CaptureFixture[str]

NAMES = [
    "up",
    "broker",
    "cluster",
    "certs",
    "topic",
    "produce",
    "consume",
    "group",
    "log",
    "simulate",
]


def said(capsys: CaptureFixture, *arguments: str) -> tuple[int, str]:
    """Run a command that fails; return its status and what it said."""
    status = run(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return status, captured.err.rstrip("\n")


def test_help_lists_the_commands_of_this_version() -> None:
    assert cli.list_commands(click.Context(cli)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_line_in_the_list_is_the_first_line_of_the_commands_own_help(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None

    listed = cli.get_short_help(name)

    assert listed.rstrip(".").split()[0] == command.get_short_help_str(200).split()[0]


@pytest.mark.parametrize(
    "arguments",
    [
        *([name] for name in NAMES),
        *(
            ["topic", verb]
            for verb in ("create", "list", "describe", "alter", "reassign", "delete")
        ),
        *(["group", verb] for verb in ("list", "describe", "lag", "reset-offsets", "delete")),
        ["log", "dump"],
        ["certs", "create"],
        *(
            ["cluster", verb]
            for verb in (
                "status",
                "rebalance",
                "drain",
                "undrain",
                "remove",
                "elect-leaders",
                "readmit-voter",
                "config",
            )
        ),
        *(["cluster", "config", verb] for verb in ("list", "set", "unset")),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(capsys: CaptureFixture, arguments: list[str]) -> None:
    assert run([*arguments, "--help"]) == 0
    assert f"Usage: ottla {' '.join(arguments)}" in capsys.readouterr().out


def test_version_is_printed(capsys: CaptureFixture) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == "ottla 0.1.0\n"


def test_listing_the_commands_imports_none_of_them() -> None:
    script = (
        "import sys; from ottla.cli.main import run; run(['--help']);"
        "assert not {'grpc', 'rich', 'uvloop', 'asyncio'} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)

    assert done.stderr == b""


# --- Wrong arguments ------------------------------------------------------------------


def test_unknown_command_is_answered_with_the_nearest(capsys: CaptureFixture) -> None:
    assert said(capsys, "prduce") == (
        2,
        "ottla: there is no command 'prduce' (did you mean 'produce'?); see 'ottla --help'",
    )


def test_unknown_option_is_a_usage_error_of_its_command(capsys: CaptureFixture) -> None:
    status, sentence = said(capsys, "topic", "create", "web", "--partition", "3")

    assert status == 2
    assert "--partitions" in sentence
    assert sentence.endswith("see 'ottla topic create --help'")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["topic", "create"], "Missing argument 'NAME...'"),
        (["topic", "create", "web", "--config", "retention.ms"], "is not KEY=VALUE"),
        (["topic", "create", "web", "--partitions", "0"], "0 is not in the range x>=1"),
        (["topic", "alter", "web"], "nothing to alter"),
        (["topic", "alter", "web", "--config", "a=1", "--delete-config", "a"], "both set and del"),
        (["produce", "web", "--json", "--key-separator", ":"], "exclude each other"),
        (["produce", "web", "--header", "novalue"], "'novalue' is not NAME=VALUE"),
        (["produce", "web", "--key-separator", ""], "at least one character"),
        (["produce", "web", "--acks", "2"], "'2' is not one of"),
        (["produce", "web", "--partition", "-1"], "-1 is not in the range"),
        (["consume", "web", "--offset", "3"], "--offset needs --partition"),
        (["consume", "web", "--from-beginning", "--offset", "-3"], "exclude each other"),
        (["consume", "web", "--from-timestamp", "noon"], "'noon' is neither milliseconds"),
        (["consume", "web", "--from-timestamp", "9" * 30], "neither milliseconds"),
        (["consume", "web", "--format", "%x"], "'%x' names no field"),
        (["consume", "web", "--json", "--format", "%v"], "exclude each other"),
        (["up", "--ephemeral", "--data", "/tmp"], "exclude each other"),
        (["up", "--grpc-port", "70000"], "70000 is not in the range"),
        (["up", "--brokers", "0"], "0 is not in the range"),
        (["up", "--certs", "/nowhere"], "'/nowhere' does not exist"),
        (["certs", "create"], "Missing option '--out'"),
        (["cluster", "status", "--interval", "0"], "0.0 is not in the range"),
        (["up", "--set", "num.partitions"], "is not KEY=VALUE"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_arguments_without_sense_are_status_2(
    capsys: CaptureFixture, arguments: list[str], part: str
) -> None:
    status, sentence = said(capsys, *arguments)

    assert (status, part in sentence) == (2, True), sentence


@pytest.mark.parametrize(
    "command", [["up", "--ephemeral"], ["up", "--brokers", "1"], ["broker"]], ids=" ".join
)
def test_every_problem_of_the_configuration_has_a_line(
    capsys: CaptureFixture, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "ottla.toml").write_text("num.partition = 3\nnode.id = -1\n")

    status = run([*command, "--config", str(tmp_path / "ottla.toml")])

    lines = capsys.readouterr().err.splitlines()
    assert (status, len(lines)) == (1, 2)
    assert lines[0].startswith("ottla: unknown setting 'num.partition'; did you mean num.part")


def test_topic_that_cannot_exist_is_refused_before_connecting(capsys: CaptureFixture) -> None:
    status, sentence = said(capsys, "consume", "a/b", "--from-beginning")

    assert status == 1
    assert "topic name 'a/b' has a character" in sentence


def test_bootstrap_that_is_no_address_is_named_as_the_option(capsys: CaptureFixture) -> None:
    status, sentence = said(capsys, "topic", "list", "--bootstrap", "http://x:1")

    assert status == 1
    assert sentence.startswith("ottla: --bootstrap: 'http://x:1'")


def test_arguments_of_the_library_are_called_by_their_options() -> None:
    text = "cannot read ssl_ca_location; check bootstrap_servers"

    assert in_words_of_the_command_line(text) == "cannot read --ssl-ca-location; check --bootstrap"


# --- Connection -----------------------------------------------------------------------


def test_what_is_said_after_the_command_outranks_what_is_said_before() -> None:
    outer = Connection(bootstrap="outer:1", ssl=True)

    chosen = Connection(bootstrap="inner:1").over(outer)

    assert (chosen.servers, chosen.ssl) == ("inner:1", True)


def test_no_tls_after_the_command_outranks_tls_before() -> None:
    assert Connection(ssl=False).over(Connection(ssl=True)).options()["security_protocol"] == (
        "PLAINTEXT"
    )


def test_nothing_said_is_the_brokers_of_this_machine() -> None:
    connection = Connection()

    assert connection.servers == "127.0.0.1:7092,127.0.0.1:7093,127.0.0.1:7094"
    assert connection.options()["security_protocol"] is None


# --- Looking into files ---------------------------------------------------------------


def test_path_that_is_not_there_is_named(capsys: CaptureFixture) -> None:
    status, sentence = said(capsys, "log", "dump", "/nowhere")

    assert status == 1
    assert sentence.startswith("ottla: cannot read /nowhere: No such file or directory; ")


def test_device_is_not_read(capsys: CaptureFixture) -> None:
    assert said(capsys, "log", "dump", "/dev/zero")[0] == 1


def test_empty_directory_is_said_to_be_empty(capsys: CaptureFixture, tmp_path: Path) -> None:
    status, sentence = said(capsys, "log", "dump", str(tmp_path))

    assert (status, "is empty" in sentence) == (1, True)


# --- Output ---------------------------------------------------------------------------


def test_table_in_a_pipe_is_cells_with_tabs(capsys: CaptureFixture) -> None:
    print_table(("name", "size"), [("a\tb", ByteCount(1_500)), ("c\nd", 2)])

    assert capsys.readouterr().out == "a b\t1500\nc d\t2\n"


def test_facts_in_a_pipe_are_names_and_values_with_tabs(capsys: CaptureFixture) -> None:
    print_facts({"topic": "web", "partitions": 6})

    assert capsys.readouterr().out == "topic\tweb\npartitions\t6\n"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_500, "1.5 kB"), (2e12, "2.0 TB"), (3e15, "3,000.0 TB")],
)
def test_size_is_read_easily(size_bytes: float, text: str) -> None:
    assert as_size(size_bytes) == text


def test_reader_that_goes_away_is_no_error_message(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("0\n" * 100_000)
    command = f"{sys.executable} -m ottla log dump {tmp_path} | head -1; echo ${{PIPESTATUS[0]}}"

    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)

    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "141"


def test_output_to_a_pipe_that_does_not_block_arrives_whole(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("line\n" * 100_000)
    script = (
        "import fcntl, os; os.set_blocking(1, False); fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 4096);"
        f"from ottla.cli.main import main; main(['log', 'dump', {str(tmp_path)!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        # Nobody reads, so it has to wait: ending now would mean that it gave up.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        output, _ = process.communicate(timeout=20)

    assert output.count(b"  line\n") == 100_000


def test_full_disk_behind_standard_output_is_said(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("0\n0\n")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ottla", "log", "dump", str(tmp_path)],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode == 1
    assert done.stderr == "ottla: cannot write to standard output: No space left on device\n"


def test_closed_standard_streams_do_no_harm() -> None:
    command = f"{sys.executable} -m ottla consume a/b --follow <&- >&- 2>&-"

    done = subprocess.run(["sh", "-c", command], check=False, env={**os.environ, "OTTLA_SSL": "0"})

    assert done.returncode == 1


def test_interrupt_while_the_command_is_imported_is_no_error_message() -> None:
    # Python's audit events tell when the import begins; the signal comes in the middle of it.
    script = (
        "import os, signal, sys\n"
        "def interrupt(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'click':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(interrupt)\n"
        "from ottla.__main__ import main; main()"
    )

    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_grpc_says_nothing_beside_the_command_unless_asked_to() -> None:
    script = (
        "import os; from ottla.cli.main import main\n"
        "try: main(['--version'])\n"
        "finally: print(os.environ['GRPC_VERBOSITY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}

    said = [
        subprocess.check_output([sys.executable, "-c", script], env=each, text=True).split()[-1]
        for each in (environment, {**environment, "GRPC_VERBOSITY": "DEBUG"})
    ]

    assert said == ["NONE", "DEBUG"]
