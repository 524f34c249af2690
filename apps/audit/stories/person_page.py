"""The page of a person: the help-desk card. The first thing to look at with somebody on the phone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextInputWidget

from apps.access.advice import ADVICE
from apps.access.latest import at_last_revision
from apps.access.sentences import deed
from apps.access.who_can_words import Words
from apps.accounts.admin import state
from apps.accounts.models import User
from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import LINES_SHOWN, Line, Section, link_to_list, link_to_page, page_of
from apps.audit.asking.ask_questions import lock_text
from apps.audit.models import AuditEvent
from apps.audit.narrative import headline, outcome, reason_text
from apps.audit.stories.events import run_of
from apps.audit.stories.pages import LOG, RUNNING, SESSIONS, asked, clock, log_is_hidden, must_be_allowed, page, ran
from apps.audit.stories.people import people
from apps.audit.stories.person import (
    ATTEMPTS_SHOWN,
    Attempt,
    Can,
    Card,
    attempts,
    card,
    own_streams,
    refusals,
    refusals_first,
    usual,
)
from apps.audit.stories.timeline import lasting
from apps.connections.models import Session
from apps.database.connection import StatementFailed, Unavailable
from apps.live.models import Lease
from apps.protocol.state_words import end_said

ALL_RUNNING, ALL_SESSIONS = "All that runs of theirs", "All their sessions that run"


class PersonForm(forms.Form):
    """Whom it is about."""

    name = forms.CharField(
        label="User name",
        max_length=150,
        strip=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="Whole, or how it begins.",
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of what works: whether, in words to be read out, why not, what to do, and how much is used up."""

    can: bool
    sentence: str
    why: str
    what_to_do: str
    remark: str
    rules: list[Line]


@dataclass(frozen=True, slots=True)
class Running:
    """Something that runs, with the number to end it by."""

    pk: int
    text: str
    remark: str
    url: str
    is_ending: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried lately, with how it was answered, in words."""

    text: str
    clock: str
    outcome: str
    why: str
    what_to_do: str
    url: str


def story_of_user(request: HttpRequest) -> HttpResponse:
    """The card."""
    must_be_allowed(request, "story_user")
    name = asked(request, "name")
    context: dict[str, Any] = {"title": "Help desk", "form": PersonForm(initial={"name": name})}
    if name:
        user = User.objects.filter(username=name).first()
        others = [] if user else _meant(request, name)
        context |= {"others": others} if others else _card(request, name, user, timezone.now())
    return page(request, "admin/stories/person.html", context)


def _meant(request: HttpRequest, begins: str) -> list[Line]:
    """Cards of those whose names begin so, where nobody of this name is known."""
    viewer = request.user
    found = people(begins, users=may_see(viewer, "accounts.user"), log=may_see(viewer, LOG))
    return [] if begins in found else [Line(one, reverse("story_user", query={"name": one})) for one in found]


def _card(request: HttpRequest, name: str, user: User | None, now: datetime) -> dict[str, Any]:
    viewer = request.user
    shown = user if may_see(viewer, "accounts.user") else None
    tried, refused = (attempts(name, now), refusals(name, now)) if may_see(viewer, LOG) else ([], [])
    leases = _leases(name, now) if may_see(viewer, RUNNING) else None
    context = {
        "title": f"Help desk: {name}",
        "name": name,
        "who": shown.get_full_name() if shown else "",
        "is_off": bool(user and not user.is_active),
        "locked": lock_text(user, now) if shown else "",
        "is_unknown": user is None,
        "attempts": [_tried(request, attempt) for attempt in refusals_first([*tried, *refused])],
        "attempts_shown": ATTEMPTS_SHOWN,
        "running": None if leases is None else [_running(request, lease, now) for lease in leases[:LINES_SHOWN]],
        "more_running": link_to_list(request, RUNNING, ALL_RUNNING, q=name) if _are_more(leases) else (),
        "lines_shown": LINES_SHOWN,
        "may_end": viewer.has_perm("live.end_lease"),
        "end_url": reverse("admin:live_lease_changelist"),
        "sections": list(_sections(request, user, name, now)),
        **log_is_hidden(request),
    }
    if user is not None and may_open(viewer, "what_can"):
        context |= _right_now(request, user, tried, now)
    return context


def _right_now(request: HttpRequest, user: User, tried: list[AuditEvent], now: datetime) -> dict[str, Any]:
    again = usual(user, tried)
    own = own_streams(user) if may_see(request.user, "streams.stream") else []
    try:
        found = at_last_revision(lambda snapshot: card(user, again, own, snapshot, now))
    except (Unavailable, StatementFailed) as error:
        return {"fault": f"What they can do right now cannot be said at the moment: {error}"}
    words = Words(request)
    words.read_rules(id_ for ids in (*(one.rule_ids for one in found.can), found.limits) for id_ in ids)
    return {
        "answers": [_answer(user, one, words) for one in found.can],
        "limits": [words.line(rule, f"Used up: {found.limits[rule.pk]}.") for rule in words.rules(found.limits)],
        "never_tried": _never_tried(found, own),
        "revision": found.revision,
        "at": clock(now),
    }


def _answer(user: User, one: Can, words: Words) -> Answer:
    verdict = words.verdict(one.answer) if one.answer and one.allowed else ""
    only = f" {verdict.partition(', ')[2]}".rstrip() if verdict else ""
    remarks = [f"Limit: {one.used}." if one.used else ""]
    remarks.append(f"Asked as on {clock(one.event.received_at)}." if one.event else "Asked whatever the circumstances.")
    lines = [words.line(rule) for rule in words.rules(one.rule_ids)]
    return Answer(
        one.allowed,
        f"{user.username} {one.sentence}{only}.",
        one.why,
        one.what_to_do,
        " ".join(filter(None, remarks)),
        lines,
    )


def _never_tried(found: Card, own: list[str]) -> str:
    """What is not said, because it is not known what they would do."""
    known = {one.action for one in found.can}
    missing = [deed(action, "") for action in ("publish", "play", "call") if action not in known]
    if not missing:
        return ""
    streams = ", and no stream is theirs" if not own and missing != [deed("call", "")] else ""
    return f"Not asked: whether they can {' or '.join(missing)}. They did not try that lately{streams}."


def _tried(request: HttpRequest, attempt: Attempt) -> Tried:
    event = attempt.event
    how = outcome(event)
    refused = how == "refused"
    often = f", the last of {attempt.times} times" if attempt.times > 1 else ""
    return Tried(
        headline(event),
        clock(event.last_received_at) + often,
        how,
        reason_text(event) if refused else "",
        ADVICE[event.reason].text if refused and event.reason in ADVICE else "",
        page_of(request, LOG, event.pk),
    )


def _leases(name: str, now: datetime) -> list[Lease]:
    """What of theirs runs, the newest; one more than is shown."""
    leases = Lease.objects.filter(username=name).running(now).select_related("cut").order_by("-opened_at")
    return list(leases[: LINES_SHOWN + 1])


def _are_more(rows: Sequence[Any] | None) -> bool:
    """Whether there are more than are shown."""
    return rows is not None and len(rows) > LINES_SHOWN


def _running(request: HttpRequest, lease: Lease, now: datetime) -> Running:
    what = f"connected through app “{lease.app_key}”" if lease.action == "connect" else deed(lease.action, lease.target)
    return Running(
        lease.pk,
        what,
        f"Since {clock(lease.opened_at)}. {ran(run_of(lease, now), now)}",
        page_of(request, RUNNING, lease.pk),
        is_ending=hasattr(lease, "cut"),
    )


def _sections(request: HttpRequest, user: User | None, name: str, now: datetime) -> Iterator[Section]:
    if may_see(request.user, SESSIONS):
        yield _sessions(request, name, now)
    if user is not None and may_see(request.user, "accounts.token"):
        tokens = user.tokens.with_revoked().order_by("-pk")[:LINES_SHOWN]
        yield Section(
            "Tokens",
            tuple(Line(token.label, page_of(request, "accounts.token", token.pk), state(token)) for token in tokens),
            "None.",
        )
    page_url = page_of(request, "accounts.user", user.pk) if user else ""
    yield Section(
        "See also",
        links=(
            *((Line("Their page: groups, rules, tokens", page_url),) if page_url else ()),
            *(link_to_page(request, "what_can", "Everything they can do", who="user", name=name) if user else ()),
            *link_to_list(request, LOG, "Everything they did", username=name),
        ),
    )


def _sessions(request: HttpRequest, name: str, now: datetime) -> Section:
    sessions = Session.objects.filter(username=name).order_by("-opened_at")
    running = list(sessions.filter(ended_at=None)[: LINES_SHOWN + 1])
    shown = running[:LINES_SHOWN] or list(sessions[:1])
    more = link_to_list(request, SESSIONS, ALL_SESSIONS, q=name, state="running") if _are_more(running) else ()
    return Section(
        _title(running),
        tuple(_session_line(request, session, now) for session in shown),
        "They never connected.",
        more,
    )


def _title(running: list[Session]) -> str:
    if _are_more(running):
        return f"Sessions now: more than {LINES_SHOWN}, the newest first"
    return "Sessions now" if running else "Their last session"


def _session_line(request: HttpRequest, session: Session, now: datetime) -> Line:
    links = link_to_page(
        request,
        "story_session",
        "",
        node=session.node_id,
        session=session.session_id,
        at=session.opened_at.isoformat(),
    )
    place = f" from {session.client_address}" if session.client_address else ""
    how = (
        f"for {lasting(now - session.opened_at)} by now"
        if session.ended_at is None
        else f"until {clock(session.ended_at)}, {end_said(session.end_reason) or 'for no known reason'}"
    )
    return Line(
        f"Through app “{session.app_key}”{place}",
        links[0].url if links else "",
        f"Since {clock(session.opened_at)}, {how}",
    )
