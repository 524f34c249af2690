"""Links to streams: made by staff, shown once, with what to do with them."""

from datetime import timedelta
from urllib.parse import quote, urlencode

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.decorators import display

from apps.accounts.pages import LinkFilter, Section, StaffAdmin, link_to_list
from apps.connections.models import App
from apps.streams.models import StreamLink


class LinkForm(forms.ModelForm):
    """A link without its token, which is shown on saving a new one."""

    def clean_ends_at(self):
        """A link may be ended at once, but none is made that never works."""
        ends_at = self.cleaned_data["ends_at"]
        if ends_at <= timezone.now() and not self.instance.pk:
            raise ValidationError("This moment has passed, so the link would never work.")
        return ends_at

    def clean(self) -> dict:
        if not settings.ENCRYPTION_KEYS:
            raise ValidationError("A link cannot be signed without a key: WCSGATE_ENCRYPTION_KEYS is not set.")
        return super().clean()


class StateFilter(LinkFilter):
    title = "state"
    parameter_name = "state"

    def conditions(self):
        over = Q(ends_at__lte=timezone.now())
        return {
            "works": ("Works", ~over & Q(active=True, revoked=False)),
            "expired": ("Expired", over),
            "revoked": ("Revoked", Q(revoked=True)),
            "off": ("Off", Q(active=False)),
        }


@admin.register(StreamLink)
class StreamLinkAdmin(StaffAdmin):
    form = LinkForm
    list_display = ("label", "stream", "action", "state", "ends_at", "made_by")
    list_filter = (StateFilter, "action")
    list_select_related = ("made_by",)
    search_fields = ("label", "stream")
    search_help_text = "Search by label or stream"
    ordering = ("-pk",)
    radio_fields = {"action": admin.HORIZONTAL}
    actions = ("switch_off",)
    readonly_fields = ("created_at", "made_by")
    fieldsets = ((None, {"fields": ("label", "stream", "action", "ends_at", "active", "created_at", "made_by")}),)
    add_fieldsets = (
        (
            None,
            {
                "fields": ("label", "stream", "action", "ends_at"),
                "description": "Whoever holds the link may come in and do just this, until that moment, without an "
                "account or a rule. What a rule denies to guests is denied to them, too.",
            },
        ),
    )
    empty_hint = (
        "Make a link to let somebody without an account watch one stream, or publish it, until a moment you choose. "
        "It is shown once, ready to be sent."
    )

    def get_queryset(self, request):
        return super().get_queryset(request).with_revoked()

    @display(
        description="State",
        label={"works": "success", "expired": "warning", "revoked": "danger", "off": "default"},
    )
    def state(self, link: StreamLink) -> str:
        if not link.active:
            return "off"
        if link.revoked:
            return "revoked"
        return "expired" if link.ends_at <= timezone.now() else "works"

    def get_fieldsets(self, request, obj=None):
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request, obj=None):
        """The token is signed for one stream and one action."""
        return ("stream", "action", *self.readonly_fields) if obj else self.readonly_fields

    def get_changeform_initial_data(self, request):
        tomorrow = timezone.localtime() + timedelta(days=1)
        return {"ends_at": tomorrow.replace(second=0, microsecond=0), **super().get_changeform_initial_data(request)}

    def get_actions(self, request):
        actions = super().get_actions(request)
        if "delete_selected" in actions:
            function, name, _ = actions["delete_selected"]
            actions["delete_selected"] = (function, name, "Delete: the links stop working at once")
        return actions

    def save_model(self, request, obj, form, change):
        if not change:
            obj.made_by = request.user
        super().save_model(request, obj, form, change)

    def response_add(self, request, obj, post_url_continue=None):
        """Show the link in this very answer: a message could come to rest in a cookie, a redirect in a log."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Link made",
            "link": obj,
            "shown_once": obj.token,
            "examples": examples(obj),
        }
        return TemplateResponse(request, "admin/link_made.html", context)

    def sections(self, request, obj):
        yield Section(
            "What happened",
            links=link_to_list(request, "audit.auditevent", "Hooks about this stream", target=obj.stream),
        )

    @admin.action(description="Switch off", permissions=["change"])
    def switch_off(self, request, queryset):
        switched = list(queryset.filter(active=True))
        StreamLink.objects.filter(pk__in=[link.pk for link in switched]).update(active=False)
        for link in switched:
            self.log_change(request, link, "Switched off.")
        self.message_user(request, f"Switched off: {len(switched)}.")


def examples(link: StreamLink) -> list[tuple[str, str]]:
    """How to pass the token of a link: in words, and as text to copy. WCS is called wcs.example.org."""
    app = App.objects.filter(rest_started=False).order_by("key").first() or App(key="defaultApp")
    name, key = quote(link.stream, safe=""), app.key
    query = urlencode({"appKey": key, app.token_name: link.token})
    does = "play" if link.action == StreamLink.Action.PLAY else "publish"
    web = (
        f'Flashphoner.createSession({{urlServer: "wss://wcs.example.org:8443", appKey: "{key}", '
        f'custom: {{{app.token_name}: "{link.token}"}}}})\n'
        f'session.createStream({{name: "{link.stream}", display: element}}).{does}()'
    )
    if does == "publish":
        return [("On a web page, with the Web SDK:", web)]
    return [
        ("On a web page, with the Web SDK:", web),
        ("In a player, by HLS:", f"https://wcs.example.org:8445/{name}/{name}.m3u8?{query}"),
        ("In a player, by RTSP:", f"rtsp://wcs.example.org:5554/{name}?{query}"),
    ]
