"""P: the protocol file itself, by an allow-list over its syntax tree.

The barrier against a broken or hostile file is this list, read before a line of the file
runs: only the author's words, units, literals, ``with``, ``for`` over a literal, and
functions of the file. What isn't listed is refused, so a construct that a later Python
adds is refused too. The limits of the child process are the second net.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from orchestrator.recipe.rules.rule import Rule

RULES = (
    Rule(
        code="P010",
        severity="refuse",
        demands="The file can be read, is Python, and is of a reasonable size.",
        because="Nothing else can be said about it before.",
        do_next="Correct it where the message points.",
    ),
    Rule(
        code="P020",
        severity="refuse",
        demands="The file imports units, the author's words and the library by name, no more.",
        because="A procedure that can reach a network, a clock or a file isn't a document.",
        do_next="Remove the import.",
    ),
    Rule(
        code="P030",
        severity="refuse",
        demands="The file is made of declarations, steps, `with`, and `for` over a literal.",
        because="What is approved must be the same each time the file is read.",
        do_next="Write p.when(...) for a choice and p.repeat_until(...) for a repetition.",
    ),
    Rule(
        code="P040",
        severity="refuse",
        demands="Every word is one of the author's, a unit, or defined above in the file.",
        because="A word that isn't known means nothing.",
        do_next="Write the word as docs and completion spell it.",
    ),
    Rule(
        code="P050",
        severity="refuse",
        demands="The file holds one procedure: one function under @procedure(...).",
        because="One document is one recipe.",
        do_next="Write it, or move the others to files of their own.",
    ),
    Rule(
        code="P060",
        severity="refuse",
        demands="Words are put together as they are meant to be.",
        because="A step in the wrong place can't be run.",
        do_next="Correct it as the message says.",
    ),
    Rule(
        code="P070",
        severity="refuse",
        demands="The file writes its recipe without failing.",
        because="A recipe that is only half written isn't one.",
        do_next="Correct it where the message points.",
    ),
    Rule(
        code="P080",
        severity="refuse",
        demands="The file writes its recipe within 5 s, 512 MiB and 16 MiB of recipe.",
        because="A procedure that needs more isn't a procedure.",
        do_next="Shorten what it repeats.",
    ),
)

LARGEST_FILE: Final = 1024 * 1024
LARGEST_REPETITION: Final = 1000
DEEPEST: Final = 60
LONGEST_TEXT: Final = 10_000
LARGEST_NUMBER: Final = 10**15

QUANTITIES: Final = "orchestrator.kernel.quantities"
LIBRARY: Final = "protocols.library"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNITS: Final = _words(
    "nL uL mL L nL_per_min uL_per_min mL_per_min ms second minute hour day ug milligram gram kg "
    "degC kelvin degC_per_min cell million_cells cells_per_mL million_per_mL percent x_g ratio "
    "units_per_mL um mm m"
)
DIMENSIONS: Final = _words(
    "CellDensity Cells Duration Flow Fraction Length Mass RampRate Range Ratio RelativeForce "
    "Temperature TemperatureChange Titer Volume"
)
IMPORTS: Final[dict[str, frozenset[str]]] = {
    QUANTITIES: UNITS | DIMENSIONS | {"between"},
    "orchestrator.recipe": frozenset({"Writer", "procedure"}),
    "orchestrator.recipe.author": _words(
        "Arm Bench CellCounter Centrifuge Choice Container Count Dewar Entry Freezer Graded Hold "
        "Incubator KitInUse NotYet Part Received Selected TransferStation Writer cells_by_weight "
        "cells_in engineered_cells part_of_volume procedure reagent_per_cells volume_for_ratio "
        "volume_holding volume_less volume_over"
    ),
    "__future__": frozenset({"annotations"}),
}
"""What may be imported from where."""

WORDS: Final = _words(
    # the writer's
    "confirm empty_bag equipment hold keep kit lag operation ordered otherwise parallel "
    "patient_material reagent repeat_until sequence together tube unit_procedure until "
    "verify_identity when "
    # the units'
    "concentrate connect count detach disconnect exchange_medium feed fill_and_seal formulate "
    "freeze grade_confluence incubate install_kit load mix move precool receive "
    "select_magnetically set_climate seed_and_activate store transduce transfer wash "
    # what they give
    "carbon_dioxide cd3 confluence end engineered flush start temperature vessel viability "
    "viable_density volume waste"
)
"""What may stand after a dot. No other attribute can be reached."""

BUILTINS: Final = frozenset({"enumerate", "range"})

_MEANT: Final = {
    "litre": "L", "liter": "L", "millilitre": "mL", "milliliter": "mL", "microlitre": "uL",
    "microliter": "uL", "nanolitre": "nL", "nanoliter": "nL", "sec": "second", "minute": "minute",
    "hr": "hour", "h": "hour", "d": "day", "celsiu": "degC", "c": "degC", "degree": "degC",
    "gram": "gram", "milligramme": "milligram", "gramme": "gram", "kilogram": "kg",
    "microgram": "ug", "pct": "percent", "million": "million_cells", "metre": "m", "meter": "m",
    "millimetre": "mm", "millimeter": "mm", "ml_per_minute": "mL_per_min", "rcf": "x_g",
    "millisecond": "ms",
}  # fmt: skip
"""What people write for a unit, in lower case and without a plural's s, and its word here."""

_NOT_A_DOCUMENT: Final = "a procedure that can reach beyond its words isn't a document"

_HINTS: Final = {
    "If": "a file can't choose while it is read: write p.when(...)",
    "IfExp": "a file can't choose while it is read: write p.when(...)",
    "While": "a file can't loop: write p.repeat_until(..., at_most=n)",
    "Try": "a file can't catch: what is wrong is shown",
    "AsyncFunctionDef": "nothing runs here, so nothing waits",
    "Await": "nothing runs here, so nothing waits",
    "ClassDef": "a file makes no classes",
    "Lambda": "write a function with def",
    "Global": "a function gives back what it made",
    "Delete": "nothing can be taken back",
    "Assert": "the rules check, not the file",
    "Raise": "the rules check, not the file",
    "AugAssign": "give each value a name of its own",
    "ListComp": "write a literal, or for over a literal",
    "GeneratorExp": "write a literal, or for over a literal",
}


@dataclass(frozen=True)
class Refused:
    """One thing that the allow-list doesn't hold."""

    code: str
    line: int
    text: str


@dataclass
class Allowed:
    """What the list says of one file."""

    refused: list[Refused] = field(default_factory=list[Refused])
    library: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Modules of the library that it imports, with the line."""
    procedures: int = 0


def examine(source: bytes, *, is_library: bool = False) -> Allowed:
    """Return what the allow-list says of a file; nothing of it is run."""
    found = Allowed()
    if len(source) > LARGEST_FILE:
        text = f"the file has {len(source)} bytes; at most {LARGEST_FILE} are read"
        found.refused.append(Refused("P010", 1, text))
        return found
    try:
        tree = ast.parse(source.decode("utf-8"))
    except UnicodeDecodeError as wrong:
        line = source[: wrong.start].count(b"\n") + 1
        found.refused.append(Refused("P010", line, "it isn't UTF-8 text"))
    except SyntaxError as wrong:
        found.refused.append(Refused("P010", wrong.lineno or 1, f"it isn't Python: {wrong.msg}"))
    except (ValueError, RecursionError, MemoryError) as wrong:
        text = f"it isn't Python: {wrong or 'nested too deeply'}"
        found.refused.append(Refused("P010", 1, text))
    else:
        _Examiner(found, is_library).module(tree)
    return found


class _Examiner:
    def __init__(self, found: Allowed, is_library: bool) -> None:
        self._found = found
        self._is_library = is_library
        self._imported: set[str] = set()
        self._names: set[str] = set()
        self._literals: set[str] = set()
        self._depth = 0
        self._repeats = 1

    def module(self, tree: ast.Module) -> None:
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom):
                self._import(statement)
            elif isinstance(statement, ast.Import):
                names = ", ".join(alias.name for alias in statement.names)
                self._refuse("P020", statement, f"imports {names}: {_NOT_A_DOCUMENT}")
            elif isinstance(statement, ast.FunctionDef):
                self._function(statement)
            elif isinstance(statement, ast.Assign | ast.AnnAssign) or _is_text(statement):
                self._statement(statement)
            else:
                self._construct(statement)
        if not self._is_library and self._found.procedures != 1 and not self._found.refused:
            self._found.refused.append(Refused("P050", 1, not_one(self._found.procedures)))

    def _refuse(self, code: str, node: ast.AST, text: str) -> None:
        if len(self._found.refused) < 100:
            self._found.refused.append(Refused(code, getattr(node, "lineno", 1), text))

    def _construct(self, node: ast.AST) -> None:
        kind = type(node).__name__
        self._refuse("P030", node, _HINTS.get(kind, f"{kind} isn't one of the forms of a protocol"))

    def _import(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        library = module.startswith(f"{LIBRARY}.") and module.count(".") == 2
        allowed = IMPORTS.get(module)
        if node.level or (allowed is None and not library):
            text = f"imports from {'.' * node.level}{module}: {_NOT_A_DOCUMENT}"
            self._refuse("P020", node, text)
            return
        if library:
            self._found.library.append((module, node.lineno))
        for alias in node.names:
            if alias.asname is not None or alias.name == "*":
                text = f"imports {alias.name!r} not by its own name: write from ... import NAME"
                self._refuse("P020", node, text)
            elif allowed is not None and alias.name not in allowed:
                text = f"{module} has no {alias.name!r} for protocols{_near(alias.name, allowed)}"
                self._refuse("P040", node, text)
            elif alias.name.startswith("_"):
                self._refuse("P020", node, f"imports {alias.name!r}, which is no author's word")
            elif module != "__future__":
                self._imported.add(alias.name)

    def _function(self, node: ast.FunctionDef) -> None:
        if node.decorator_list:
            self._decorator(node)
        arguments = node.args
        if arguments.vararg or arguments.kwarg:
            self._refuse("P030", node, f"{node.name!r} takes any arguments: name them")
        inside = {one.arg for one in _parameters(arguments)}
        for one in _parameters(arguments):
            self._new_name(one, one.arg)
            if one.annotation is not None:
                self._annotation(one.annotation)
        for default in (*arguments.defaults, *(d for d in arguments.kw_defaults if d)):
            self._expression(default)
        if node.returns is not None:
            self._annotation(node.returns)
        outer, literals = set(self._names), set(self._literals)
        self._names |= inside
        self._literals -= inside
        self._body(node.body)
        self._names, self._literals = outer, literals
        self._define(node, node.name)

    def _decorator(self, node: ast.FunctionDef) -> None:
        made = node.decorator_list[0]
        is_procedure = (
            isinstance(made, ast.Call)
            and isinstance(made.func, ast.Name)
            and made.func.id == "procedure"
            and "procedure" in self._imported
        )
        if not is_procedure or len(node.decorator_list) > 1 or self._is_library:
            self._refuse("P030", node, "only @procedure(...) may stand above a function")
            return
        assert isinstance(made, ast.Call)
        self._found.procedures += 1
        self._expression(made)

    def _body(self, body: list[ast.stmt]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse("P030", body[0], "nested too deeply")
        else:
            for statement in body:
                self._statement(statement)
        self._depth -= 1

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Call() | ast.Constant()):
                self._expression(node.value)
            case ast.Assign(targets=[target]):
                self._expression(node.value)
                self._target(target, literal=isinstance(node.value, ast.Tuple | ast.List))
            case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                self._annotation(node.annotation)
                self._expression(value)
                self._target(target, literal=isinstance(value, ast.Tuple | ast.List))
            case ast.With():
                for item in node.items:
                    if not isinstance(item.context_expr, ast.Call):
                        self._construct(item.context_expr)
                    self._expression(item.context_expr)
                    if item.optional_vars is not None:
                        self._target(item.optional_vars, literal=False)
                self._body(node.body)
            case ast.For(orelse=[]):
                self._for(node)
            case ast.Return():
                if node.value is not None:
                    self._expression(node.value)
            case ast.Pass():
                pass
            case _:
                self._construct(node)

    def _for(self, node: ast.For) -> None:
        over = node.iter
        if (
            isinstance(over, ast.Call)
            and isinstance(over.func, ast.Name)
            and over.func.id == "enumerate"
            and over.args
        ):
            for keyword in over.keywords:
                self._expression(keyword.value)
            over = over.args[0]
        turns = self._turns(over)
        if turns is None:
            self._refuse("P030", node, "for runs over a literal: write its values in brackets")
            return
        self._expression(over)
        self._target(node.target, literal=False)
        self._repeats *= max(1, turns)
        if self._repeats > LARGEST_REPETITION:
            self._refuse("P030", node, f"repeats more than {LARGEST_REPETITION} times")
        else:
            self._body(node.body)
        self._repeats //= max(1, turns)

    def _turns(self, over: ast.expr) -> int | None:
        match over:
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return len(elements)
            case ast.Name(id=name) if name in self._literals:
                return LARGEST_REPETITION // 20
            case ast.Call(func=ast.Name(id="range"), args=ends, keywords=[]):
                counts = [
                    end.value
                    for end in ends
                    if isinstance(end, ast.Constant) and type(end.value) is int
                ]
                if len(counts) != len(ends) or not 1 <= len(counts) <= 2:
                    return None
                return max(0, counts[-1] - (counts[0] if len(counts) > 1 else 0))
            case _:
                return None

    def _target(self, node: ast.expr, *, literal: bool) -> None:
        if isinstance(node, ast.Name):
            self._define(node, node.id)
            (self._literals.add if literal else self._literals.discard)(node.id)
        elif isinstance(node, ast.Tuple):
            for element in node.elts:
                self._target(element, literal=False)
        else:
            self._construct(node)

    def _define(self, node: ast.AST, name: str) -> None:
        self._new_name(node, name)
        self._names.add(name)

    def _new_name(self, node: ast.AST, name: str) -> None:
        if name.startswith("_"):
            self._refuse("P040", node, f"{name!r} is no name; begin it with a letter")
        if name in self._imported or name in BUILTINS:
            self._refuse("P040", node, f"{name!r} has a meaning already; choose another name")

    def _annotation(self, node: ast.expr) -> None:
        """Admit names, ``Range[Volume]``, ``tuple[Container, ...]``, ``A | B`` and None."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                if part.id not in self._imported | {"bool", "int", "str", "tuple"}:
                    self._unknown(part, part.id)
            elif isinstance(part, ast.Constant):
                if part.value is not None and part.value is not Ellipsis:
                    self._construct(part)
            elif not isinstance(part, ast.Subscript | ast.Tuple | ast.Load | ast.BinOp | ast.BitOr):
                self._construct(part)

    def _expression(self, node: ast.expr) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse("P030", node, "nested too deeply")
        else:
            self._admit(node)
        self._depth -= 1

    def _admit(self, node: ast.expr) -> None:
        match node:
            case ast.Constant():
                self._constant(node)
            case ast.Name():
                if node.id not in self._imported | self._names | BUILTINS:
                    self._unknown(node, node.id)
            case ast.Attribute():
                self._expression(node.value)
                if node.attr not in WORDS:
                    self._unknown(node, node.attr, after_dot=True)
            case ast.Call():
                self._call(node)
            case ast.BinOp():
                self._sum_or_quantity(node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
                self._expression(node.operand)
            case ast.Tuple() | ast.List():
                for element in node.elts:
                    self._expression(element)
            case ast.Subscript(slice=ast.Constant(value=int())):
                self._expression(node.value)
            case ast.JoinedStr():
                self._text(node)
            case _:
                self._construct(node)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                self._refuse("P030", node, f"a text of {len(value)} characters")
        elif isinstance(value, bool) or value is None:
            pass
        elif isinstance(value, int | float):
            if not abs(value) <= LARGEST_NUMBER:
                self._refuse("P030", node, "a number beyond 10^15")
        else:
            self._refuse("P030", node, f"{type(value).__name__} isn't one of a protocol's values")

    def _call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name | ast.Attribute):
            self._construct(node.func)
            return
        self._expression(node.func)
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                if not isinstance(argument.value, ast.Name):
                    self._construct(argument)
                    continue
                argument = argument.value
            self._expression(argument)
        for keyword in node.keywords:
            if keyword.arg is None:
                self._refuse("P030", node, "** hides what is given: name each argument")
            self._expression(keyword.value)

    def _sum_or_quantity(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Mult):
            sides = node.left, node.right
            if not any(self._is_unit(side) for side in sides):
                unknown = [s for s in sides if isinstance(s, ast.Name) and not self._known(s.id)]
                if not unknown:
                    text = "only a number and a unit are multiplied, e.g. 250 * mL"
                    self._refuse("P030", node, text)
        elif not isinstance(node.op, ast.Add | ast.Sub):
            self._refuse("P030", node, "only +, - and a number times a unit are written out")
            return
        self._expression(node.left)
        self._expression(node.right)

    def _is_unit(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in UNITS and node.id in self._imported

    def _known(self, name: str) -> bool:
        return name in self._imported or name in self._names

    def _text(self, node: ast.JoinedStr) -> None:
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                plain = isinstance(part.value, ast.Name) and part.conversion == -1
                if not plain or part.format_spec is not None:
                    self._refuse("P030", node, "only {name} may stand in a text")
                    continue
                self._expression(part.value)
            else:
                self._expression(part)

    def _unknown(self, node: ast.AST, name: str, *, after_dot: bool = False) -> None:
        known = WORDS if after_dot else self._imported | self._names | UNITS | BUILTINS
        if not after_dot and name in UNITS | DIMENSIONS | {"between"}:
            self._refuse("P040", node, f"{name!r} isn't imported; add it from {QUANTITIES}")
            return
        self._refuse("P040", node, f"unknown word {name!r}{_near(name, known)}")


def not_one(procedures: int) -> str:
    """Return the complaint about a file that holds no procedure, or several."""
    if not procedures:
        return "it holds no procedure; write one: a function under @procedure(...)"
    return f"it holds {procedures} procedures, not one; move the others to files of their own"


def _near(word: str, known: frozenset[str] | set[str]) -> str:
    meant = _MEANT.get(word.lower().removesuffix("s"), "")
    same = [meant] if meant in known else []
    same += [one for one in sorted(known) if one.lower() == word.lower()]
    near = same or get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from arguments.posonlyargs
    yield from arguments.args
    yield from arguments.kwonlyargs


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
