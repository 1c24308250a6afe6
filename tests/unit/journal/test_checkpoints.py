"""A checkpoint says what it says, signed by the journal's key and by no other.

Method: notes changed in every place, keys of the small-order kind that fit any text,
and key files as a careless or hostile person would leave them.
"""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest

from orchestrator.journal.checkpoints import (
    Checkpoint,
    KeyRefusedError,
    NoteError,
    PublicKey,
    Signer,
    StateStatement,
)
from orchestrator.kernel.identifiers import HostId
from orchestrator.kernel.instants import Instant
from tests.unit.journal.builders import HOST, a_signer, entropy

CHECKPOINT = Checkpoint(
    origin="cellwright/cell-a",
    size=1042,
    root=bytes(range(32)),
    epoch=0,
    at=Instant.read("2026-11-23T10:07:13.123456Z"),
    state=StateStatement("0.1.0", "ab" * 32),
)
P = 2**255 - 19


def test_a_checkpoint_is_written_as_a_signed_note() -> None:
    signer = a_signer()
    origin, size, root, epoch, at, state, blank, signature, end = signer.sign(CHECKPOINT).split(
        "\n"
    )
    assert (origin, size) == ("cellwright/cell-a", "1042")
    assert root == b64encode(bytes(range(32))).decode()
    assert (epoch, at) == ("epoch 0", "at 2026-11-23T10:07:13.123456Z")
    assert state == f"state 0.1.0 {'ab' * 32}"
    assert (blank, end) == ("", "")
    assert signature.startswith("— cellwright/cell-a ")
    assert signer.public.open(signer.sign(CHECKPOINT)) == CHECKPOINT


def test_the_published_example_of_a_signed_note_is_accepted_up_to_its_content() -> None:
    """Source: the example in the documentation of golang.org/x/mod/sumdb/note."""
    public = PublicKey.read("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
        "\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
        "pRZb6KE6RyyBwJnAM=\n"
    )
    with pytest.raises(NoteError, match=r"it isn't a checkpoint$"):
        public.open(note)
    with pytest.raises(NoteError, match="its signature doesn't fit its text"):
        public.open(note.replace("answer", "question"))


def test_any_changed_character_of_a_note_is_seen() -> None:
    signer = a_signer()
    note = signer.sign(CHECKPOINT)
    for at, character in enumerate(note):
        for other in {"x", "1", "\n", " "} - {character}:
            with pytest.raises(NoteError):
                signer.public.open(note[:at] + other + note[at + 1 :])
        with pytest.raises(NoteError):
            signer.public.open(note[:at])


def test_another_keys_signature_is_refused_by_name() -> None:
    with pytest.raises(NoteError, match=r"signed by another key \(cellwright/cell-a\+"):
        a_signer().public.open(a_signer("another").sign(CHECKPOINT))


def test_a_note_with_a_witness_signature_beside_the_own_one_opens() -> None:
    note = a_signer().sign(CHECKPOINT)
    cosigned = note + a_signer("witness").sign(CHECKPOINT).splitlines()[-1] + "\n"
    assert a_signer().public.open(cosigned) == CHECKPOINT
    assert a_signer("witness").public.open(cosigned) == CHECKPOINT


def test_the_same_entropy_gives_the_same_key_and_note() -> None:
    assert a_signer().sign(CHECKPOINT) == a_signer().sign(CHECKPOINT)
    assert str(a_signer().public) != str(a_signer("another").public)


# Keys that fit any text --------------------------------------------------------------


def point(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
ORDER_8_NEGATIVE = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


@pytest.mark.parametrize(
    "raw",
    [
        point(0),
        point(0, 1),
        point(1),
        point(1, 1),
        point(P - 1),
        point(P - 1, 1),
        ORDER_8,
        ORDER_8[:-1] + bytes([ORDER_8[-1] | 0x80]),
        ORDER_8_NEGATIVE,
        ORDER_8_NEGATIVE[:-1] + bytes([ORDER_8_NEGATIVE[-1] | 0x80]),
    ],
)
def test_a_public_key_of_low_order_is_refused(raw: bytes) -> None:
    with pytest.raises(NoteError, match="low order"):
        PublicKey("cellwright/cell-a", raw)


@pytest.mark.parametrize("y", [P, P + 1, P + 18, 2**255 - 1])
def test_a_public_key_not_in_canonical_form_is_refused(y: int) -> None:
    with pytest.raises(NoteError, match="canonical form"):
        PublicKey("cellwright/cell-a", point(y))


def test_a_public_key_off_the_curve_is_refused() -> None:
    with pytest.raises(NoteError, match="no point of the curve"):
        PublicKey("cellwright/cell-a", point(2))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cellwright/cell-a",
        "cellwright/cell-a+00000000+!",
        "cellwright/cell-a+00000000+AA==",
        f"cellwright/cell-b+{str(a_signer().public).partition('+')[2]}",
    ],
)
def test_a_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        PublicKey.read(text)


# Key files ---------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    made = Signer.stored(tmp_path, HOST, os.urandom)
    assert (tmp_path / "journal.key").stat().st_mode & 0o777 == 0o600
    again = Signer.stored(tmp_path, HOST, os.urandom)
    assert str(again.public) == str(made.public)
    assert PublicKey.read((tmp_path / "journal.pub").read_text()).raw == made.public.raw
    assert made.public.open(again.sign(CHECKPOINT)) == CHECKPOINT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.key", "journal.pub"]


def test_a_lost_public_key_is_written_again(tmp_path: Path) -> None:
    made = Signer.stored(tmp_path, HOST, os.urandom)
    (tmp_path / "journal.pub").unlink()
    Signer.stored(tmp_path, HOST, os.urandom)
    assert (tmp_path / "journal.pub").read_text() == f"{made.public}\n"


def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    Signer.stored(tmp_path, HOST, os.urandom)
    (tmp_path / "journal.key").chmod(0o640)
    with pytest.raises(KeyRefusedError, match="chmod 600"):
        Signer.stored(tmp_path, HOST, os.urandom)


def test_a_lost_private_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    Signer.stored(tmp_path, HOST, os.urandom)
    (tmp_path / "journal.key").unlink()
    with pytest.raises(KeyRefusedError, match="lost or not mounted"):
        Signer.stored(tmp_path, HOST, os.urandom)


def test_a_damaged_or_foreign_key_is_refused(tmp_path: Path) -> None:
    Signer.stored(tmp_path, HOST, os.urandom)
    with pytest.raises(KeyRefusedError, match="it is the key of cellwright/cell-a"):
        Signer.stored(tmp_path, HostId("cell-b"), os.urandom)
    (tmp_path / "journal.pub").write_text(f"{a_signer().public}\n")
    with pytest.raises(KeyRefusedError, match="another key's"):
        Signer.stored(tmp_path, HOST, entropy())
    (tmp_path / "journal.key").write_text("PRIVATE+KEY+cellwright/cell-a+00000000+AAAA\n")
    with pytest.raises(KeyRefusedError, match="isn't an Ed25519 key"):
        Signer.stored(tmp_path, HOST, os.urandom)
