"""Exactly the written table may be done, and second words come from second people.

Method: the table that people read, ``docs/reference/roles.md``, is written apart from the code;
every role is tried on every command against it, and every relation of persons on the rules that
need two.
"""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path

import pytest

from orchestrator.kernel.desks import SignatureMeaning
from orchestrator.kernel.errors import NotAuthorisedError, RefusedError, SamePersonError
from orchestrator.kernel.identifiers import UserId
from orchestrator.people.roles import (
    CONFLICTS,
    MAY,
    SIGNED_AS,
    Role,
    may,
    refuse_conflicting_roles,
    require,
    require_other_person,
    require_recipe_signer,
    require_second_person,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "roles.md"
A, B, C = (UserId(f"U-000{n}") for n in (1, 2, 3))


def rows_under(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading of the page, its head first."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


@pytest.mark.requirement("SIG-09")
def test_every_role_may_give_exactly_the_commands_of_the_written_table() -> None:
    head, *rows = rows_under("Who may give which command")
    assert set(head[1:]) == set(Role)
    written = {
        (row[0], role): cell == "x" for row in rows for role, cell in zip(head, row, strict=True)
    }
    assert {row[0] for row in rows} == set(MAY)
    for command, role in product(MAY, Role):
        assert may([role], command) == written[command, role], f"{role}: {command}"


@pytest.mark.requirement("SIG-09")
def test_what_is_not_in_the_table_nobody_may() -> None:
    for command in ("", "delete_record", "HOLD", "hold ", "edit_trail"):
        assert not may(list(Role), command)
        with pytest.raises(NotAuthorisedError, match="no such command"):
            require(command, list(Role), who="U-0001")
    assert not may([], "view")
    assert not may(["king", ""], "hold")


def test_a_refusal_says_which_role_it_needs_and_whom_to_ask() -> None:
    require("approve_recipe", ["qualified_person"], who="U-0004")
    with pytest.raises(NotAuthorisedError) as refused:
        require("approve_recipe", ["technician", "verifier"], who="U-0004")
    assert str(refused.value) == (
        "approve recipe, by U-0004: it needs the role quality_reviewer or qualified_person; "
        "U-0004 has technician, verifier. Ask a quality_reviewer or qualified_person."
    )


@pytest.mark.requirement("REC-08")
def test_no_command_edits_deletes_or_switches_off_the_record() -> None:
    forbidden = ("edit", "delete", "purge", "trail", "journal", "correct", "set_clock")
    assert not [command for command in MAY if any(word in command for word in forbidden)]


@pytest.mark.requirement("SIG-10")
def test_an_administrator_gives_no_command_on_material_or_its_record() -> None:
    assert {command for command in MAY if may(["administrator"], command)} == {"add_person", "view"}


@pytest.mark.requirement("SIG-10")
def test_exactly_the_written_pairs_of_roles_conflict() -> None:
    written = {frozenset(row) for row in rows_under("Roles that no one person has together")[1:]}
    assert written == CONFLICTS
    for pair in combinations(Role, 2):
        if frozenset(pair) in written:
            with pytest.raises(RefusedError, match="no one person"):
                refuse_conflicting_roles("add a person", pair)
        else:
            refuse_conflicting_roles("add a person", pair)


def test_the_page_says_how_each_command_is_signed() -> None:
    _, *rows = rows_under("What is signed")
    assert {row[0]: tuple(row[1].split(", then ")) for row in rows} == dict(SIGNED_AS)
    assert set(SIGNED_AS) <= set(MAY)


@pytest.mark.requirement("SIG-12")
@pytest.mark.parametrize("role", list(Role))
def test_who_performed_never_verifies_whatever_the_role(role: Role) -> None:
    with pytest.raises(SamePersonError):
        require_second_person("verify T-1", performer=A, verifier=A, verifier_roles=list(Role))
    if role in (Role.VERIFIER, Role.SUPERVISOR):
        require_second_person("verify T-1", performer=A, verifier=B, verifier_roles=[role])
    else:
        with pytest.raises(NotAuthorisedError):
            require_second_person("verify T-1", performer=A, verifier=B, verifier_roles=[role])


def test_what_the_system_began_anyone_may_end() -> None:
    require_other_person("close D-1", first=None, did="opened", now=A, does="closes it")
    with pytest.raises(SamePersonError, match="U-0001 opened it, and another person closes it"):
        require_other_person("close D-1", first=A, did="opened", now=A, does="closes it")


@pytest.mark.requirement("CHG-07")
def test_of_all_assignments_of_three_people_only_three_different_ones_approve() -> None:
    done: set[tuple[UserId, UserId, UserId]] = set()
    for author, reviewer, approver in product((A, B, C), repeat=3):
        signers = {"authored": str(author)}
        try:
            require_recipe_signer("review", signers, "reviewed", reviewer)
            signers["reviewed"] = reviewer
            require_recipe_signer("approve", signers, "approved", approver)
        except SamePersonError:
            continue
        done.add((author, reviewer, approver))
    assert len(done) == 6
    assert all(len(set(three)) == 3 for three in done)


def test_a_recipe_is_signed_in_turn_once_and_not_after_a_rejection() -> None:
    out_of_turn: list[tuple[dict[str, str], SignatureMeaning]] = [
        ({}, "reviewed"),
        ({"authored": A}, "approved"),
        ({"authored": A}, "authored"),
        ({"authored": A, "reviewed": B}, "reviewed"),
        ({"authored": A, "rejected": B}, "reviewed"),
        ({"authored": A, "reviewed": B, "rejected": C}, "approved"),
    ]
    for signers, meaning in out_of_turn:
        with pytest.raises(RefusedError) as refused:
            require_recipe_signer("sign", signers, meaning, UserId("U-0009"))
        assert type(refused.value) is RefusedError
    require_recipe_signer("sign", {"authored": A}, "rejected", B)
