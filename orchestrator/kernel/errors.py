"""What can go wrong, sorted by what happened to the material.

    RefusedError     nothing happened           ask again, corrected
    FailedError      known effect, recorded     the phase's recovery decides
    UncertainError   unknown effect             hold; never retried
    IntegrityError   the record is broken       every unit to its safe state, stop

Each error says what was asked, why it didn't come about, and one thing to do next. A
recorded error is raised again as the same type (``error_from_record``), so each class
has a ``code`` that never changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ProcessError(Exception):
    """An error that operators see. Raise one of the four families, never this."""

    code: ClassVar[str] = "process"
    by_code: ClassVar[dict[str, type[ProcessError]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Enter the class under its own code, so that records can name it."""
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__ or cls.code in ProcessError.by_code:
            raise TypeError(f"{cls.__name__} needs a code of its own, unlike {cls.code!r}")
        ProcessError.by_code[cls.code] = cls

    def __init__(self, what: str, *, why: str, do_next: str) -> None:
        """Make the error.

        Args:
            what: What was asked, of which equipment, with numbers and units.
            why: The rule or limit that stands against it, and its source.
            do_next: One action for the person who reads this.
        """
        assert type(self) is not ProcessError, "raise the family that says what happened"
        assert all((what, why, do_next)), "an error says what, why and what to do next"
        super().__init__(what, why, do_next)
        self.what = what
        self.why = why
        self.do_next = do_next

    def __str__(self) -> str:
        return f"{self.what}: {_sentence(self.why)} {_sentence(self.do_next)}"

    def __reduce__(self) -> tuple[Any, tuple[dict[str, str]]]:
        return error_from_record, (self.as_record(),)

    def as_record(self) -> dict[str, str]:
        """Return the error as a canonical value for the journal."""
        return {
            "code": self.code,
            "what": self.what,
            "why": self.why,
            "do_next": self.do_next,
        }


class RefusedError(ProcessError):
    """Nothing happened. Ask again, corrected."""

    code = "refused"


class IdentityRefusedError(RefusedError):
    """What was scanned isn't what this step needs."""

    code = "refused.identity"


class LimitRefusedError(RefusedError):
    """A value lies outside a qualified, proven or stated range."""

    code = "refused.limit"


class InterlockRefusedError(RefusedError):
    """An interlock doesn't permit the act now."""

    code = "refused.interlock"


class NotAuthorisedError(RefusedError):
    """This person may not give this command."""

    code = "refused.not-authorised"


class SamePersonError(NotAuthorisedError):
    """The second person is the first one."""

    code = "refused.same-person"


class SignatureDeclinedError(RefusedError):
    """The person asked for a signature said no."""

    code = "refused.signature-declined"


class RecipeRefusedError(RefusedError):
    """The recipe can't be approved, ordered or run as it is."""

    code = "refused.recipe"


class ConfigurationRefusedError(RefusedError):
    """A process cell file, a sheet or a call of the command is wrong."""

    code = "refused.configuration"


class IllegalTransitionError(RefusedError):
    """The command isn't legal in the present state."""

    code = "refused.illegal-transition"


class FailedError(ProcessError):
    """Something happened, is known and is recorded; it isn't what was asked."""

    code = "failed"


class DeviceFaultError(FailedError):
    """The instrument reports a fault, and its effect is known."""

    code = "failed.device-fault"


class ResultOutOfRangeError(FailedError):
    """A measurement was made and lies outside its expected range."""

    code = "failed.result-out-of-range"


class StoppedError(FailedError):
    """It was stopped on command; the part that was done is known."""

    code = "failed.stopped"


class UncertainError(ProcessError):
    """What happened is unknown. Held until a person decides; never retried."""

    code = "uncertain"


class OutcomeUnknownError(UncertainError):
    """A command left, and whether or how far it was carried out can't be told."""

    code = "uncertain.outcome-unknown"


class ContainerLostError(UncertainError):
    """A container isn't where it was last seen."""

    code = "uncertain.container-lost"


class IntegrityError(ProcessError):
    """The record is broken. Every unit goes to its safe state and the host stops."""

    code = "integrity"


class BrokenChainError(IntegrityError):
    """Stored events don't match their hashes, their head or their witness."""

    code = "integrity.broken-chain"


class RecipeMismatchError(IntegrityError):
    """A batch's recipe isn't the one that its events name."""

    code = "integrity.recipe-mismatch"


class JournalLatchedError(IntegrityError):
    """A write or sync of the journal failed; nothing more is recorded or done."""

    code = "integrity.journal-latched"


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text.rstrip('.')}."


def error_from_record(record: Mapping[str, Any]) -> ProcessError:
    """Return the error that ``as_record`` wrote, as the same type.

    Raises:
        IntegrityError: The record has other fields, or a code this version doesn't know.
    """
    kind = ProcessError.by_code.get(str(record.get("code")))
    texts = [record.get(field) for field in ("what", "why", "do_next")]
    if kind is None or len(record) != 4 or not all(isinstance(t, str) and t for t in texts):
        raise IntegrityError(
            f"read the recorded error {record.get('code')!r}",
            why="it isn't a code with what, why and do_next that this version knows",
            do_next="Verify the journal, and open it with the version that wrote it",
        )
    what, why, do_next = (str(text) for text in texts)
    return kind(what, why=why, do_next=do_next)
