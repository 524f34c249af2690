"""What is issued for a user and shown once: how tokens and keys of the API are alike in the admin."""

from django.db.models import Q
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import display

from apps.accounts.forms import may_issue
from apps.accounts.pages import LinkFilter, StaffAdmin


class ExpiryFilter(LinkFilter):
    title = "expiry"
    parameter_name = "expiry"

    def conditions(self):
        expired = Q(expires_at__lte=timezone.now())
        return {"valid": ("Not expired", ~expired | Q(expires_at=None)), "expired": ("Expired", expired)}


class IssuedAdmin(StaffAdmin):
    """Staff issue and touch only what is of users whom they may issue it for (`may_issue`).

    `how` says, on the one page that shows it, what to do with it.
    """

    list_filter = (ExpiryFilter,)
    list_select_related = ("user",)
    search_fields = ("label", "user__username")
    search_help_text = "Search by label or user"
    ordering = ("user__username", "label")
    autocomplete_fields = ("user",)
    how = ""

    def get_queryset(self, request):
        return super().get_queryset(request).with_revoked()

    @display(
        description="State",
        label={
            "works": "success",
            "expired": "warning",
            "used up": "warning",
            "user is off": "danger",
            "revoked": "danger",
        },
    )
    def works(self, issued) -> str:
        if not issued.user.is_active:
            return "user is off"
        if issued.revoked:
            return "revoked"
        if getattr(issued, "used_at", None):
            return "used up"
        return "expired" if issued.expires_at and issued.expires_at <= timezone.now() else "works"

    def get_readonly_fields(self, request, obj=None):
        return ("user", *self.readonly_fields) if obj else self.readonly_fields

    def has_change_permission(self, request, obj=None):
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request, obj=None):
        return super().has_delete_permission(request, obj) and self._may_touch(request, obj)

    def _may_touch(self, request: HttpRequest, issued) -> bool:
        return issued is None or may_issue(request.user, issued.user)

    def get_form(self, request, obj=None, change=False, **kwargs):
        form = super().get_form(request, obj, change, **kwargs)
        form.issuer = request.user
        return form

    def get_actions(self, request):
        actions = super().get_actions(request)
        if "delete_selected" in actions:
            function, name, _ = actions["delete_selected"]
            words = f"Revoke: the {self.opts.verbose_name_plural} stop working at once"
            actions["delete_selected"] = (function, name, words)
        return actions

    def save_model(self, request, obj, form, change):
        if change:
            return super().save_model(request, obj, form, change)
        issued, obj.shown_once = self.model.objects.issue(**form.cleaned_data)
        obj.pk = issued.pk
        return None

    def response_add(self, request, obj, post_url_continue=None):
        """Show it in this very answer: a message could come to rest in a cookie, a redirect in a log."""
        noun = self.opts.verbose_name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{noun[0].upper()}{noun[1:]} issued",
            "warning": f"This is the only time the {noun} is shown. Copy it now; WCS Gate keeps only a hash.",
            "issued": obj,
            "shown_once": obj.shown_once,
            "how": self.how,
        }
        return TemplateResponse(request, "admin/issued.html", context)
