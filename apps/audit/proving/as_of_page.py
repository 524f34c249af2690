"""As of its revision: an event decided again under what it was decided under. Nothing is changed."""

from typing import Any

import psycopg
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from apps.access.models import Rule
from apps.access.reasons import STAFF_ACTION
from apps.accounts.navigation import may_open
from apps.accounts.pages import HIDDEN_RULE, Line, Section, may_read
from apps.audit.asking.past import OthersAreLooking
from apps.audit.models import AuditEvent
from apps.audit.narrative import outcome, story
from apps.audit.proving.redeciding import Redecided, event_again


def link_to_as_of(request: HttpRequest, event: AuditEvent) -> tuple[Line, ...]:
    """A link to the page of an event; nothing for a change, or for who may not see rules."""
    if event.reason == STAFF_ACTION or not may_open(request.user, "try_hook"):
        return ()
    return (Line("Decide it again as of its revision", reverse("admin:audit_auditevent_as_of", args=[event.pk])),)


def as_of_page(request: HttpRequest, event: AuditEvent, context: dict[str, Any]) -> HttpResponse:
    """What it would be as of its revision. For whoever may look at the event."""
    if not link_to_as_of(request, event):
        raise PermissionDenied
    context |= {"title": "As of its revision", "event": event, "story": story(event, event.node)}
    context["outcome"] = outcome(event)
    try:
        one, rules = event_again(event)
    except (psycopg.OperationalError, OthersAreLooking) as error:
        why = str(error) if isinstance(error, OthersAreLooking) else "the database does not answer."
        context["fault"] = f"This cannot be answered just now: {why}"
        return TemplateResponse(request, "admin/audit/as_of.html", context, status=503)
    context |= {"again": one, "verdict": _verdict(one), "sections": _sections(request, one, rules)}
    return TemplateResponse(request, "admin/audit/as_of.html", context)


def _verdict(one: Redecided) -> str:
    if one.why is not None:
        return f"It cannot be decided again, because {one.why}."
    if one.is_same:
        return f"As of revision {one.event.revision} it would be the same answer."
    return (
        f"DIFFERENT: it {one}. So the event, or the record of what staff changed, is damaged: "
        "see what verify_audit says of them."
    )


def _sections(request: HttpRequest, one: Redecided, rules: list[Rule]) -> list[Section]:
    lines = tuple(Line(str(rule) if may_read(request.user, rule) else HIDDEN_RULE) for rule in rules)
    if one.why is not None and not lines:
        return []
    return [Section("Rules that decide, as they were then", lines, "No rule decides it.")]
