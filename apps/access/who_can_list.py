"""Users by what the rules of a question say of them, page by page: Postgres finds them, the engine decides on each."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from django.db import connection

from apps.access.latest import last_revision
from apps.access.rows import UserRow
from apps.access.who_can import Answer, Asked, Verdict
from apps.access.who_can_people import People, allowed_people, denied_people

AT_ONCE = 1_000
"""Users that an export reads at a time."""


class Which(StrEnum):
    """Which users are listed."""

    CAN = "can"
    REFUSED = "refused"  # although a rule allows it


@dataclass(frozen=True, slots=True)
class Listed:
    """A user, and what is to be said of them."""

    user: UserRow
    answer: Answer


@dataclass(frozen=True, slots=True)
class ListPage:
    """Some users by their names; `after` is where the next page begins, "" on the last one."""

    people: tuple[Listed, ...] = ()
    after: str = ""


class RulesChanged(Exception):
    """Access has changed while a long list was read."""


class UserList:
    """Those users of one question whom it is asked about, in the order of their names."""

    def __init__(self, asked: Asked, which: Which) -> None:
        self._asked, self._which = asked, which
        self._conditions, self._values = _conditions(asked, which)

    def page(self, after: str, size: int) -> ListPage:
        """The users that follow a name. One query, and none where it is clear that there is nobody."""
        found = self._find(after, size + 1) if self._conditions else []
        people = [self._listed(user_id) for user_id, _ in found[:size]]
        return ListPage(tuple(filter(None, people)), found[size - 1][1] if len(found) > size else "")

    def pages(self) -> Iterator[ListPage]:
        """All of them, page by page. Raises RulesChanged where they are no longer those that were asked about."""
        page = ListPage()
        while True:
            page = self.page(page.after, AT_ONCE)
            if not self._holds():
                raise RulesChanged
            yield page
            if not page.after:
                return

    def _holds(self) -> bool:
        return last_revision() == self._asked.revision

    def _find(self, after: str, limit: int) -> list[tuple[int, str]]:
        query = f"""SELECT u.id, u.username FROM accounts_user u
            WHERE u.username > %(after)s AND {self._conditions} ORDER BY u.username LIMIT %(limit)s"""  # noqa: S608 - ours
        with connection.cursor() as cursor:
            cursor.execute(query, {**self._values, "after": after, "limit": limit})
            return cursor.fetchall()

    def _listed(self, user_id: int) -> Listed | None:
        """A user with the engine's own answer; None for whom it has another one, or who came a moment ago."""
        user = self._asked.snapshot.users.by_id.get(user_id)
        answer = self._asked.about(user) if user else None
        belongs = answer and (answer.verdict is Verdict.CANNOT) is (self._which is Which.REFUSED)
        return Listed(user, answer) if belongs else None


class UserListThen(UserList):
    """Those of a snapshot that has gone by: they are found in it alone."""

    def __init__(self, asked: Asked, which: Which) -> None:
        super().__init__(asked, which)
        self._allowed, self._denied = allowed_people(asked), denied_people(asked)
        self._active_alone = not asked.without_rules(active=False).allowed
        self._names = sorted(asked.snapshot.users.by_name)

    def _holds(self) -> bool:
        return True

    def _find(self, after: str, limit: int) -> list[tuple[int, str]]:
        users = self._asked.snapshot.users.by_name
        later = (users[name] for name in self._names[bisect_right(self._names, after) :])
        return [(user.id, user.username) for user in islice(filter(self._belongs, later), limit)]

    def _belongs(self, user: UserRow) -> bool:
        good = (user.active or not self._active_alone) and not _is_among(user, self._denied)
        return _is_among(user, self._allowed) and good is (self._which is Which.CAN)


def users_of(asked: Asked, which: Which, *, then: bool) -> UserList:
    """The users of a question about now, or about then."""
    return UserListThen(asked, which) if then else UserList(asked, which)


def _is_among(user: UserRow, people: People) -> bool:
    return people.everyone or user.id in people.user_ids or not set(people.group_ids).isdisjoint(user.group_ids)


def _conditions(asked: Asked, which: Which) -> tuple[str, dict[str, Any]]:
    """What Postgres is asked, and with what; "" where there is nobody."""
    allowed, denied = allowed_people(asked), denied_people(asked)
    values = {
        f"{name}_{kind}": list(getattr(people, kind))
        for name, people in (("allowed", allowed), ("denied", denied))
        for kind in ("user_ids", "group_ids")
    }
    active = "TRUE" if asked.without_rules(active=False).allowed else "u.is_active"
    good = f"({active} AND NOT {_among('denied', denied)})"
    wanted = good if which is Which.CAN else f"NOT {good}"
    nobody = allowed == People() or (denied.everyone and which is Which.CAN)
    return "" if nobody else f"{_among('allowed', allowed)} AND {wanted}", values


def _among(name: str, people: People) -> str:
    if people.everyone:
        return "TRUE"
    return f"""(u.id = ANY(%({name}_user_ids)s) OR EXISTS (SELECT FROM accounts_user_groups g
        WHERE g.user_id = u.id AND g.group_id = ANY(%({name}_group_ids)s)))"""
