"""Keys for programs that ask the API."""

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from unfold.decorators import display

from apps.accounts.forms import IssuedForm
from apps.accounts.issued_admin import IssuedAdmin
from apps.accounts.models import ApiKey, User
from apps.accounts.navigation import may


class KeyForm(IssuedForm):
    """A key without the key itself, which is made on saving and shown once."""

    class Meta:
        model = ApiKey
        fields = ("user", "label", "expires_at", "networks")
        help_texts = {
            "user": "The program sees what this user may see. Best a member of staff of its own, who may see audit "
            "events and nothing else."
        }

    def clean_user(self) -> User:
        user = super().clean_user()
        if not (user.is_active and user.is_staff and may(user, "view", "audit.auditevent")):
            raise ValidationError(
                "A key would open nothing to this user: it takes a member of staff, switched on, with the permission "
                "“Can view audit event”."
            )
        return user


@admin.register(ApiKey)
class ApiKeyAdmin(IssuedAdmin):
    form = KeyForm
    list_display = ("label", "user", "works", "limits", "expires_at", "last_used_at")
    readonly_fields = ("created_at", "last_used_at")
    add_fieldsets = (
        (
            None,
            {
                "fields": ("user", "label", "expires_at", "networks"),
                "description": "For a program that keeps a copy of the audit log, such as a SIEM. The key is shown "
                "once, on the next page.",
            },
        ),
    )
    fieldsets = ((None, {"fields": ("user", "label", "expires_at", "networks", "created_at", "last_used_at")}),)
    empty_hint = (
        "A key lets a program read the audit log as it grows, such as a SIEM. Issue one for a member of staff who may "
        "see audit events; it is shown once."
    )
    how = format_html(
        "The program sends the header <code>Authorization: Bearer {}</code> with each request to <code>{}</code>.",
        "…",
        "/api/v1/audit",
    )

    @display(description="Limited to")
    def limits(self, key: ApiKey) -> str:
        return ", ".join(key.networks) or "no limits"

    def get_fieldsets(self, request, obj=None):
        return self.fieldsets if obj else self.add_fieldsets
