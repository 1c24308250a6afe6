"""The command ``cellwright``: find the command that was named, import it alone, run it.

To add a command, write a module in this folder and one line in ``COMMANDS``. The module has
a function ``run``, or a table ``SUBCOMMANDS`` of functions by name. Typer reads their
parameters; the docstring is the command's help; the exit status is what they return, None
for 0. Anything else that can happen ends in one message on standard error and one of the
statuses of ``docs/reference/command-line.md``, which are decided here and nowhere else.

Nothing is imported here that ``--help`` doesn't need: it has a third of a second.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, cast

from orchestrator.cli.printing import tell
from orchestrator.kernel.errors import ProcessError

if TYPE_CHECKING:
    import typer

DONE: Final = 0
NO: Final = 1
WRONG_CALL: Final = 2
ENVIRONMENT_FAILED: Final = 3
INTERRUPTED: Final = 130  # as shells count a program that SIGINT ended
READER_LEFT: Final = 141  # as shells count a program that SIGPIPE ended

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": ("demo", "Run a whole CAR-T batch on emulated instruments, and judge it"),
    "simulate": ("simulate", "Run a protocol on the emulated cell"),
    "prove": ("prove", "Prove that a protocol survives a crash at any point"),
    "bench": ("bench", "Measure how fast this host is on the real path"),
    "check": ("check", "Say what is wrong with a protocol file, and why"),
    "explain": ("explain", "Say what a rule demands, and why"),
    "read": ("read", "Print a protocol file as a numbered procedure"),
    "diff": ("diff", "Say in words what differs between two protocols"),
    "approve": ("approve", "Sign a recipe: authored, reviewed, approved, by three people"),
    "receive": ("receive", "Put on file what has arrived: lots, material, kits, bags, tubes"),
    "order": ("order", "Make a batch of an approved recipe, and start it"),
    "amend": ("amend", "Change what a running batch is bound to, by two people"),
    "answer": ("answer", "List what people owe, and take, report, decide, verify or sign it"),
    "time": ("host_time", "Look at the host's clock, or sign what time it is"),
    "status": ("status", "Print one page per patient, from the journal alone"),
    "watch": ("watch", "Alarm while the daemon is down or silent: a process of its own"),
    "report": ("report", "Print the record of one batch, from the journal alone"),
    "upgrade": ("upgrade", "Say whether open batches can go on with this version"),
    "verify": ("verify", "Say whether a journal is what was written"),
    "backup": ("backup", "Copy the journal to one file, also while its daemon runs"),
    "restore": ("restore", "Put the journal back from a backup, signed by two people"),
    "user": ("user", "Add people, list them, log in and out"),
    "models": ("models", "List the models of instruments that have a driver"),
    "draw": ("draw", "Draw a process cell file as SVG"),
    "serve": ("serve", "Run the daemon of a process cell"),
    "room": ("room", "Run an emulated process cell on real wires"),
    "emulate": ("emulate", "Serve one emulated instrument on a port, in real time"),
    "exercise": ("exercise", "Ask an instrument everything that may be asked safely"),
}
"""Each command: its module in this folder, and its help in one sentence."""

STATUS_OF: Final[Mapping[str, int]] = {
    "refused": NO,
    "refused.call": WRONG_CALL,
    "refused.configuration": WRONG_CALL,
    "refused.file": ENVIRONMENT_FAILED,
    "refused.journal-in-use": ENVIRONMENT_FAILED,
    "refused.journal-key": ENVIRONMENT_FAILED,
    "refused.port": ENVIRONMENT_FAILED,
    "refused.room": ENVIRONMENT_FAILED,
    "failed": ENVIRONMENT_FAILED,
    "uncertain": NO,
    "integrity": NO,
    "integrity.journal-latched": ENVIRONMENT_FAILED,
}
"""The exit status of an error, by its code; a code that isn't here has its family's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: What stands after the program's name; the process's own if not given.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not __debug__:
        tell(
            "start cellwright: Python runs with -O or PYTHONOPTIMIZE, which takes out checks "
            "that the product relies on. Start it without."
        )
        return ENVIRONMENT_FAILED
    debug = given[:1] == ["--debug"]
    if debug:
        del given[0]
    return _guarded(given, debug=debug)


def status_of(error: ProcessError) -> int:
    """Return the exit status that stands for ``error``."""
    return status_of_code(error.code)


def status_of_code(code: str) -> int:
    """Return the exit status that stands for an error's code."""
    while code not in STATUS_OF:
        code = code.rpartition(".")[0]
        if not code:
            return ENVIRONMENT_FAILED
    return STATUS_OF[code]


def overview() -> str:
    """Return the help of the whole."""
    width = max(map(len, COMMANDS)) + 2
    return "\n".join(
        [
            "Usage: cellwright [--debug] COMMAND ...",
            "",
            "The orchestrator of a closed process cell for autologous cell therapies.",
            "",
            "Commands:",
            *(f"  {name:{width}}{told}" for name, (_, told) in COMMANDS.items()),
            "",
            "Options:",
            "  --help     Print this; `cellwright COMMAND --help` prints a command's own",
            "  --version  Print the version",
            "  --debug    Write a file with the details of a mistake of ours",
            "",
            "Exit status: 0 done, 1 the answer is no, 2 wrong call, 3 the environment failed.",
        ]
    )


def _guarded(given: list[str], *, debug: bool) -> int:
    output: object = sys.stdout
    if isinstance(output, TextIOWrapper):  # else somebody else's stream, as in a test
        cast("TextIOWrapper", output).reconfigure(errors="backslashreplace")
    try:
        status = _run(given)
        sys.stdout.flush()
    except BaseException as ended:
        status = _ended(ended, given, debug=debug)
    return status


def _ended(ended: BaseException, given: list[str], *, debug: bool) -> int:
    """Say what ended a command, and return the status for it."""
    causes = list(_leaves(ended))
    if all(isinstance(cause, ProcessError) for cause in causes):
        told = dict.fromkeys(str(cause) for cause in causes)
        for text in told:
            tell(text)
        return max(status_of(cause) for cause in causes if isinstance(cause, ProcessError))
    cause = next(cause for cause in causes if not isinstance(cause, ProcessError))
    match cause:
        case BrokenPipeError():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains when it exits
            return READER_LEFT
        case KeyboardInterrupt():
            return INTERRUPTED
        case SystemExit():
            raise cause
        case OSError():
            where = f" {cause.filename}" if cause.filename else ""
            tell(
                f"cellwright {' '.join(given[:1])}: use{where or ' the machine'}: "
                f"{cause.strerror or cause}. Correct that, then run it again."
            )
            _forget_output()
            return ENVIRONMENT_FAILED
        case _:
            return _our_mistake(ended, given, debug=debug)


def _run(given: list[str]) -> int:
    name = given[0] if given else ""
    if name in ("--help", "-h"):
        print(overview())
        return DONE
    if name == "--version":
        from importlib.metadata import version

        print(f"cellwright {version('cellwright')}")
        return DONE
    if name not in COMMANDS:
        tell(_unknown(name))
        return WRONG_CALL
    return _call(name, given[1:])


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    if not name:
        return "call cellwright: no command is given. `cellwright --help` lists them."
    near = get_close_matches(name, COMMANDS, n=1)
    do_next = f"Write {near[0]!r} if you mean that; " if near else ""
    what = f"call cellwright {name}: there is no such command"
    return f"{what}. {do_next}`cellwright --help` lists them."


def _call(name: str, arguments: list[str]) -> int:
    from importlib import import_module

    module = import_module(f"orchestrator.cli.{COMMANDS[name][0]}")

    import typer
    from typer.main import get_command

    command = get_command(_application(typer, module))
    called = f"cellwright {name}"
    try:
        with command.make_context(called, arguments) as context:
            status: int | None = command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as wrong:
        told = wrong.format_message().strip().rstrip(".").replace("\n", " ")
        tell(f"call {called}: {told}. `{called} --help` says how.")
        return WRONG_CALL
    except (typer.Abort, EOFError):
        tell(f"call {called}: the input ended before it was complete. Call it again.")
        return WRONG_CALL
    return DONE if status is None else status


def _application(typer_: Any, module: Any) -> typer.Typer:
    made: typer.Typer = typer_.Typer(
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )
    subcommands = getattr(module, "SUBCOMMANDS", None)
    if subcommands is None:
        made.command()(module.run)
    else:
        for name, function in subcommands.items():
            made.command(name)(function)
        made.callback()(_group)  # else one subcommand alone would be the command itself
    return made


def _group() -> None:
    """Say which is meant."""


def _leaves(ended: BaseException) -> Iterator[BaseException]:
    """Yield what really happened, where tasks side by side put it into groups."""
    if isinstance(ended, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", ended).exceptions:
            yield from _leaves(inner)
    else:
        yield ended


def _our_mistake(mistake: BaseException, given: list[str], *, debug: bool) -> int:
    what = f"cellwright {' '.join(given[:1])}".strip()
    why = f"our mistake ({type(mistake).__name__}: {mistake})"
    if not debug:
        again = " ".join(["cellwright --debug", *given])
        tell(f"{what}: {why}. Report it; `{again}` writes the details into a file.")
        return ENVIRONMENT_FAILED
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="cellwright-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(mistake, file=file)
    tell(f"{what}: {why}. Report it with the file {file.name}.")
    return ENVIRONMENT_FAILED


def _forget_output() -> None:
    """Drop what couldn't be printed, or Python tries again when it exits and complains."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main())
