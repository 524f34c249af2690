"""The API of the audit log: the feed for programs that keep a copy of it (`feed`, docs/feed.md)."""

from datetime import date, datetime
from typing import Any

from django.db import transaction
from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.acts import note
from apps.access.callers import caller_address
from apps.accounts.models import ApiKey
from apps.accounts.navigation import may
from apps.audit.browsing.query import moment
from apps.audit.exporting import feed
from apps.audit.exporting.export import COLUMNS
from apps.audit.net import BeingPutInPlace
from apps.database.moments import moment_of

LIMIT, MOST = 500, 1_000
BEGINNINGS = ("after", "from", "since")
PARAMETERS = (*BEGINNINGS, "limit")
READ_ON = "feed_read_on"
"""What a session keeps: the last day on which it was noted that this browser read the feed."""


class MaySeeAuditLog(BasePermission):
    """Staff who may see audit events, in a browser or by a key of theirs."""

    message = "This needs a member of staff with the permission “Can view audit event”."

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        return bool(user.is_active and user.is_staff and may(user, "view", "audit.auditevent"))


class NotThisRecord(APIException):
    """The record has no place that the cursor speaks of: it is not the one that gave it."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "unknown-cursor"
    default_detail = (
        "The record has no such place: it was restored from a backup that is older than the cursor, or it is another "
        "one. Begin anew with “since”, some time before the last event that you have."
    )


class NotWhole(APIException):
    """Some of the log is aside. `wait` is in seconds, and becomes Retry-After."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "being-put-in-place"
    wait = 10


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


_TEXT, _NUMBER, _YES_OR_NO = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_LIST_OF = {name: {"type": "array", "items": items} for name, items in (("texts", _TEXT), ("numbers", _NUMBER))}
_COLUMNS = {
    **dict.fromkeys((*COLUMNS, "body"), _TEXT),
    **dict.fromkeys(("batch", "repeats", "revision"), _NUMBER),
    **dict.fromkeys(("rule_ids", "logged_rule_ids"), _LIST_OF["numbers"]),
    "rules": _LIST_OF["texts"],
    "while_away": _YES_OR_NO,
    "duration": {"type": "number", "nullable": True, "description": "In seconds."},
    "client_address": {**_TEXT, "nullable": True},
}
_EVENT = _object(("kind", *_COLUMNS), kind={"enum": ["event", "change"]}, **_COLUMNS)
_COUNTED = ("id", "batch", "repeats", "last_received_at", "while_away")
_COUNT = _object(("kind", *_COUNTED), kind={"enum": ["count"]}, **{name: _COLUMNS[name] for name in _COUNTED})
_PAGE = _object(
    ("items", "next", "more", "hashes", "seal"),
    items={"type": "array", "items": {"oneOf": [_EVENT, _COUNT]}},
    next={**_TEXT, "description": "What to give as `after` for the next page."},
    more={**_YES_OR_NO, "description": "Whether there is more just now."},
    hashes={
        "type": "object",
        "additionalProperties": _TEXT,
        "description": "The hashes of the batches that this page is of, in hex, by their numbers.",
    },
    seal={**_object(("line", "signature"), line=_TEXT, signature=_TEXT), "nullable": True},
)
_PROBLEM = _object(("error", "detail"), error=_TEXT, detail=_TEXT)
_PROBLEMS = {
    400: "A parameter cannot be read; `detail` says which, and what was expected.",
    401: "There is no key, or it is not good.",
    403: "Who asks may not see the audit log, or the key does not work from this address.",
    409: "The record has no place that `after` speaks of: it was restored from an older backup.",
    429: "Too many wrong keys came from this address.",
    503: "The database does not answer, or some of the log is being put in place: ask again after Retry-After.",
}


class AuditFeed(APIView):
    """The audit log in the order in which it became visible."""

    permission_classes = (MaySeeAuditLog,)

    @extend_schema(
        operation_id="audit_feed",
        summary="Read the audit log, page by page",
        description="At least once, in order, and nothing ever comes before what was read. Begin with one of `after`, "
        "`from` and `since`, or with none for the first event there is; go on with `after`. An event that was repeated "
        "comes again as a `count`.",
        parameters=[
            OpenApiParameter("after", OpenApiTypes.STR, description="The `next` of the page before."),
            OpenApiParameter("from", OpenApiTypes.STR, enum=["now"], description="Begin after what is there now."),
            OpenApiParameter(
                "since", OpenApiTypes.STR, description="Begin with what came into the log at this moment."
            ),
            OpenApiParameter("limit", {**_NUMBER, "minimum": 1, "maximum": MOST, "default": LIMIT}),
        ],
        responses={
            200: OpenApiResponse(_PAGE, "A page, which may be empty."),
            **{code: OpenApiResponse(_PROBLEM, words) for code, words in _PROBLEMS.items()},
        },
    )
    def get(self, request: Request) -> Response:
        """A page of the feed."""
        after, limit = _asked(request.query_params, timezone.now())
        try:
            page = feed.page(after, limit)
        except feed.UnknownCursor:
            raise NotThisRecord from None
        except BeingPutInPlace as error:
            raise NotWhole(str(error)) from None
        _note_reading(request, timezone.localdate())
        return Response(
            {
                "items": page.items,
                "next": str(page.next),
                "more": page.more,
                "hashes": page.hashes,
                "seal": feed.newest_seal(),
            },
            headers={"Cache-Control": "no-store"},
        )


def _note_reading(request: Request, today: date) -> None:
    """That the log was read, once a day for each browser, and each key and address that it comes from."""
    key, address = request.auth, caller_address(request.META)
    if isinstance(key, ApiKey):
        if not key.has_read(today, address):
            with transaction.atomic():
                if key.begins_to_read(today, address):
                    note(request, "read", "the audit log", told=f"By the feed, with the API key “{key.label}”")
    elif request.session.get(READ_ON) != today.isoformat():
        note(request, "read", "the audit log", told="By the feed, in a browser")
        request.session[READ_ON] = today.isoformat()


def _asked(parameters: QueryDict, now: datetime) -> tuple[feed.Cursor, int]:
    """Where to begin, and how much to give at most. Raises ParseError."""
    if unknown := set(parameters) - set(PARAMETERS):
        raise ParseError(f"“{min(unknown)}” means nothing here. Use {', '.join(PARAMETERS)}.", "unknown-parameter")
    begins = [name for name in BEGINNINGS if parameters.get(name)]
    if len(begins) > 1:
        raise ParseError(f"Use one of {', '.join(BEGINNINGS)}, not {' and '.join(begins)}.", "two-beginnings")
    limit = parameters.get("limit", str(LIMIT))
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 6 and 1 <= int(limit) <= MOST):
        raise ParseError(f"“limit” is a number from 1 to {MOST}.", "bad-limit")
    return _beginning(parameters, begins[0] if begins else "", now), int(limit)


def _beginning(parameters: QueryDict, begins: str, now: datetime) -> feed.Cursor:
    given = parameters.get(begins, "")
    if begins == "after":
        return _cursor(given)
    if begins == "since":
        return feed.first_since(_moment(given, now))
    if begins == "from" and given != "now":
        raise ParseError("“from” can only be “now”. For a moment, use “since”.", "bad-from")
    return feed.end() if begins else feed.BEGINNING


def _cursor(given: str) -> feed.Cursor:
    try:
        return feed.Cursor.read(given)
    except feed.BadCursor as error:
        raise ParseError(str(error), "bad-cursor") from None


def _moment(given: str, now: datetime) -> datetime:
    """A moment as programs write it, with its offset; or as staff do in the search box."""
    found = moment_of(given) or moment(given, timezone.get_default_timezone(), now)
    if found is None:
        raise ParseError(
            "“since” is a moment from 1970 on and before 9999, like 2026-11-01T00:00:00Z (a + is written %2B), or so "
            "long ago as 90m, 24h or 7d.",
            "bad-since",
        )
    return found
