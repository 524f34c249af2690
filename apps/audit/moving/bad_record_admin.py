"""Records that could not be moved into the audit log: looked at, and tried again when what was wrong is mended."""

import json

from django.contrib import admin, messages
from django.db import transaction
from django.db.models.fields.json import KeyTextTransform
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from unfold.decorators import display

from apps.access.acts import note
from apps.accounts.pages import ReadOnlyAdmin
from apps.audit.models import BadRecord
from apps.audit.moving.mover import try_again
from apps.audit.narrative import body_text
from apps.database.moments import moment_of

PROBLEM_SHOWN = 160
"""Characters of a problem in a line of the list."""

SAID = ("received_at", "method", "username", "target", "node_id", "changed_at", "table_name")
"""What the list says of a record."""


@admin.register(BadRecord)
class BadRecordAdmin(ReadOnlyAdmin):
    list_display = ("at", "method", "username", "target", "node", "problem_begins", "failed")
    ordering = ("-pk",)
    actions = ("try_again",)
    fields = ("problem", "failed_at", "record_shown", "body_shown")
    readonly_fields = ("record_shown", "body_shown")
    empty_hint = (
        "Every answered hook, and every change by staff, becomes an entry of the audit log. One that cannot would wait "
        "here, whole, with what went wrong. There is none: nothing to do."
    )

    def get_queryset(self, request):
        """Bodies stay away from lists."""
        said = {f"its_{name}": KeyTextTransform(name, "record") for name in SAID}
        return super().get_queryset(request).annotate(**said).defer("record")

    @display(description="Came")
    def at(self, bad: BadRecord) -> str:
        """To the second, by the clock of staff; as it stands there, where that is no moment."""
        came = bad.its_received_at or bad.its_changed_at or ""
        moment = moment_of(came)
        return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else came

    @display(description="Method")
    def method(self, bad: BadRecord) -> str:
        return bad.its_method or "change by staff"

    @display(description="User")
    def username(self, bad: BadRecord) -> str:
        return bad.its_username

    @display(description="Stream or number")
    def target(self, bad: BadRecord) -> str:
        return bad.its_target or bad.its_table_name

    @display(description="Node")
    def node(self, bad: BadRecord) -> str:
        return bad.its_node_id

    @display(description="Problem")
    def problem_begins(self, bad: BadRecord) -> str:
        """How it begins; the page of the record has all of it."""
        return Truncator(bad.problem).chars(PROBLEM_SHOWN)

    @display(description="Failed")
    def failed(self, bad: BadRecord) -> str:
        return f"{timezone.localtime(bad.failed_at):%Y-%m-%d %H:%M:%S}"

    @display(description="Record")
    def record_shown(self, bad: BadRecord) -> str:
        kept = {name: value for name, value in bad.record.items() if name != "body"}
        return format_html('<pre class="wcsgate-code">{}</pre>', json.dumps(kept, indent=2, ensure_ascii=False))

    @display(description="Body as received, without secrets")
    def body_shown(self, bad: BadRecord) -> str:
        body = bytes.fromhex(bad.record.get("body", "").removeprefix("\\x"))
        return format_html('<pre class="wcsgate-code">{}</pre>', body_text(body))

    @admin.action(description="Try again to move them into the audit log", permissions=["retry"])
    def try_again(self, request, queryset):
        with transaction.atomic():
            chosen = BadRecord.objects.filter(pk__in=queryset.values("pk")).select_for_update()
            ids = list(chosen.values_list("pk", flat=True))
            put_back = try_again(ids)
            note(request, "try-again", *(f"record not moved “{id_}”" for id_ in ids))
        messages.success(
            request, f"Put back: {put_back}. Workers try them within a second or two; what fails again comes back here."
        )

    def has_retry_permission(self, request) -> bool:
        return request.user.has_perm("audit.retry_badrecord")

    def notice(self, request, obj):
        return (
            "This happened, but could not be moved into the audit log. Read what went wrong, have it mended "
            "(mostly it takes an update or an operator), then choose it in the list and try again."
        )
