"""The command ``ottla``: its subcommands, and what becomes of their errors.

Nothing of a subcommand is imported until it is called: ``ottla --help`` has no use for gRPC.

Whatever goes wrong ends here, once: one sentence to standard error and an exit status.

=====  ======================================================================
    0  done
    1  it could not be done; the sentence says why, and what to do
    2  the command line itself makes no sense
  130  interrupted with Ctrl-C
  141  whoever read the output has gone away, as in ``ottla consume t | head``
=====  ======================================================================
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from ottla import __version__
from ottla.cli.connection import Connection, outermost_connection_options
from ottla.cli.failure import INTERRUPTED
from ottla.cli.lazy_group import LazyCommand, LazyGroup
from ottla.model.errors import OttlaError

WIDTH_MAX: Final = 100
READER_GONE: Final = 141

_COMMANDS: Final = {
    "up": LazyCommand("ottla.cli.up:up", "Start a cluster on this machine and serve."),
    "broker": LazyCommand("ottla.cli.broker:broker", "Run one broker, told by settings."),
    "cluster": LazyCommand(
        "ottla.cli.cluster:cluster", "See how a cluster is, and look after its brokers."
    ),
    "certs": LazyCommand("ottla.cli.certs:certs", "Make certificates for mutual TLS."),
    "topic": LazyCommand(
        "ottla.cli.topic:topic", "Create, list, describe, alter, move and delete topics."
    ),
    "produce": LazyCommand(
        "ottla.cli.produce:produce", "Send records from standard input to a topic."
    ),
    "consume": LazyCommand(
        "ottla.cli.consume:consume", "Write a topic's records to standard output."
    ),
    "group": LazyCommand(
        "ottla.cli.group:group", "See how far consumer groups are, and set them back or forward."
    ),
    "log": LazyCommand("ottla.cli.log:log", "Look into the files of a log."),
    "simulate": LazyCommand(
        "ottla.cli.simulate:simulate", "Play clusters through failures, in virtual time."
    ),
}


# "\b" keeps the lines below it as they are.
_HELP: Final = """Run and use Ottla, a replicated commit log for streams of events.

\b
ottla up                              start three brokers
ottla topic create web                create a topic
ottla produce web < access.log        send a record for each line
ottla consume web --from-beginning    read them
"""


@click.group(
    cls=LazyGroup,
    help=_HELP,
    commands_by_name=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH_MAX},
)
@click.version_option(__version__, message="ottla %(version)s")
@outermost_connection_options
@click.pass_context
def cli(context: click.Context, connection: Connection) -> None:
    """Every subcommand finds the connection in the context."""
    context.obj = connection


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    _fill_standard_streams()
    # Read by gRPC when it is imported, which nothing has done yet: its core writes lines of its own
    # about each failed handshake, beside the one sentence that a command says.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    status = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _complain(f"cannot write to standard output: {error.strerror}")
        status = READER_GONE if isinstance(error, BrokenPipeError) else 1
        # Python flushes once more at exit, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit status, having said why if it is not 0."""
    try:
        status: object = cli.main(args=list(arguments), prog_name="ottla", standalone_mode=False)
    except (click.ClickException, click.Abort, OttlaError, OSError, KeyboardInterrupt) as error:
        return _explained(error)
    except SystemExit:
        return READER_GONE  # click turns a broken pipe into this, and nothing else
    return status if isinstance(status, int) else 0


def _explained(error: BaseException) -> int:
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            status = error.exit_code
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "ottla"
            _complain(f"{error.format_message().rstrip('.')}; see '{command} --help'")
            status = error.exit_code
        case click.ClickException():
            _complain(error.format_message())
            status = error.exit_code
        case OttlaError():
            _complain(str(error))
            status = 1
        case click.Abort() | KeyboardInterrupt():
            status = INTERRUPTED
        case BrokenPipeError():
            status = READER_GONE
        case _:
            raise error  # a bug, not the world: show where
    return status


def _complain(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        for line in text.splitlines():
            print(f"ottla: {line}", file=sys.stderr)


def _fill_standard_streams() -> None:
    """Put ``/dev/null`` where a standard stream is closed.

    Otherwise the next file or socket takes its number, and prints and errors go into that.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            assert opened == number, "the lowest free descriptor"
            setattr(sys, name, os.fdopen(opened, "r" if number == 0 else "w"))
