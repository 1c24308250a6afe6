"""People: added with a first password."""

from __future__ import annotations

from typing import Any

from orchestrator.console.office import Office
from orchestrator.kernel.identifiers import UserId
from orchestrator.people.users import add_person, check_password


class People:
    """Adds people."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._core = office.core

    async def add(self, user: UserId, arguments: dict[str, Any]) -> int:
        """Add a person with a first password, which stands in no record and no message."""
        login, password = str(arguments["log_in_name"]), str(arguments["password"])
        printed_name = str(arguments["printed_name"])
        check_password(password, login=login)
        secret = await self._office.secret_of_new(password)
        return await self._core.record_for_host(
            add_person(
                self._core.state.people,
                login=login,
                printed_name=printed_name,
                roles=[str(one) for one in arguments["roles"]],
                secret=secret,
                by=user,
            ),
            answer=arguments["answer"],
        )
