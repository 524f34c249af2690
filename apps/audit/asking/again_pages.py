"""Would it be so now? On the page of an audit event; and Allow this, on a page of its own. Asking changes nothing."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.access.explain import Explanation
from apps.access.models import Rule
from apps.access.pages import sections_of, try_url, what_to_do
from apps.access.reasons import Reason
from apps.accounts.models import User
from apps.accounts.navigation import may, may_open
from apps.accounts.pages import LINES_SHOWN, Line, Section, link_to_add, list_of, page_of
from apps.audit.asking.again import Again, Openings, asked_to_allow, explained_now, rules_settle_it
from apps.audit.asking.proposals import Proposal
from apps.audit.asking.replay import RECOGNISED, call_of, session_of
from apps.audit.models import AuditEvent, Effect
from apps.audit.narrative import headline, story
from apps.connections.models import Session
from apps.database.connection import StatementFailed, Unavailable
from apps.protocol.methods import find


def now(request: HttpRequest, event: AuditEvent) -> dict[str, Any]:
    """What the page of an event says of today; nothing of what cannot be refused, or to whom may not see rules."""
    method = find(event.method)
    if method is None or not method.refusable or not may_open(request.user, "try_hook"):
        return {"try_url": ""}
    call, session = call_of(event), session_of(event)
    origin = session.origin if session else call.origin
    links = {"try_url": try_url(request.user, call, username=event.username, origin=origin, reason=event.reason)}
    if note := _gone(event, session):
        return {**links, "note": note}
    try:
        explanation = explained_now(event, now=timezone.now())
    except (Unavailable, StatementFailed) as error:
        return {**links, "fault": f"Whether it would be so now cannot be said at the moment: {error}"}
    return {
        **links,
        "explanation": explanation,
        "changed": (event.effect == Effect.ALLOWED) != explanation.allowed,
        "now_sections": list(_sections(request, event, explanation)),
        "allow_url": _allow_url(request, event) if rules_settle_it(event, explanation) else "",
    }


def allow_page(request: HttpRequest, event: AuditEvent, context: dict[str, Any]) -> HttpResponse:
    """A rule that would allow the hook, what else it would open, and the way to the form where it is added."""
    context |= {
        "title": "Allow this",
        "event": event,
        "story": story(event, ""),
        "why_not": _gone(event, session_of(event)),
    }
    if context["why_not"]:
        return TemplateResponse(request, "admin/audit/allow.html", context)
    try:
        again = asked_to_allow(event, request.GET.get("rule", ""), now=timezone.now())
    except (Unavailable, StatementFailed) as error:
        context["fault"] = f"This cannot be answered just now: {error}"
        return TemplateResponse(request, "admin/audit/allow.html", context, status=503)
    context |= {
        "explanation": again.explanation,
        "chosen": again.chosen,
        "sections": list(_proposed(request, event, again)),
        "add": _add_link(request, again.chosen) if again.chosen else None,
        "why_not": "" if again.chosen else _why_not(event, again.explanation),
    }
    return TemplateResponse(request, "admin/audit/allow.html", context)


def _sections(request: HttpRequest, event: AuditEvent, explanation: Explanation) -> Iterator[Section]:
    if not explanation.allowed or event.reason not in RECOGNISED:
        reason = explanation.reason if event.reason in RECOGNISED else event.reason
        yield from what_to_do(request, reason, username=event.username, app_key=event.app_key)
    yield from sections_of(request, explanation)


def _gone(event: AuditEvent, session: Session | None) -> str:
    """That whoever asked is not there any more, if so. Whoever has their name now is somebody else."""
    if not event.username or (session is not None and session.granted):
        return ""
    if event.user_id is not None and User.objects.filter(pk=event.user_id).exists():
        return ""
    return (
        f"User “{event.username}” was deleted since, or known from a signed token alone, "
        "so it cannot be asked how it would be now."
    )


def _allow_url(request: HttpRequest, event: AuditEvent) -> str:
    """The address of Allow this; "" for whom may add no rule of the kind."""
    return _url(event) if may(request.user, "add", list_of(Rule(actions=[event.action]))) else ""


def _url(event: AuditEvent) -> str:
    return reverse("admin:audit_auditevent_allow", args=[event.pk])


def _add_link(request: HttpRequest, proposal: Proposal) -> Line | None:
    links = link_to_add(request, proposal.label, "Go on to the form", **proposal.initial)
    return links[0] if links else None


def _why_not(event: AuditEvent, explanation: Explanation) -> str:
    """Why no rule is proposed."""
    if event.reason not in RECOGNISED:
        return "It was not refused by rules, so no rule would help."
    if explanation.allowed:
        return "It would be allowed now: there is nothing to add."
    if explanation.reason == Reason.DENIED_BY_RULE:
        return "A rule denies it. An allow would not help, as a deny beats every allow: change or end the deny."
    if explanation.reason == Reason.NO_RULE:
        return (
            "No rule can be proposed: its name was not kept whole or is too long for a rule, "
            "or the user is known from a signed token alone. Add a rule for a pattern, or for a group."
        )
    return "It would be refused now for another reason than rules."


def _proposed(request: HttpRequest, event: AuditEvent, again: Again) -> Iterator[Section]:
    if again.chosen is None or again.openings is None:
        yield from _sections(request, event, again.explanation)
        return
    yield _opened(request, event, again.openings)
    others = [
        Line(str(proposal.rule), f"{_url(event)}?rule={proposal.key}", "The narrowest." if not number else "")
        for number, proposal in enumerate(again.proposals)
        if proposal.key != again.chosen.key
    ]
    if others:
        yield Section("Or another rule", tuple(others))


def _opened(request: HttpRequest, event: AuditEvent, openings: Openings) -> Section:
    """What else would have been allowed, by whom and what."""
    same = (event.username, event.action, event.target)
    newest: dict[tuple[str, str, str], AuditEvent] = {}
    times: Counter[tuple[str, str, str]] = Counter()
    for flip in openings.flips:
        key = flip.event.username, flip.event.action, flip.event.target
        newest.setdefault(key, flip.event)
        times[key] += 1 + flip.event.repeats
    others = [key for key in newest if key != same]
    since = f" since {timezone.localtime(openings.since):%Y-%m-%d}" if openings.since else ""
    looked_at = f"of the last {openings.looked_at} refusals{since}"
    lines = [
        Line(headline(newest[key]), page_of(request, "audit.auditevent", newest[key].pk), _often(times[key]))
        for key in others[:LINES_SHOWN]
    ]
    if len(others) > LINES_SHOWN:
        lines.append(Line(f"… and {len(others) - LINES_SHOWN} more"))
    return Section(
        f"What else it would have allowed, {looked_at}" if others else "What else it would have allowed",
        tuple(lines),
        f"Nothing else, {looked_at}.",
    )


def _often(times: int) -> str:
    return "once" if times == 1 else f"{times} times"
