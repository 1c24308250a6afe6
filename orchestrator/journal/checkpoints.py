"""Signed checkpoints: who says that the journal had this size and this root.

A checkpoint is a signed note, readable by people and by other people's tools:

    cellwright/cell-a                                        origin
    1042                                                     how many events
    XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=             root over them
    epoch 0
    at 2026-11-23T10:07:13.123456Z
    state 0.1.0+4d1c60a2b7e39f58 9f86d081884c7d65...         only where state was folded

    — cellwright/cell-a Wl8zOQ...                            Ed25519 over the lines above

Follows the C2SP formats signed-note and tlog-checkpoint, with RFC 8032 keys. A
public key that is of low order or isn't in canonical form is refused: some
signatures under such keys fit any text.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from orchestrator.journal.folders import sync_folder
from orchestrator.journal.merkle import HASH_BYTES
from orchestrator.kernel.errors import RefusedError
from orchestrator.kernel.identifiers import HostId
from orchestrator.kernel.instants import Instant

_ED25519: Final = b"\x01"  # signed-note, signature types
_KEY_BYTES: Final = 32  # RFC 8032, section 5.1.5
_SIGNATURE_BYTES: Final = 64  # RFC 8032, section 5.1.6
_KEY_ID_BYTES: Final = 4  # signed-note, key ID
_PRIVATE_PREFIX: Final = "PRIVATE+KEY+"

_P: Final = 2**255 - 19  # RFC 8032, section 5.1
_D: Final = -121665 * pow(121666, -1, _P) % _P


class NoteError(ValueError):
    """A text isn't a checkpoint, or isn't signed by the key that was asked for."""


class KeyRefusedError(RefusedError):
    """A key file can't be trusted or doesn't fit. Nothing was signed."""

    code = "refused.journal-key"


@dataclass(frozen=True, slots=True)
class StateStatement:
    """Which state this engine version had folded when all events of a checkpoint were in it."""

    engine_version: str
    digest: str
    """SHA-256 of the canonical folded state, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a journal held at one moment."""

    origin: str
    size: int
    root: bytes
    epoch: int
    at: Instant
    state: StateStatement | None = None

    def text(self) -> str:
        """Return the lines that are signed."""
        lines = [
            self.origin,
            str(self.size),
            b64encode(self.root).decode(),
            f"epoch {self.epoch}",
            f"at {self.at}",
        ]
        if self.state is not None:
            lines.append(f"state {self.state.engine_version} {self.state.digest}")
        return "\n".join(lines) + "\n"

    @classmethod
    def read(cls, text: str) -> Checkpoint:
        """Return the checkpoint written as ``text``.

        Raises:
            NoteError: It isn't one, or isn't written as ``text()`` writes it.
        """
        try:
            origin, size, root, *extension = text.split("\n")[:-1]
            named = dict(line.split(" ", 1) for line in extension)
            state = None
            if "state" in named:
                version, digest = named["state"].split(" ")
                state = StateStatement(version, digest)
            checkpoint = cls(
                origin=origin,
                size=int(size),
                root=b64decode(root, validate=True),
                epoch=int(named["epoch"]),
                at=Instant.read(named["at"]),
                state=state,
            )
        except (KeyError, ValueError) as wrong:
            raise NoteError("it isn't a checkpoint") from wrong
        if checkpoint.text() != text or len(checkpoint.root) != HASH_BYTES:
            raise NoteError("it isn't a checkpoint in its one written form")
        return checkpoint


class PublicKey:
    """The name and key by which a journal's checkpoints are checked."""

    def __init__(self, name: str, raw: bytes) -> None:
        """Take a key, unless it can't tell one signed text from another.

        Raises:
            NoteError: ``raw`` is no point of the curve, isn't in canonical form, or is of
                low order; or ``name`` can't stand in a note.
        """
        if not name or not name.isprintable() or {" ", "+"} & set(name):
            raise NoteError(f"{name!r} can't be the name of a key")
        _refuse_weak(raw)
        self.name: Final = name
        self.raw: Final = raw
        self.key_id: Final = _key_id(name, raw)
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @classmethod
    def read(cls, text: str) -> PublicKey:
        """Return the key written as ``name+key id+key``, the form of ``journal.pub``.

        Raises:
            NoteError: It isn't of that form, or ``PublicKey`` refuses it.
        """
        name, raw = _read_key(text)
        return cls(name, raw)

    def __str__(self) -> str:
        return _written_key(self.name, self.key_id, self.raw)

    def open(self, note: str) -> Checkpoint:
        """Return the checkpoint in ``note``, which this key has signed.

        Raises:
            NoteError: The note is damaged, or another key signed it.
        """
        text, blank, signatures = note.partition("\n\n")
        text += "\n"
        if not blank or not signatures.endswith("\n"):
            raise NoteError("it isn't a signed note")
        signers: list[str] = []
        for line in signatures[:-1].split("\n"):
            dash, name, coded = _three(line)
            try:
                signature = b64decode(coded, validate=True)
            except ValueError as wrong:
                raise NoteError("its signature line is damaged") from wrong
            if dash != "—" or len(signature) <= _KEY_ID_BYTES:
                raise NoteError("its signature line is damaged")
            key_id, signature = signature[:_KEY_ID_BYTES], signature[_KEY_ID_BYTES:]
            signers.append(f"{name}+{key_id.hex()}")
            if name == self.name and key_id == self.key_id:
                try:
                    self._key.verify(signature, text.encode())
                except InvalidSignature as wrong:
                    raise NoteError("its signature doesn't fit its text") from wrong
                return Checkpoint.read(text)
        raise NoteError(
            f"it is signed by another key ({', '.join(signers)}), "
            f"not by {self.name}+{self.key_id.hex()}"
        )


class Signer:
    """The journal's own key, which signs its checkpoints."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Make the signer from the 32 bytes that are its private key."""
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._seed = seed
        self.public: Final = PublicKey(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def of_entropy(cls, host: HostId, entropy: Callable[[int], bytes]) -> Signer:
        """Return a signer for ``host`` whose key is ``entropy(32)``."""
        return cls(origin_of(host), entropy(_KEY_BYTES))

    @classmethod
    def stored(cls, directory: Path, host: HostId, entropy: Callable[[int], bytes]) -> Signer:
        """Return the signer kept in ``directory``; make and keep it if there is none.

        The private key is ``journal.key``, readable by its owner only, the public one
        ``journal.pub``.

        Raises:
            KeyRefusedError: The key is damaged, is another host's, others may read it, or
                ``journal.pub`` is another key's.
        """
        secret, public = directory / "journal.key", directory / "journal.pub"
        if not secret.exists():
            if public.exists():
                raise KeyRefusedError(
                    f"make a key in {directory}",
                    why="journal.pub is there, so its journal.key was lost or not mounted",
                    do_next="Bring journal.key back; for a new journal take an empty folder",
                )
            signer = cls.of_entropy(host, entropy)
            _keep_text(secret, signer.written_secret(), mode=0o600)
            _keep_text(public, f"{signer.public}\n", mode=0o644)
            return signer
        if secret.stat().st_mode & 0o077:
            raise KeyRefusedError(
                f"use {secret}",
                why="others than its owner may read it",
                do_next=f"Find out who read it, then: chmod 600 {secret}",
            )
        try:
            written = secret.read_text(encoding="utf-8").strip().removeprefix(_PRIVATE_PREFIX)
            name, seed = _read_key(written, is_private=True)
            signer = cls(name, seed)
        except ValueError as wrong:
            raise KeyRefusedError(
                f"read {secret}", why=str(wrong), do_next="Bring back the file from its backup"
            ) from wrong
        if name != origin_of(host):
            raise KeyRefusedError(
                f"use {secret} on host {host}",
                why=f"it is the key of {name}",
                do_next="Give the data folder of this host",
            )
        if not public.exists():
            _keep_text(public, f"{signer.public}\n", mode=0o644)
        elif public.read_text(encoding="utf-8").strip() != str(signer.public):
            raise KeyRefusedError(
                f"use {secret}",
                why=f"{public.name} beside it is another key's",
                do_next="Find out which of the two was exchanged",
            )
        return signer

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return ``checkpoint`` as a signed note."""
        text = checkpoint.text()
        signature = self.public.key_id + self._key.sign(text.encode())
        return f"{text}\n— {self.public.name} {b64encode(signature).decode()}\n"

    def written_secret(self) -> str:
        """Return the private key as ``journal.key`` holds it."""
        written = _written_key(self.public.name, self.public.key_id, self._seed)
        return f"{_PRIVATE_PREFIX}{written}\n"


def origin_of(host: HostId) -> str:
    """Return the origin line, which is also the key's name, of the journal of ``host``."""
    return f"cellwright/{host}"


def _key_id(name: str, raw: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + raw).digest()[:_KEY_ID_BYTES]


def _written_key(name: str, key_id: bytes, raw: bytes) -> str:
    return f"{name}+{key_id.hex()}+{b64encode(_ED25519 + raw).decode()}"


def _read_key(text: str, *, is_private: bool = False) -> tuple[str, bytes]:
    try:
        name, key_id, coded = text.strip().split("+", 2)
        raw = b64decode(coded, validate=True)
    except ValueError as wrong:
        raise NoteError("it isn't a key of the form name+key id+key") from wrong
    if raw[:1] != _ED25519 or len(raw) != 1 + _KEY_BYTES:
        raise NoteError("it isn't an Ed25519 key")
    raw = raw[1:]
    public = raw
    if is_private:
        public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    if key_id != _key_id(name, public).hex():
        raise NoteError("its key id doesn't fit its name and key")
    return name, raw


def _three(line: str) -> tuple[str, str, str]:
    dash, _, rest = line.partition(" ")
    name, _, coded = rest.partition(" ")
    return dash, name, coded


def _refuse_weak(raw: bytes) -> None:
    """Refuse what isn't the canonical form of a point of more than small order."""
    if len(raw) != _KEY_BYTES:
        raise NoteError(f"a public key has {_KEY_BYTES} bytes, not {len(raw)}")
    y = int.from_bytes(raw, "little") & (1 << 255) - 1
    if y >= _P:
        raise NoteError("the public key isn't in canonical form")
    y2 = y * y % _P
    # The points of order 1, 2, 4 and 8 are those with y = 1, -1, 0 and, since twice a
    # point of order 8 has y = 0, with d y^4 + 2 y^2 - 1 = 0.
    if y * (y2 - 1) * (_D * y2 * y2 + 2 * y2 - 1) % _P == 0:
        raise NoteError("the public key is of low order: its signatures would fit any text")
    x2 = (y2 - 1) * pow(_D * y2 + 1, -1, _P) % _P
    if pow(x2, (_P - 1) // 2, _P) != 1:
        raise NoteError("the public key is no point of the curve")


def _keep_text(path: Path, text: str, *, mode: int) -> None:
    """Write a new file whole or not at all, durably."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    file = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)
    unfinished.rename(path)
    sync_folder(path.parent)
