"""Legal holds: made, named, noted upon and released. What they cover is never changed, and none is deleted."""

from django.contrib import admin, messages
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import display

from apps.accounts.pages import LINES_SHOWN, Line, Section, StaffAdmin, note_changes
from apps.audit.keeping.holds import COUNTED, PATIENCE, how_many
from apps.audit.models import Hold

SELECTED = ("username", "target", "session_id", "starts_at", "ends_at")
FIXED = (
    "What it covers and for how long cannot be changed, nor can it be deleted. Name and note can. "
    "To end it, choose it in the list and release it."
)


@admin.register(Hold)
class HoldAdmin(StaffAdmin):
    list_display = ("name", "state", "covers", "made_by", "made_at")
    list_select_related = False
    ordering = ("-pk",)
    actions = ("release",)
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "note")}),
        ("What it covers: all that fits everything below", {"fields": SELECTED}),
        ("How long", {"fields": ("until",)}),
    )
    made_fieldsets = (
        (None, {"fields": ("name", "note"), "description": FIXED}),
        *fieldsets[1:],
        ("Made and released", {"fields": ("made_by", "made_at", "released_by", "released_at")}),
    )
    empty_hint = (
        "A legal hold keeps a part of the audit log from being deleted, however old it becomes: of a user, a stream, "
        "a session or a time. Nothing is held: what is past its time, by the settings, is deleted."
    )

    @display(description="State", label={"holds": "success", "released": "default", "over": "default"})
    def state(self, hold: Hold) -> str:
        if hold.released_at:
            return "released"
        return "over" if hold.until and hold.until <= timezone.now() else "holds"

    @display(description="Covers")
    def covers(self, hold: Hold) -> str:
        parts = [
            f"user “{hold.username}”" if hold.username else "",
            f"about “{hold.target}”" if hold.target else "",
            f"session {hold.session_id}" if hold.session_id else "",
            f"from {timezone.localtime(hold.starts_at):%Y-%m-%d %H:%M}" if hold.starts_at else "",
            f"to {timezone.localtime(hold.ends_at):%Y-%m-%d %H:%M}" if hold.ends_at else "",
        ]
        return ", ".join(filter(None, parts)) or "everything"

    @admin.action(description="Release: what it covers may be deleted", permissions=["release"])
    def release(self, request, queryset):
        """Asks first: what is deleted then cannot be brought back."""
        holds = list(queryset.filter(released_at=None))
        if holds and request.POST.get("confirmed") != "yes":
            return self._asked_first(request, holds)
        released = {"released_at": timezone.now(), "released_by": request.user.get_username()}
        Hold.objects.filter(pk__in=[hold.pk for hold in holds], released_at=None).update(**released)
        note_changes(request, holds, "Released.")
        messages.success(request, f"Released: {len(holds)}. What is past its time goes with the next run.")
        return None

    def _asked_first(self, request, holds: list[Hold]) -> TemplateResponse:
        lines = tuple(Line(f"{hold}: {self.covers(hold)}") for hold in holds[:LINES_SHOWN])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Release?",
            "number": len(holds),
            "holds": holds,
            "sections": [Section("What would not be held any longer", lines)],
            "more": len(holds) - len(lines),
        }
        return TemplateResponse(request, "admin/audit/hold_release.html", context)

    def sections(self, request, obj):
        if self.state(obj) == "holds":
            yield Section("How much it covers", (Line(said_of(how_many(obj))),))

    def has_release_permission(self, request) -> bool:
        """Whoever may make holds need not be allowed to end them."""
        return request.user.has_perm("audit.release_hold")

    def has_delete_permission(self, request, obj=None) -> bool:
        """That there was a hold, and who released it, stays known."""
        return False

    def get_fieldsets(self, request, obj=None):
        return self.made_fieldsets if obj else self.fieldsets

    def get_readonly_fields(self, request, obj=None):
        """To narrow a hold would be to release it by another name."""
        return (*SELECTED, "until", "made_by", "made_at", "released_by", "released_at") if obj else ()

    def save_model(self, request, obj, form, change):
        if not change:
            obj.made_by = request.user.get_username()
        super().save_model(request, obj, form, change)
        if not change:
            messages.info(request, said_of(how_many(obj)))

    def notice(self, request, obj):
        if self.state(obj) != "holds":
            return "This holds nothing any longer."
        return (
            "" if any(getattr(obj, name) for name in SELECTED) else "This holds everything: nothing is deleted at all."
        )


def said_of(number: int | None) -> str:
    """How much a hold covers, as a sentence; that it covers nothing may be a name that was not written whole."""
    if number is None:
        return f"How many audit events it covers by now could not be counted within {PATIENCE.seconds} seconds."
    if number == 0:
        return "It covers no audit event by now. Names and ids count whole, letter case included, as in the audit log."
    if number > COUNTED:
        return f"It covers more than {COUNTED:,} audit events by now."
    return f"It covers {number:,} audit event{'s' * (number > 1)} by now."
