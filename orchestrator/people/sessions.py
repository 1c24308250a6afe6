"""Sessions: a token stands for a person who gave the password once.

The token is 32 random bytes; the record holds its SHA-256 only, so nobody can take a session
from the journal. Sessions are folded from the journal and so outlive the daemon's restart. A
session lets a person give commands; it never signs (``signatures``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from orchestrator.journal.events import SessionClosed, SessionOpened
from orchestrator.kernel.errors import NotAuthorisedError
from orchestrator.kernel.identifiers import UserId
from orchestrator.people.users import Present

TOKEN_BYTES: Final = 32

_TOKEN: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class NoSessionError(NotAuthorisedError):
    """What a terminal sent opens no session. Nothing happened; log in."""

    code = "refused.not-authorised.no-session"


@dataclass(frozen=True, slots=True)
class Opened:
    """Journal ``event``, then hand ``token`` to the terminal; it is kept nowhere else."""

    event: SessionOpened
    token: str

    def __repr__(self) -> str:
        return f"Opened(event={self.event!r}, token=not shown)"


def open_session(present: Present, *, terminal: str, entropy: Callable[[int], bytes]) -> Opened:
    """Return a new session of a person who was just recognised.

    Args:
        present: What ``recognise`` said.
        terminal: Where the person sits.
        entropy: Gives so many random bytes; ``secrets.token_bytes`` in production.
    """
    token = entropy(TOKEN_BYTES).hex()
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(f"the entropy gave {len(token) // 2} bytes, not {TOKEN_BYTES}")
    opened = SessionOpened(user=present.user, token_sha256=token_sha256(token), terminal=terminal)
    return Opened(opened, token)


def token_sha256(token: str) -> str:
    """Return what is kept of a token."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def holder_of(sessions: Mapping[str, str], token: str) -> UserId:
    """Return whose session a token opens.

    Args:
        sessions: User by the SHA-256 of their token, of the sessions that are open.
        token: What the terminal sent.

    Raises:
        NoSessionError: No session is open under it. Nothing happened.
    """
    user = sessions.get(token_sha256(token))
    if user is None:
        raise NoSessionError(
            "give a command",
            why="no session is open under what this terminal sent; it was closed, or never opened",
            do_next="Log in",
        )
    return UserId(user)


def close_session(sessions: Mapping[str, str], token: str, *, why: str) -> SessionClosed:
    """Return the event that ends the session of ``token``.

    Raises:
        NoSessionError: No session is open under it. Nothing happened.
    """
    holder_of(sessions, token)
    return SessionClosed(token_sha256=token_sha256(token), why=why)
