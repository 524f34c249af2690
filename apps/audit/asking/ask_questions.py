"""The questions that are offered about what was named, each with the page that answers it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlencode

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from apps.access.latest import at_last_revision
from apps.access.models import NumberClass, Rule, RuleQuerySet
from apps.access.reasons import Reason
from apps.access.sentences import moment_text
from apps.access.what_can import examples
from apps.accounts.models import User
from apps.accounts.navigation import may_see
from apps.accounts.pages import Line, Section, find_exactly, link_to_list, link_to_page, list_of, page_of
from apps.audit.asking.ask import OFFERED, Named
from apps.audit.asking.ask_log import sections_of_the_log
from apps.audit.models import AuditEvent, Effect, received
from apps.audit.narrative import story
from apps.connections.models import App, Session
from apps.database.connection import Unavailable
from apps.protocol.methods import STREAM_ACTIONS
from apps.streams.models import Stream

LATELY = timedelta(minutes=5)
"""For so long wrong passwords of a client count (see Guesses)."""

RULES, CALLS, LOG = "access.streampermission", "access.callpermission", "audit.auditevent"


def sections_about(request: HttpRequest, named: Named) -> Iterator[Section]:
    """What was named, pairs first: who asks about a user and a stream wants to know of both."""
    if named.moment is not None and named.moment <= timezone.now() and (then := tuple(_then(request, named))):
        yield Section(f"At {moment_text(named.moment, timezone.get_current_timezone())}", then)
    if pairs := tuple(_pairs(request, named)):
        yield Section("May they?", pairs)
    yield from sections_of_the_log(request, named)
    for user in named.users:
        yield Section(f"User {user.username}", tuple(_about_user(request, user)))
    for name in named.streams:
        yield Section(f"Stream {name}", tuple(_about_stream(request, name)))
    for number in named.numbers:
        yield Section(f"Number {number}", tuple(_about_number(request, number)))
    for number_class in named.number_classes:
        yield Section(f"{number_class} numbers", tuple(_about_class(request, number_class)))
    for group in named.groups:
        yield Section(f"Group {group}", tuple(_about_group(request, group)))
    for app in named.apps:
        yield Section(f"App {app.key}", tuple(_about_app(request, app)))
    if named.begun:
        yield Section("Names that begin so", tuple(Line(f"{kind} {name}", ask_url(name)) for kind, name in named.begun))


def sections_of_names(request: HttpRequest, names: list[str]) -> Iterator[Section]:
    """Rules and hooks about any of the names."""
    if names and (may_see(request.user, RULES) or may_see(request.user, CALLS)):
        rules = (
            Rule.objects.with_names().filter(pk__in=_rules_about(names, _seen_by(request))).order_by("-pk")[:OFFERED]
        )
        if lines := tuple(Line(str(rule), page_of(request, list_of(rule), rule.pk)) for rule in rules):
            yield Section("Rules about these names, the newest", lines)
    if names and may_see(request.user, LOG):
        columns = ("username", "target")
        found = [event for name in names for event in _newest(find_exactly(AuditEvent.objects.all(), name, columns))]
        newest = sorted(
            {event.pk: event for event in found}.values(), key=lambda event: event.received_at, reverse=True
        )
        if lines := tuple(_event_line(request, event) for event in newest[:OFFERED]):
            yield Section("What happened to these names, the newest", lines)


def _seen_by(request: HttpRequest) -> RuleQuerySet:
    """The rules in the lists that the viewer may see, one or both."""
    if not may_see(request.user, RULES):
        return Rule.objects.for_calls()
    return Rule.objects.all() if may_see(request.user, CALLS) else Rule.objects.for_streams()


def _rules_about(names: list[str], seen: RuleQuerySet):
    """The newest rules that have one of the names; each column is asked by itself, through its index."""
    users, groups, streams = (
        rows.filter(**{f"{column}__in": names}).values("pk")
        for rows, column in ((User.objects, "username"), (Group.objects, "name"), (Stream.objects, "name"))
    )
    first, *others = (
        seen.filter(about).order_by("-pk").values("pk")[:OFFERED]
        for about in (Q(user__in=users), Q(group__in=groups), Q(stream__in=streams), Q(target__in=names))
    )
    return first.union(*others, all=True)


def section_of_everything(request: HttpRequest) -> Section:
    """Questions that need no name."""
    lines = (
        *link_to_list(request, RULES, "Which stream permissions end this week?", state="ending"),
        *link_to_list(request, CALLS, "Which call permissions end this week?", state="ending"),
        *link_to_list(request, RULES, "Which stream permissions are only tried out?", state="logged"),
        *link_to_list(request, CALLS, "Which call permissions are only tried out?", state="logged"),
        *link_to_list(request, LOG, "What was refused in the last 24 hours?", last="24h", effect=Effect.REFUSED),
        *link_to_list(request, LOG, "Who came with a wrong password lately?", last="24h", reason=Reason.BAD_PASSWORD),
        *link_to_list(request, LOG, "Who came with a wrong token lately?", last="24h", reason=Reason.BAD_TOKEN),
        *link_to_list(request, "connections.session", "Who is connected now?", state="running"),
        *link_to_list(request, "accounts.user", "Which users are switched off?", is_active__exact="0"),
        *link_to_list(request, "accounts.token", "Which tokens have expired?", expiry="expired"),
        *link_to_page(request, "what_can", "What can guests do?", who="guest"),
    )
    return Section("Questions about everything", lines, "You have no permission for any page that answers questions.")


def ask_url(text: str) -> str:
    """The address of this search."""
    return f"{reverse('ask')}?{urlencode({'q': text})}"


def _then(request: HttpRequest, named: Named) -> Iterator[Line]:
    """What was so at the moment that was named."""
    moment = timezone.localtime(named.moment)
    then = {"at": f"{moment:%Y-%m-%dT%H:%M:%S}" if moment.second else f"{moment:%Y-%m-%dT%H:%M}", "rules": "then"}
    for name in named.streams:
        for action in STREAM_ACTIONS:
            yield from link_to_page(
                request, "who_can", f"Who could {action} “{name}”?", action=action, target=name, **then
            )
    for number in named.numbers:
        yield from link_to_page(request, "who_can", f"Who could call {number}?", action="call", target=number, **then)
    for user in named.users:
        text = f"What could {user.username} do?"
        yield from link_to_page(request, "what_can", text, who="user", name=user.username, **then)
    for group in named.groups:
        yield from link_to_page(
            request, "what_can", f"What could members of {group} do?", who="group", name=group.name, **then
        )


def _pairs(request: HttpRequest, named: Named) -> Iterator[Line]:
    for user in named.users:
        for name in named.streams:
            yield from _try(request, user, "playStream", name, f"May {user} play “{name}”, and why?")
            yield from _try(request, user, "publishStream", name, f"May {user} publish “{name}”, and why?")
        for number in named.numbers:
            yield from _try(request, user, "call", number, f"May {user} call {number}, and why?")


def _try(request: HttpRequest, user: User, method: str, target: str, text: str) -> tuple[Line, ...]:
    query = {"who": "user", "user": user.username, "method": method, "target": target, "app": _app_of(user)}
    return link_to_page(request, "try_hook", text, **{name: value for name, value in query.items() if value})


def _app_of(user: User) -> str:
    """The app that a user came through last, else the one that was entered first."""
    last = Session.objects.filter(user=user).order_by("-opened_at").values_list("app_key", flat=True).first()
    return last or App.objects.order_by("pk").values_list("key", flat=True).first() or ""


def _about_user(request: HttpRequest, user: User) -> Iterator[Line]:
    page, name = page_of(request, "accounts.user", user.pk), user.username
    yield from link_to_page(request, "story_user", f"What works for {name} right now, and why not?", name=name)
    yield Line(f"Is {name} locked out?", page, lock_text(user, timezone.now()))
    yield from link_to_page(request, "what_can", f"What can {name} do, and by which rules?", who="user", name=name)
    yield Line(f"Rules about {name}, tokens and groups", page)
    if may_see(request.user, LOG):
        refused = AuditEvent.objects.filter(username=name, effect=Effect.REFUSED)
        for event in _newest(refused)[:1]:
            yield Line(f"Why was {name} refused last?", page_of(request, LOG, event.pk), story(event, ""))
    yield from link_to_list(request, LOG, f"What did {name} try last?", username=name)
    yield from link_to_list(request, "connections.session", f"Where is {name} connected now?", q=name, state="running")
    yield from link_to_list(request, "accounts.token", f"Do the tokens of {name} work?", q=name)
    yield from _try(request, user, "playStream", "", f"Try a hook as {name}")


def _about_stream(request: HttpRequest, name: str) -> Iterator[Line]:
    text = f"Who published and watched “{name}”, when, and for how long?"
    yield from link_to_page(request, "story_stream", text, name=name)
    yield from link_to_page(request, "who_can", f"Who can play “{name}”?", action="play", target=name)
    yield from link_to_page(request, "who_can", f"Who can publish “{name}”?", action="publish", target=name)
    yield from link_to_list(request, "streams.stream", f"Rules about stream “{name}”, its owner and groups", q=name)
    yield from link_to_list(request, LOG, f"Who was refused at “{name}” lately?", target=name, effect=Effect.REFUSED)
    yield from link_to_list(request, LOG, f"Who published “{name}” last?", target=name, method="publishStream")
    yield from link_to_list(request, LOG, f"What happened to “{name}”?", target=name)


def _about_number(request: HttpRequest, number: str) -> Iterator[Line]:
    text = f"Who can call {number}, and of which class is it?"
    yield from link_to_page(request, "who_can", text, action="call", target=number)
    yield from link_to_list(request, LOG, f"Who called {number} last?", q=f'number:"{number}"')


def _about_class(request: HttpRequest, number_class: NumberClass) -> Iterator[Line]:
    if number := _example(number_class):
        text = f"Who can call {number_class} numbers, such as {number}?"
        yield from link_to_page(request, "who_can", text, action="call", target=number)
    page = page_of(request, "access.numberclass", number_class.pk)
    yield Line(f"Which numbers are {number_class}?", page)


def _about_group(request: HttpRequest, group: Group) -> Iterator[Line]:
    yield from link_to_page(request, "what_can", f"What can members of {group} do?", who="group", name=group.name)
    yield from link_to_list(request, "accounts.user", f"Who is in {group}?", groups__id__exact=group.pk)
    yield Line(f"Rules about {group}", page_of(request, "auth.group", group.pk))


def _about_app(request: HttpRequest, app: App) -> Iterator[Line]:
    text = f"Who can connect through app “{app.key}”?"
    yield from link_to_page(request, "who_can", text, action="connect", target=app.key)
    yield Line("How WCS is pointed here, and whether guests are welcome", page_of(request, "connections.app", app.pk))


def _example(number_class: NumberClass) -> str:
    """A number of the class; "" where there is none, or this cannot be said just now."""
    try:
        return at_last_revision(
            lambda snapshot: next(examples(snapshot.number_classes.by_id[number_class.pk], snapshot), "")
        )
    except (Unavailable, KeyError):
        return ""


def lock_text(user: User, now: datetime) -> str:
    """Whether somebody is kept out, whatever the rules say."""
    if not user.is_active:
        return "Yes: switched off. Everything is refused until somebody switches this user on."
    locked = AccessAttempt.objects.filter(
        username=user.username,
        failures_since_start__gte=settings.AXES_FAILURE_LIMIT,
        attempt_time__gte=now - timedelta(hours=settings.AXES_COOLOFF_TIME),
    )
    if locked.exists():
        return "From the admin, yes: too many wrong passwords at the login. It opens again by itself."
    wrong = AuditEvent.objects.filter(
        received(now - LATELY), username=user.username, reason=Reason.BAD_PASSWORD
    ).order_by("-received_at")[:OFFERED]
    if wrong:
        return "Perhaps: wrong passwords came in the last five minutes. Ten from one address keep it out for five."
    if not user.has_usable_password() and not user.tokens.working(now).exists():
        return "In a way, yes: there is neither a password nor a token that works. A token signed elsewhere might."
    return "No: switched on, with a password or a token that works, and no wrong password of late."


def _newest(events) -> list[AuditEvent]:
    return list(events.defer("body", "digest").order_by("-received_at")[:OFFERED])


def _event_line(request: HttpRequest, event: AuditEvent) -> Line:
    moment = f"{timezone.localtime(event.received_at):%Y-%m-%d %H:%M:%S}"
    return Line(story(event, ""), page_of(request, LOG, event.pk), moment)
