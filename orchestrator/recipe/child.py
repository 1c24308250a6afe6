"""Run a protocol file once, in a limited process of its own, to write its recipe.

The barrier is the allow-list of ``rules.file``, asked before; this is the second net. The
child has no descriptors but its pipes, no environment, a process group of its own, limits
on processor time, memory, file size, processes and new descriptors, and only the names
that protocols may import. It is killed as a group 5 s after it was given the source, and
at most 16 MiB are read from it. What comes back is checked like a recipe from anywhere.

The child is started before the file is looked at, since most of its time goes into
importing the author's words; it gets the source only if the list admits it.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from orchestrator.recipe.author import Written

WALL_S_MAX: Final = 5.0
CPU_S_MAX: Final = 5
MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024

_ROOT: Final = str(Path(__file__).resolve().parents[2])
_MAIN: Final = "protocol"


@dataclass(frozen=True)
class Told:
    """One thing that the child found wrong."""

    rule: str
    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Answer:
    """What the child wrote."""

    content: bytes
    places: dict[str, tuple[str, int]]
    faults: tuple[Told, ...]


class Child:
    """One child process. Use it as a context: at its end the whole group is dead."""

    def __enter__(self) -> Child:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START.format(root=_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            close_fds=True,
            start_new_session=True,
            cwd="/",
            env={},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()

    @property
    def exit_status(self) -> int | None:
        """How the process ended: minus a signal's number if one ended it."""
        return self._process.returncode

    def run(self, sources: Mapping[str, tuple[str, str]]) -> Answer | Told:
        """Return what the sources write; the file itself is ``protocol``.

        Args:
            sources: By module name, the file's name and its text.
        """
        question = json.dumps(sources).encode()
        raw = self._exchange(question)
        file = sources[_MAIN][0]
        if raw is None:
            return Told("P080", file, 1, f"it wrote no recipe within {WALL_S_MAX:.0f} s")
        if len(raw) > ANSWER_BYTES_MAX:
            return Told("P080", file, 1, f"its recipe is beyond {ANSWER_BYTES_MAX >> 20} MiB")
        return _answer(raw, file)

    def _exchange(self, question: bytes) -> bytes | None:
        """Return what the child answers, cut off past the limit; None if time is up."""
        to_child, from_child = self._process.stdin, self._process.stdout
        assert to_child is not None
        assert from_child is not None
        deadline = time.monotonic() + WALL_S_MAX
        answer = bytearray()
        left = memoryview(question)
        os.set_blocking(to_child.fileno(), False)
        with selectors.DefaultSelector() as ready:
            ready.register(to_child, selectors.EVENT_WRITE)
            ready.register(from_child, selectors.EVENT_READ)
            while True:
                within_s = deadline - time.monotonic()
                if within_s <= 0:
                    return None
                for key, _ in ready.select(within_s):
                    if key.fileobj is to_child:
                        left = _written(to_child.fileno(), left)
                        if not left:
                            ready.unregister(to_child)
                            to_child.close()
                        continue
                    part = os.read(from_child.fileno(), 1 << 16)
                    answer += part
                    if not part or len(answer) > ANSWER_BYTES_MAX:
                        return bytes(answer)


def _written(descriptor: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(descriptor, left) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[len(left) :]


def _answer(raw: bytes, file: str) -> Answer | Told:
    try:
        value: Any = json.loads(raw)
        if "ended" in value:
            return Told(*_told(value["ended"]))
        places = {
            str(path): (str(where[0]), int(where[1])) for path, where in value["places"].items()
        }
        faults = tuple(Told(*_told(fault)) for fault in value["faults"])
        return Answer(str(value["content"]).encode(), places, faults)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError):
        text = "the process that reads it ended without a recipe: it took too much memory or time"
        return Told("P080", file, 1, text)


def _told(value: Any) -> tuple[str, str, int, str]:
    rule, file, line, text = value
    return str(rule), str(file), int(line), str(text)


_START: Final = (
    "import sys; sys.path.insert(0, {root!r}); from orchestrator.recipe.child import serve; serve()"
)


# Within the child ----------------------------------------------------------------------


def serve() -> None:
    """Read sources from standard input, write what they write to standard output."""
    for limit, most in (
        (resource.RLIMIT_CPU, CPU_S_MAX),
        (resource.RLIMIT_AS, MEMORY_BYTES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    from orchestrator.recipe import author
    from orchestrator.recipe.model import load_phase_kinds
    from orchestrator.recipe.rules.file import IMPORTS

    load_phase_kinds()
    sources: dict[str, tuple[str, str]] = json.loads(sys.stdin.buffer.read())
    sys.stdin.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    try:
        written = _run(sources, IMPORTS, author)
        value: dict[str, Any] = {
            "content": written.recipe.content.decode(),
            "places": {path: (one.file, one.line) for path, one in written.places.items()},
            "faults": [(f.rule, f.place.file, f.place.line, f.text) for f in written.faults],
        }
    except _EndedError as ended:
        value = {"ended": (ended.told.rule, ended.told.file, ended.told.line, ended.told.text)}
    except MemoryError:
        value = {"ended": ("P080", sources[_MAIN][0], 1, "it needs too much memory")}
    sys.stdout.buffer.write(json.dumps(value).encode())
    sys.stdout.buffer.flush()
    os._exit(0)


class _EndedError(Exception):
    def __init__(self, told: Told) -> None:
        super().__init__(told)
        self.told = told


def _run(
    sources: Mapping[str, tuple[str, str]], imports: Mapping[str, frozenset[str]], author: Any
) -> Written:
    made: dict[str, ModuleType] = {}

    def bring(
        name: str,
        scope: Any = None,
        local: Any = None,
        names: tuple[str, ...] = (),
        level: int = 0,
    ) -> Any:
        del scope, local, level
        if name in sources:
            return executed(name)
        if name in imports:
            module = author if name == "orchestrator.recipe" else sys.modules[name]
            picked = ModuleType(name)
            for one in names:
                if one in imports[name]:
                    setattr(picked, one, getattr(module, one))
            return picked
        raise ImportError(name)

    def executed(name: str) -> ModuleType:
        if name not in made:
            made[name] = module = ModuleType(name)
            module.__dict__["__builtins__"] = {
                "__import__": bring,
                "enumerate": enumerate,
                "range": range,
                **{one.__name__: one for one in (bool, int, str, tuple)},  # in annotations
            }
            file, text = sources[name]
            exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)
        return made[name]

    sys.modules.setdefault("__future__", __import__("__future__"))
    try:
        values = vars(executed(_MAIN)).values()
    except MemoryError:
        raise
    except Exception as error:  # whatever the file does wrong is a finding about the file
        raise _EndedError(_explained(error, dict(sources.values()), sources[_MAIN][0])) from None
    written = [value for value in values if isinstance(value, author.Written)]
    if len(written) != 1:
        from orchestrator.recipe.rules.file import not_one

        raise _EndedError(Told("P050", sources[_MAIN][0], 1, not_one(len(written))))
    return cast("Written", written[0])


def _explained(error: Exception, files: Mapping[str, str], main: str) -> Told:
    """Return a finding for what ended the file, at the newest of its own lines."""
    file, line, inner = main, 1, ""
    step = error.__traceback__
    while step is not None:
        inner = step.tb_frame.f_code.co_filename
        if inner in files:
            file, line = inner, step.tb_lineno
        step = step.tb_next
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, RecursionError):
        return Told("P080", file, line, "it calls itself without end")
    if isinstance(error, AttributeError):
        if inner in files:
            return Told("P040", file, line, _no_such_word(error))
        return Told("P060", file, line, _not_taken(error))
    if isinstance(error, NameError | ImportError):
        return Told("P040", file, line, text)
    if isinstance(error, TypeError | ValueError):
        of_units = inner.endswith("quantities.py") or "operand" in text
        if of_units or isinstance(error, ValueError):
            return Told("U010", file, line, _operands_in_words(text))
        return Told("P060", file, line, _call_in_words(text, files[file], line))
    return Told("P070", file, line, f"it fails here: {type(error).__name__}: {text}")


def _no_such_word(error: AttributeError) -> str:
    """Return which word isn't known there, and the nearest one, or whose word it is."""
    from difflib import get_close_matches

    words = [word for word in dir(error.obj) if not word.startswith("_")]
    near = get_close_matches(str(error.name), words, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else _whose(str(error.name))
    return f"{_a(type(error.obj).__name__)} has no {error.name!r}{hint}"


def _whose(word: str) -> str:
    """Return who of the author's nouns has this word, as advice."""
    from orchestrator.recipe import author

    owners = [
        name
        for name, kind in vars(author).items()
        if isinstance(kind, type) and kind.__module__ == author.__name__ and word in vars(kind)
    ]
    return f"; write it after {_a(owners[0])}, which has it" if owners else ""


def _not_taken(error: AttributeError) -> str:
    """Return that a word of the author's was given something that it can't take."""
    given = f"the text {error.obj!r}" if isinstance(error.obj, str) else repr(error.obj)
    return f"{given} stands where something declared belongs; give it by its Python name"


def _operands_in_words(text: str) -> str:
    """Return Python's complaint about a sum of two dimensions as people would say it."""
    import re

    found = re.fullmatch(r"unsupported operand type\(s\) for [-+]: '(\w+)' and '(\w+)'", text)
    return text if found is None else f"{_a(found[1])} and {_a(found[2])} don't add up"


def _call_in_words(text: str, source: str, line: int) -> str:
    """Return Python's complaint about a call as what the author left out or misspelled."""
    import re

    called, _, complaint = text.partition("() ")
    if not complaint:
        return text
    word = called.rpartition(".")[2]
    of = f"{word.replace('_', ' ')}{_name_given(word, source, line)}"
    names = re.findall(r"'(\w+)'", complaint)
    if complaint.startswith("missing"):
        parts = " and ".join(names)
        written = ", ".join(f"{name}=..." for name in names)
        return f"{of} says no {parts}: write {written} in it"
    if complaint.startswith("got an unexpected"):
        return f"{of} has no {names[0]!r}{_parameter_near(names[0], called)}"
    if complaint.startswith("got multiple values"):
        return f"{of} is given {names[0]!r} twice; give it once"
    if complaint.startswith("takes"):
        return f"{of} is given too much without a name; write each value as name=value"
    return f"{of} {complaint}"


def _name_given(word: str, source: str, line: int) -> str:
    """Return the text that the call on this line begins with, the name of what it declares."""
    import ast

    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and node.lineno <= line <= (node.end_lineno or line)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else "") == word
    ]
    if len(calls) == 1 and calls[0].args and isinstance(calls[0].args[0], ast.Constant):
        return f" {calls[0].args[0].value!r}"
    return ""


def _parameter_near(given: str, called: str) -> str:
    """Return which of its parameters was meant, or all that it has."""
    from difflib import get_close_matches
    from inspect import signature

    from orchestrator.recipe import author

    function: Any = author
    for part in called.split("."):
        function = getattr(function, part, None)
    if function is None:
        return ""
    has = [name for name in signature(function).parameters if name not in ("self", "name")]
    near = get_close_matches(given, has, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; write one of {', '.join(has)}"


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"
