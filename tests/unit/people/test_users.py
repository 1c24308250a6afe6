"""A person is one account for ever, passwords are only hashed, and guessing locks a name.

Method: people folded from the events that ``add_person`` returns; passwords hashed at a low cost,
and once at production's; tries counted as the fold counts them.
"""

from __future__ import annotations

import dataclasses
import pickle
import re
from typing import Any

import pytest

from orchestrator.journal.events import EVENTS
from orchestrator.kernel.errors import IntegrityError, NotAuthorisedError, RefusedError
from orchestrator.kernel.identifiers import UserId
from orchestrator.kernel.instants import Instant
from orchestrator.kernel.quantities import Duration, hour, minute, ms, second
from orchestrator.people import users
from orchestrator.people.users import (
    FIRST_LOCK,
    LONGEST_LOCK,
    TRIES,
    HashingCost,
    NotRecognised,
    Present,
    add_person,
    after_refusal,
    check_password,
    hash_secret,
    is_locked,
    locked_until,
    recognise,
    secret_of,
    user_of,
    verify_secret,
)
from tests.unit.people.builders import CHEAP, NOW, PASSWORD, SECRET, Someone, fold, present, staff

ADMINISTRATOR = UserId("U-0001")


def add(people: dict[str, Someone], **changed: Any) -> Any:
    asked: dict[str, Any] = {
        "login": "m.keller",
        "printed_name": "Mia Keller",
        "roles": ["technician"],
        "secret": SECRET,
        "by": ADMINISTRATOR,
    }
    return add_person(people, **{**asked, **changed})


def wrong_try(people: dict[str, Someone], login: str, at: Instant) -> NotRecognised:
    """Try a wrong password and fold what comes of it."""
    answer = recognise(people, login, right=False, terminal="desk", now=at)
    assert isinstance(answer, NotRecognised)
    if answer.event.user is not None:
        one = people[answer.event.user]
        one.refused, one.refused_at = after_refusal(one, at)
    return answer


# Passwords


def test_the_right_password_is_recognised_and_another_is_not() -> None:
    assert verify_secret(PASSWORD, SECRET, cost=CHEAP)
    assert not verify_secret(PASSWORD + " ", SECRET, cost=CHEAP)
    assert not verify_secret("", SECRET, cost=CHEAP)


def test_production_hashes_by_the_low_memory_profile_of_rfc_9106() -> None:
    secret = hash_secret(PASSWORD, salt=bytes(16))
    assert secret.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert verify_secret(PASSWORD, secret)


def test_the_same_salt_gives_the_same_hash_and_another_salt_another() -> None:
    assert hash_secret(PASSWORD, salt=bytes(range(16)), cost=CHEAP) == SECRET
    assert hash_secret(PASSWORD, salt=bytes(16), cost=CHEAP) != SECRET
    with pytest.raises(ValueError, match="16 bytes"):
        hash_secret(PASSWORD, salt=b"", cost=CHEAP)


def test_composed_and_decomposed_letters_are_one_password() -> None:
    secret = hash_secret("gr\u00fcn kite lemon", salt=bytes(16), cost=CHEAP)
    assert verify_secret("gru\u0308n kite lemon", secret, cost=CHEAP)


def test_half_a_surrogate_pair_is_a_wrong_password_like_any_other() -> None:
    assert not verify_secret("\ud800 kite lemon orbit", SECRET, cost=CHEAP)


def test_an_unknown_name_costs_the_same_work_and_is_never_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[str] = []
    verify = users.PasswordHasher.verify

    def counted(self: Any, held: Any, typed: Any) -> bool:
        looked_at.append(held)
        return verify(self, held, typed)

    monkeypatch.setattr(users.PasswordHasher, "verify", counted)
    assert not verify_secret(PASSWORD, None, cost=CHEAP)
    assert verify_secret(PASSWORD, SECRET, cost=CHEAP)
    unknown, known = (held.split("$")[1:4] for held in looked_at)
    assert unknown == known, "argon2id, its version and its cost"


def test_an_unknown_name_stays_refused_even_if_its_stand_in_hash_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def matching(cost: HashingCost) -> str:
        del cost
        return SECRET

    monkeypatch.setattr(users, "_nobodys_secret", matching)
    assert not verify_secret(PASSWORD, None, cost=CHEAP)


@pytest.mark.parametrize("secret", ["", "kite", SECRET[:-1], SECRET.replace("2id", "2i")])
def test_a_damaged_hash_is_a_broken_record_not_a_wrong_password(secret: str) -> None:
    with pytest.raises(IntegrityError):
        verify_secret(PASSWORD, secret, cost=CHEAP)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("kite lemon", "it has 10 characters"),
        ("kite lemon " * 30, "it has 330 characters"),
        ("abababababababab", "fewer than 6 different characters"),
        ("Password orbit spade", "it holds one of the words that are tried first"),
        ("m.keller orbit spade", "it holds the log-in name"),
        ("kite lemon\x1b[2J orbit", "can't be printed"),
    ],
)
def test_a_password_that_others_could_guess_is_refused_and_not_repeated(
    password: str, why: str
) -> None:
    with pytest.raises(RefusedError, match=why) as refused:
        check_password(password, login="m.keller")
    assert password not in str(refused.value)


def test_four_words_make_a_password() -> None:
    check_password(PASSWORD, login="m.keller")


def test_errors_and_costs_cross_to_a_worker_process_and_back() -> None:
    with pytest.raises(IntegrityError) as broken:
        verify_secret(PASSWORD, "kite", cost=CHEAP)
    assert str(pickle.loads(pickle.dumps(broken.value))) == str(broken.value)
    assert pickle.loads(pickle.dumps(CHEAP)) == CHEAP


# The lock


def test_five_wrong_tries_lock_a_name_and_quality_is_told_once() -> None:
    people = staff()
    told = [wrong_try(people, "tina", NOW + n * second).locks for n in range(1, TRIES + 1)]
    assert told == [False, False, False, False, True]
    at = NOW + TRIES * second
    assert not wrong_try(people, "tina", at + 1 * second).locks
    assert isinstance(
        recognise(people, "tina", right=True, terminal="desk", now=at + FIRST_LOCK - 1 * ms),
        NotRecognised,
    )
    assert isinstance(present(people, "tina", at + FIRST_LOCK), Present)


def test_each_further_wrong_try_doubles_the_lock_up_to_an_hour() -> None:
    one = Someone("tina", "Tina Ek", ["technician"], refused_at=NOW)
    locks: list[Duration] = []
    for one.refused in (*range(TRIES, TRIES + 9), 10**6):
        until = locked_until(one)
        assert until is not None
        locks.append(until - NOW)
    assert locks == [n * minute for n in (1, 2, 4, 8, 16, 32)] + 4 * [LONGEST_LOCK]


def test_a_try_while_locked_does_not_make_the_lock_longer() -> None:
    people = staff()
    for n in range(TRIES):
        wrong_try(people, "tina", NOW + n * second)
    one = people["U-0002"]
    until = locked_until(one)
    assert until is not None
    for n in range(50):
        wrong_try(people, "tina", NOW + (TRIES + n) * second)
    assert locked_until(one) == until
    assert not is_locked(one, until)


def test_a_clock_set_back_keeps_the_lock() -> None:
    one = Someone("tina", "Tina Ek", ["technician"], refused=TRIES, refused_at=NOW)
    assert is_locked(one, NOW - 24 * hour)


def test_one_name_locked_locks_no_other() -> None:
    people = staff()
    for n in range(TRIES + 3):
        wrong_try(people, "tina", NOW + n * second)
    present(people, "tom", NOW + TRIES * second)


def test_what_is_said_tells_nothing_about_names() -> None:
    people = staff()
    wrong = wrong_try(people, "tina", NOW)
    unknown = wrong_try(people, "nobody", NOW)
    for n in range(TRIES):
        wrong_try(people, "tina", NOW + n * second)
    locked = recognise(people, "tina", right=True, terminal="desk", now=NOW + TRIES * second)
    assert isinstance(locked, NotRecognised)
    assert str(wrong.error) == str(unknown.error) == str(locked.error)
    assert (unknown.event.user, wrong.event.user) == (None, "U-0002")
    assert EVENTS.validate_json(locked.event.model_dump_json()) == locked.event


def test_nobody_is_present_without_a_password_tried() -> None:
    with pytest.raises(TypeError, match="ask recognise"):
        Present(UserId("U-0002"), "Tina Ek", NOW, object())
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(present(staff(), "tina"), user=UserId("U-0003"))


@pytest.mark.parametrize("typed", ["tina", "Tina", " TINA "])
def test_a_name_is_found_however_its_case_was_typed(typed: str) -> None:
    assert user_of(staff(), typed) == "U-0002"


@pytest.mark.parametrize("typed", ["", "tin\u0430", "\u212aim", "tina\n.", "U-0002"])
def test_a_name_that_only_looks_alike_is_nobodys(typed: str) -> None:
    people = staff()
    fold(people, add(people, login="kim"))
    assert user_of(people, typed) is None
    assert secret_of(people, typed) is None


# New people


@pytest.mark.requirement("SIG-03", "SIG-04")
def test_a_person_is_added_by_another_under_an_id_that_nobody_had() -> None:
    people = staff()
    added = add(people)
    assert added.user == "U-0009"
    assert added.by == ADMINISTRATOR
    assert EVENTS.validate_json(added.model_dump_json()) == added
    fold(people, added)
    assert add(people, login="x.y", printed_name="Xu Yi").user == "U-0010"


@pytest.mark.requirement("SIG-03")
@pytest.mark.parametrize("changed", [{"printed_name": "Mia Other"}, {"login": "m.other"}])
def test_neither_name_of_a_person_is_ever_given_to_another(changed: dict[str, str]) -> None:
    people = staff()
    fold(people, add(people))
    with pytest.raises(RefusedError):
        add(people, **changed)


@pytest.mark.requirement("SIG-10")
@pytest.mark.parametrize("printed_name", ["MIA KELLER", "Mia Keller", "\uff2dia Keller"])
def test_one_person_gets_no_second_account(printed_name: str) -> None:
    people = staff()
    fold(people, add(people))
    with pytest.raises(RefusedError, match="one person has one account"):
        add(people, login="second", printed_name=printed_name)


@pytest.mark.parametrize(
    "changed",
    [
        {"login": ""},
        {"login": "M.Keller"},
        {"login": "k"},
        {"login": "m keller"},
        {"login": "mi\u0430"},
        {"login": "m" * 33},
        {"printed_name": ""},
        {"printed_name": " Mia"},
        {"printed_name": "Mia  Keller"},
        {"printed_name": "Mia\x1b[31m"},
        {"printed_name": "Mia\u202eKeller"},
        {"printed_name": "Mu\u0308ller"},
        {"printed_name": "M" * 81},
        {"roles": []},
        {"roles": ["technician", "technician"]},
        {"roles": ["king"]},
    ],
    ids=repr,
)
def test_what_cannot_stand_in_a_record_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        add(staff(), **changed)


@pytest.mark.requirement("SIG-09")
@pytest.mark.parametrize("by", [None, *(f"U-{n:04d}" for n in range(2, 9)), "U-0999"])
def test_only_an_administrator_adds_people(by: str | None) -> None:
    with pytest.raises(NotAuthorisedError):
        add(staff(), by=None if by is None else UserId(by))


def test_the_first_person_is_an_administrator_and_nothing_else() -> None:
    with pytest.raises(NotAuthorisedError):
        add({}, by=None)
    assert add({}, by=None, roles=["administrator"]).user == "U-0001"
    with pytest.raises(NotAuthorisedError, match="only the first person"):
        add(staff(), by=None, roles=["administrator"])


def test_no_password_stands_in_an_event() -> None:
    added = add(staff())
    assert re.search("|".join(PASSWORD.split()), added.model_dump_json()) is None
