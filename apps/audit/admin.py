"""What happened: the audit log, to browse and search. Nobody adds, changes or deletes anything here."""

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, HttpResponseBadRequest, JsonResponse
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from unfold.decorators import display

from apps.access.acts import note
from apps.access.models import Rule
from apps.access.reasons import STAFF_ACTION
from apps.accounts.models import User
from apps.accounts.navigation import may_open, may_see
from apps.accounts.pages import Line, ReadOnlyAdmin, Section, UnknownFilter, link_to_list, list_of, page_of
from apps.audit.asking.again_pages import allow_page, now
from apps.audit.browsing import filters
from apps.audit.browsing.asked import Asked, BadSearch, SearchAlone, events_of, in_words
from apps.audit.browsing.names import NAMED, NoNames, completions, names
from apps.audit.browsing.paging import AuditChangeList
from apps.audit.browsing.query import parse, quoted
from apps.audit.browsing.saved_views import views_for
from apps.audit.browsing.search import WHOLE, find_events, ways_to, without_word
from apps.audit.browsing.timeline_page import timeline_page
from apps.audit.exporting.export import FORMATS, RESUME, BadPlace, Resume, in_chunks
from apps.audit.exporting.export_admin import KINDS, as_file, asked_in
from apps.audit.keeping import hold_admin  # noqa: F401 - registers legal holds
from apps.audit.models import AuditEvent
from apps.audit.moving import bad_record_admin  # noqa: F401 - registers records that could not be moved
from apps.audit.moving.changes import told_with
from apps.audit.narrative import body_text, differing, headline, outcome, reason_text, story
from apps.audit.net import BeingPutInPlace
from apps.audit.proving.as_of_page import as_of_page, link_to_as_of
from apps.audit.stories.events import began_although_refused
from apps.audit.stories.links import links_of
from apps.audit.stories.timeline import ALTHOUGH_REFUSED
from apps.connections.models import Session

LONGEST_TOLD = 160
"""Characters of what staff did, or why, in a line of the list."""

OUTCOME_LABELS = {"allowed": "success", "refused": "danger", "noted": "default", "changed": "info", "done": "info"}


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    change_form_before_template = "admin/audit_story.html"
    list_display = ("at", "decision", "what", "why", "short_node", "client_address")
    list_display_links = ("at", "what")
    list_filter = (
        filters.PeriodFilter,
        filters.DecisionFilter,
        filters.ReasonFilter,
        filters.MethodFilter,
        filters.UserFilter,
        filters.TargetFilter,
        filters.NumberFilter,
        filters.AddressFilter,
        filters.AppFilter,
        filters.NodeFilter,
        filters.SessionFilter,
        filters.CallFilter,
        filters.WhyFilter,
        filters.WhileAwayFilter,
        filters.TriedOutFilter,
    )
    list_filter_submit = True
    list_select_related = False
    list_before_template = "admin/audit_search.html"
    search_fields = WHOLE
    search_help_text = "For example: user:teacher1 decision:refused after:7d"
    ordering = ("-received_at", "-id")
    sortable_by = ()
    fieldsets = (
        ("When and where", {"fields": (
            "at", "method", "status", "app_key", "node", "session_id", "media_session_id", "call_id",
            "client_address",
        )}),
        ("Who and what", {"fields": ("username", "action", "target")}),
        ("Answer", {"fields": ("decision", "reason_text", "told_shown", "repeated", "database", "revision")}),
        ("Body as received, without secrets", {"fields": ("body_shown",)}),
    )  # fmt: skip
    change_fieldsets = (
        ("Who did what", {"fields": (
            "at", "username", "client_address", "target", "rules_said", "changed_shown", "why_said", "request_said",
            "revision",
        )}),
        ("Before and after, without secrets", {"fields": ("compared", "body_folded")}),
    )  # fmt: skip
    empty_hint = (
        "Every hook that WCS sends is recorded here, with its answer. "
        "Nothing has come yet: open an app to see how to point WCS here."
    )
    nothing_hint = (
        "Names and numbers are looked for whole, as they were written: user:teacher* finds all that begin so. "
        "Take out one word after the other, or look at a longer time."
    )

    class Media:
        js = ("wcsgate/search.js", "wcsgate/timeline.js")

    def get_fieldsets(self, request, obj=None):
        return self.change_fieldsets if obj and obj.reason == STAFF_ACTION else self.fieldsets

    def get_queryset(self, request):
        """The body stays away from lists."""
        return super().get_queryset(request).defer("body", "digest")

    def get_changelist(self, request, **kwargs):
        return SearchAlone if isinstance(request, Asked) else AuditChangeList

    def get_search_results(self, request, queryset, search_term):
        """The words with qualifiers that were typed; nothing where one of them cannot be understood.

        The list goes on by `ways`, and exports do not.
        """
        query = parse(search_term)
        if query.problems:
            return queryset.none(), False
        if not isinstance(request, Asked):
            query = without_word(query)
        return find_events(queryset, query, timezone.get_current_timezone(), filters.asked_at(request)), False

    def ways(self, events, search_term):
        """What the search found, taken apart so that each way goes through one index."""
        query = parse(search_term)
        return [events] if query.problems else ways_to(events, query)

    def get_urls(self):
        export = path("export/", self.admin_site.admin_view(self.export_view), name="audit_auditevent_export")
        timeline = path("timeline/", self.admin_site.admin_view(self.timeline_view), name="audit_auditevent_timeline")
        named = path("names/", self.admin_site.admin_view(self.names_view), name="audit_auditevent_names")
        allow = path(
            "<path:object_id>/allow/", self.admin_site.admin_view(self.allow_view), name="audit_auditevent_allow"
        )
        as_of = path(
            "<path:object_id>/as-of/", self.admin_site.admin_view(self.as_of_view), name="audit_auditevent_as_of"
        )
        return [export, timeline, named, allow, as_of, *super().get_urls()]

    def export_view(self, request):
        """What the list would show, all of it, as a file; and a note of who took what."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        search, kind, after = asked_in(request)
        try:
            place, began = Resume.read(after) if after else (None, timezone.now())
            asked = Asked(search, request.user, began)
            events, words = events_of(asked), in_words(asked)
            body = FORMATS[kind].lines(in_chunks(FORMATS[kind].read(events), place), began, after)
        except (BadSearch, BadPlace) as error:
            return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
        except BeingPutInPlace as error:
            headers = {"Retry-After": "60"}
            return HttpResponse(str(error), content_type="text/plain; charset=utf-8", status=503, headers=headers)
        more = {"search": search} | ({RESUME: after} if after else {})
        note(request, "export", "the audit log", told=f"As {KINDS[kind]}: {words}", **more)
        return as_file(body, f"audit-{timezone.localtime():%Y-%m-%d-%H%M}.{kind}", FORMATS[kind].content_type)

    def timeline_view(self, request):
        """When what the list would show has happened, as a chart."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            changes = self.get_changelist_instance(request)
        except (IncorrectLookupParameters, UnknownFilter) as error:
            return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
        if problems := filters.as_query(request.GET, timezone.now()).problems:
            return HttpResponseBadRequest(problems[0].sentence, content_type="text/plain; charset=utf-8")
        return timeline_page(request, changes, self.admin_site.each_context(request))

    def names_view(self, request):
        """Names that begin as typed, for the search box."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        of, begins = request.GET.get("of", ""), request.GET.get("begins", "")
        try:
            found = names(of, begins, all_nodes=may_see(request.user, "connections.node"))
        except NoNames as error:
            return JsonResponse({"error": str(error)}, status=400)
        return JsonResponse({"found": found})

    def changelist_view(self, request, extra_context=None):
        """With what was understood of the search, and what was not."""
        query = parse(request.GET.get("q", ""))
        fields = filters.as_query(request.GET, timezone.now())
        context = {
            "title": "Audit log",
            "search_said": filters.said_of(request.GET, timezone.now()),
            "search_problems": query.problems + fields.problems,
            "search_words": completions(),
            "search_named": " ".join(NAMED),
            **views_for(request),
        }
        return super().changelist_view(request, {**(extra_context or {}), **context})

    @display(description="Time")
    def at(self, event: AuditEvent) -> str:
        return f"{timezone.localtime(event.received_at):%Y-%m-%d %H:%M:%S}"

    @display(description="Answer", label=OUTCOME_LABELS)
    def decision(self, event: AuditEvent) -> str:
        return outcome(event)

    @display(description="What")
    def what(self, event: AuditEvent) -> str:
        """Of what staff did, how what they changed begins; the page of the event has all of it."""
        if event.reason == STAFF_ACTION:
            return Truncator(story(event, "")).chars(LONGEST_TOLD)
        return headline(event) + (f" ({event.repeats + 1} times)" if event.repeats else "")

    @display(description="Why")
    def why(self, event: AuditEvent) -> str:
        """Of what staff did, what they said why; the list brings it along."""
        if event.reason == STAFF_ACTION:
            return Truncator(event.given).chars(LONGEST_TOLD)
        return "" if outcome(event) == "noted" else reason_text(event)

    @display(description="Node")
    def short_node(self, event: AuditEvent) -> str:
        return event.node.rpartition("@")[2]

    @display(description="Node")
    def node(self, event: AuditEvent) -> str:
        return event.node

    @display(description="Repeated")
    def repeated(self, event: AuditEvent) -> str:
        if event.repeats == 1:
            return "once more"
        return f"{event.repeats} times more" if event.repeats else ""

    @display(description="Database")
    def database(self, event: AuditEvent) -> str:
        return "Was away when this was answered, at least once." if event.while_away else ""

    @display(description="Reason")
    def reason_text(self, event: AuditEvent) -> str:
        return f"{event.reason}: {reason_text(event)}"

    @display(description="Changed")
    def told_shown(self, event: AuditEvent) -> str:
        return event.told or "Nothing."

    @display(description="Why")
    def why_said(self, event: AuditEvent) -> str:
        return str(told_with(event).get("why") or "Nobody said.")

    @display(description="By which request or program")
    def request_said(self, event: AuditEvent) -> str:
        told = told_with(event)
        return str(told.get("request") or told.get("command") or told.get("application") or "")

    @display(description="In words")
    def changed_shown(self, event: AuditEvent) -> str:
        return event.told or "Nothing that can be said in words: see below."

    @display(description="The rule then")
    def rules_said(self, event: AuditEvent) -> str:
        """As it was after this change, or before it was removed."""
        return "; ".join(event.rules) or "It was not about a rule."

    @display(description="What differs")
    def compared(self, event: AuditEvent) -> str:
        """Each column that differs, beside what it was."""
        rows = differing(told_with(event))
        if not rows:
            return "There is nothing to compare: see all of it."
        lines = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>', rows)
        return format_html(
            '<table class="wcsgate-table"><thead><tr><th scope="col">Column</th><th scope="col">Before</th>'
            '<th scope="col">After</th></tr></thead><tbody>{}</tbody></table>',
            lines,
        )

    @display(description="All of it")
    def body_folded(self, event: AuditEvent) -> str:
        return format_html("<details><summary>As it is kept</summary>{}</details>", self.body_shown(event))

    @display(description="Body")
    def body_shown(self, event: AuditEvent) -> str:
        return format_html('<pre class="wcsgate-code">{}</pre>', body_text(bytes(event.body)))

    def allow_view(self, request, object_id):
        """Allow this: a rule to add, and what else it would open. Nothing is added by looking."""
        event = self.get_object(request, unquote(object_id))
        if event is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not (self.has_view_permission(request, event) and may_open(request.user, "try_hook")):
            raise PermissionDenied
        return allow_page(request, event, self.admin_site.each_context(request))

    def as_of_view(self, request, object_id):
        """As of its revision: whether it would be the same. Nothing is changed by looking."""
        event = self.get_object(request, unquote(object_id))
        if event is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, event):
            raise PermissionDenied
        return as_of_page(request, event, self.admin_site.each_context(request))

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        if obj:
            remark = ALTHOUGH_REFUSED if began_although_refused(obj) else ""
            context |= {"story": story(obj, obj.node, remark), "outcome": outcome(obj), **now(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    def sections(self, request, obj):
        if obj.reason == STAFF_ACTION:
            yield from self._of_change(request, obj)
            return
        yield Section(
            "Rules that decided" if obj.rule_ids else "Rules",
            tuple(Line(text) for text in obj.rules),
            "No rule decided it." if not obj.rule_ids else "Their sentences were not kept.",
        )
        session = Session.objects.filter(node_id=obj.node_id, session_id=obj.session_id).first()
        user = User.objects.filter(pk=obj.user_id).first() if obj.user_id else None
        yield Section(
            "See also",
            links=(
                *links_of(request, obj),
                *link_to_as_of(request, obj),
                *((Line(f"User {user}", page_of(request, "accounts.user", user.pk)),) if user else ()),
                *((Line("The session", page_of(request, "connections.session", session.pk)),) if session else ()),
                *(self._all_of_session(request, obj) if obj.session_id else ()),
            ),
        )

    def _of_change(self, request, obj):
        """What the rule said that was changed, and where to go on."""
        rules = Rule.objects.filter(pk__in=obj.rule_ids)
        pages = [Line(f"Rule {rule.pk}", page_of(request, list_of(rule), rule.pk)) for rule in rules]
        yield Section(
            "See also",
            links=(
                *pages,
                *(
                    line
                    for id_ in obj.rule_ids
                    for line in self._all(request, f"All that rule {id_} decided", f"rule:{id_}")
                ),
                *self._by_staff(request, f"All that staff did with {obj.target}", quoted("target", obj.target)),
                *self._by_staff(request, f"All that {obj.username} changed or did", quoted("user", obj.username)),
            ),
        )

    def _by_staff(self, request, text, term):
        """A link to what staff did; nothing where the term cannot be typed."""
        return self._all(request, text, f"decision:changed {term}") if term else ()

    def _all(self, request, text, search):
        return link_to_list(request, "audit.auditevent", text, q=search)

    def _all_of_session(self, request, obj):
        return link_to_list(
            request, "audit.auditevent", "All hooks of this session", node=obj.node_id, session=obj.session_id
        )
