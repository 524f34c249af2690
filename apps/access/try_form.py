"""The form of Try a hook: who asks for what, in plain words; and the hook that this makes."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.utils import timezone
from msgspec.structs import replace
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from apps.accounts.validators import validate_moment
from apps.connections.models import App
from apps.protocol.messages import HookCall, HookTooLarge, MalformedHook
from apps.protocol.methods import find
from apps.protocol.screening import is_secret, screen, screen_text

DEEDS = {
    "Streams": {
        "publishStream": "publish a stream",
        "playStream": "play a stream",
        "playHLS": "play a stream by HLS",
        "playRTSP": "play a stream by RTSP",
        "StreamKeepAliveEvent": "go on publishing a stream",
        "StreamKeepAliveEvent.player": "go on playing a stream",
        "snapshot": "take a picture of a stream",
        "availableStream": "ask whether a stream is there",
    },
    "Connecting": {"connect": "connect"},
    "Calls": {
        "call": "call a number",
        "answer": "answer a call",
        "hold": "hold a call",
        "unhold": "go on with a call",
        "transfer": "transfer a call",
        "sendDtmf": "send tones",
    },
    "Coming in": {
        "OnCallEvent": "receive a call",
        "OnMessageEvent": "receive a message",
        "OnTransferEvent": "be transferred",
    },
    "Messages and data": {
        "sendMessage": "send a message",
        "sendIMDN": "send a delivery notice",
        "subscribe": "subscribe to SIP events",
        "sendXcapRequest": "send an XCAP request",
        "OnDataEvent": "send data",
    },
    "Reports": {
        "submitBugReport": "send a bug report",
        "pushLogs": "send logs",
        "sessionDebug": "have the session debugged",
    },
}
"""What can be refused, by method; a player's keep-alive has an entry of its own."""

PLAYER = ".player"
WORDS = {name: deed for group in DEEDS.values() for name, deed in group.items()}
UNNAMED = ["connect", *(name for name in WORDS if not find(name.removesuffix(PLAYER)).has_target)]
"""Methods for which nothing is to be typed: they have no target, or the app is their target."""

CIRCUMSTANCES = ("address", "page", "media", "node", "custom")
SHARED = ("who", "user", "method", "target", "app", "at", *CIRCUMSTANCES)
"""What may stand in an address. Nothing secret has a field here."""

MAX_CUSTOM = 2000
"""Characters that an address may carry of what a client says of itself."""


class Moment(forms.DateTimeField):
    """A moment, chosen with the browser's own calendar."""

    widget = UnfoldAdminTextInputWidget({"type": "datetime-local"})

    def to_python(self, value):
        """In UTC, as Postgres does not take every offset that an address may have."""
        moment = super().to_python(value)
        if moment is not None:
            validate_moment(moment)  # others need not have a moment in UTC
            moment = moment.astimezone(UTC)
        return moment

    def prepare_value(self, value):
        return f"{timezone.localtime(value):%Y-%m-%dT%H:%M}" if isinstance(value, datetime) else value


class TryForm(forms.Form):
    """Who asks to do what, or a hook as it came."""

    who = forms.ChoiceField(
        label="Who asks",
        choices=[("user", "a user"), ("guest", "a guest"), ("hook", "whoever a pasted hook shows")],
        initial="user",
        widget=UnfoldAdminRadioSelectWidget(admin.HORIZONTAL, {"x-model": "who"}),
        error_messages={"required": "Say who asks. If you come from an audit event: it was not known there."},
    )
    user = forms.CharField(
        label="User name",
        required=False,
        widget=UnfoldAdminTextInputWidget(
            {"list": "users", "autocomplete": "off", "x-on:focus": "look", "x-on:input.debounce.250ms": "look"}
        ),
        help_text="Taken as recognised: sessions, tokens and passwords are not looked at.",
    )
    method = forms.ChoiceField(
        label="Wants to",
        choices=[
            (group, [(name, f"{deed} ({name.removesuffix(PLAYER)})") for name, deed in deeds.items()])
            for group, deeds in DEEDS.items()
        ],
        widget=UnfoldAdminSelectWidget({"x-model": "method"}),
    )
    target = forms.CharField(
        label="Name of the stream, or number",
        required=False,
        max_length=1000,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="As WCS sends it; letter case counts.",
    )
    app = forms.CharField(
        label="Through app",
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"list": "apps", "autocomplete": "off"}),
        help_text="The app key.",
    )
    at = Moment(
        label="When",
        required=False,
        help_text="Empty: now. Users and rules are those of today, whatever the moment.",
    )
    address = forms.GenericIPAddressField(
        label="From client address",
        required=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="For rules that ask for a network, as 10.1.2.3 or 2001:db8::7.",
    )
    page = forms.CharField(
        label="On page",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="Its origin, as https://school.example.",
    )
    media = forms.CharField(
        label="By media provider",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="As WebRTC, MSE or HLS; several with commas between.",
    )
    node = forms.CharField(
        label="On node",
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        help_text="The node id.",
    )
    custom = forms.CharField(
        label="Saying of itself, as JSON",
        required=False,
        max_length=MAX_CUSTOM,
        widget=UnfoldAdminTextareaWidget({"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
        help_text='What the client sends in “custom”, as {"role": "teacher"}.',
    )
    body = forms.CharField(
        label="The hook's body as JSON",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 6, "spellcheck": "false", "autocomplete": "off"}),
        help_text="Then name and app are the body's; choose above which method it is. It is not kept, nor put into "
        "an address. Bodies in the audit log have lost their credentials: say above who asks.",
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if values.get("who") == "user" and not values.get("user"):
            self.add_error("user", "Choose a user, or let a guest ask.")
        if values.get("who") == "hook" and not values.get("body"):
            self.add_error("body", "Paste the body of the hook, or choose a user or a guest.")
        self._check_custom(values)
        if values.get("body"):
            for name in ("app", *CIRCUMSTANCES):
                self.errors.pop(name, None)  # the body's count
        elif "://" in (target := values.get("target", "")):
            if values.get("method") == "playRTSP":
                self.add_error("target", "Type the stream's name alone: an address may have a token in it.")
            elif screen_text(target) != target:
                self.add_error(
                    "target", "This may have a login or a token in it. Paste a hook instead: it is not kept."
                )
        if not self.errors:
            self._read_hook(values)
        return values

    def _check_custom(self, values: dict[str, Any]) -> None:
        """It is an object, with nothing secret in it, as it gets into the address."""
        if not (text := values.get("custom")):
            return
        token_name = App.objects.filter(key=values.get("app", "")).values_list("token_name", flat=True).first()
        try:
            _members(text)
            if not _is_shareable(text, token_name or "token"):
                self.add_error("custom", "This may have a password or a token in it. Paste a hook: it is not kept.")
        except (ValueError, RecursionError):
            self.add_error("custom", 'Expected a JSON object, such as {"role": "teacher"}.')

    def _read_hook(self, values: dict[str, Any]) -> None:
        """Put the hook that was asked about into `values["call"]`."""
        name = values["method"].removesuffix(PLAYER)
        try:
            call = HookCall.from_payload(name, find(name), values["body"].encode() or _body(**values))
            of_call = call.method.of_call and not values["body"]
            values["call"] = replace(call, target=values["target"]) if of_call else call
        except (HookTooLarge, MalformedHook) as error:
            self.add_error("body" if values["body"] else "custom", str(error))
        except UnicodeEncodeError:
            self.add_error("body", "The body is not UTF-8.")

    def query(self) -> str:
        """The form as it stands in an address."""
        values = {**self.cleaned_data, "at": self["at"].data}
        return urlencode({name: values[name] for name in SHARED if values[name] and not self._is_idle(name)})

    def _is_idle(self, name: str) -> bool:
        """Whether a field has nothing to say, given what was chosen in another."""
        values = self.cleaned_data
        return (name == "user" and values["who"] != "user") or (name == "target" and values["method"] in UNNAMED)


def _body(
    *, method: str, target: str, app: str, address: str, page: str, media: str, node: str, custom: str, **_: Any
) -> bytes:
    """The body of such a hook."""
    host = f"[{address}]" if ":" in address else address
    members = {
        "nodeId": node or "try-a-hook",
        "sessionId": f"/{host}:1/try-a-hook" if address else "try-a-hook",
        "published": not method.endswith(PLAYER),
        "origin": page,
        "mediaProviders": [provider.strip() for provider in media.split(",") if provider.strip()],
        "custom": _members(custom) if custom else None,
        "appKey": app,
    }
    if method not in UNNAMED and (named_by := find(method.removesuffix(PLAYER)).target):
        members[named_by[0]] = target
    return json.dumps(members).encode()


def shareable_custom(call: HookCall) -> str:
    """What the client said of itself as the form takes it, without secrets; "" where there is nothing to be shared."""
    try:
        members = _members(bytes(call.wire.custom).decode() or "{}")
    except (ValueError, RecursionError):
        return ""
    shared = {name: value for name, value in members.items() if value != "***" and not is_secret(name)}
    text = json.dumps(shared, ensure_ascii=False)
    return text if shared and len(text) <= MAX_CUSTOM and _is_shareable(text, "token") else ""


def _members(text: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError for what is none, or RecursionError."""
    members = json.loads(text, parse_constant=_refuse)
    if not isinstance(members, dict):
        raise ValueError("no object")
    return members


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_shareable(text: str, token_name: str) -> bool:
    """Whether nothing in it is taken for a secret. Raises ValueError for what is no UTF-8."""
    body = b'{"custom":' + text.encode() + b"}"
    return screen(body, token_name) == body
