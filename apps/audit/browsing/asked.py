"""A search of the audit log, as the list understands it, but asked by nobody's browser: for exports.

What it finds does not depend on when it is looked at: “the last hour” is the hour before it was asked.
"""

from datetime import datetime

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from apps.accounts.models import User
from apps.accounts.pages import StaffChangeList, UnknownFilter
from apps.audit.browsing.filters import said_of
from apps.audit.browsing.query import parse
from apps.audit.models import AuditEvent


class BadSearch(ValueError):
    """The search cannot be understood. The message says what was expected."""


class Asked(HttpRequest):
    """What somebody asked of the list, at some moment."""

    def __init__(self, search: str, user: User, at: datetime) -> None:
        super().__init__()
        self.method = "GET"
        self.GET = QueryDict(search)
        self.user = user
        self.at = at


class SearchAlone(StaffChangeList):
    """The list with its conditions, but without any row of it."""

    def get_results(self, request):
        """Nothing is read: whoever asks goes on from the conditions."""


def events_of(asked: Asked) -> QuerySet:
    """Everything that the list would show, in no order. Raises BadSearch."""
    return _list_of(asked).get_queryset(asked).order_by()


def in_words(asked: Asked) -> str:
    """What was asked, for example: Hooks by user “ann”, refused. Raises BadSearch."""
    _list_of(asked)
    return said_of(asked.GET, asked.at) or "Everything."


def _list_of(asked: Asked) -> StaffChangeList:
    if problems := parse(asked.GET.get("q", "")).problems:
        raise BadSearch(problems[0].sentence)
    try:
        changes = admin.site.get_model_admin(AuditEvent).get_changelist_instance(asked)
    except (admin.options.IncorrectLookupParameters, UnknownFilter) as error:
        raise BadSearch(f"A filter cannot be understood: {error}") from None
    for filter_ in changes.filter_specs:
        if problem := getattr(filter_, "problem", ""):
            raise BadSearch(problem)
    return changes
