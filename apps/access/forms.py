"""Forms for rules, one for each of the two lists that staff think in: each asks only for what its actions can use."""

from collections.abc import Iterable

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from apps.access.models import CAPS, SAID, CallPermission, NumberClass, Rule, StreamPermission
from apps.access.protection import problem_of
from apps.accounts.pages import Checkboxes, CommaList
from apps.connections.models import App, Node
from apps.protocol.action_words import ACTION_WORDS
from apps.protocol.methods import ACTIONS, STREAM_ACTIONS

OTHER_ACTIONS = tuple(action for action in ACTIONS if action not in STREAM_ACTIONS)
MEDIA_PROVIDERS = ("WebRTC", "RTMP", "RTSP", "HLS", "MSE", "WSPlayer", "Flash")
"""What WCS calls what carries the media, as far as its documents say."""

OFFERED = 20
"""Apps and nodes that are offered to be ticked; where there are more, their names are typed."""

STREAM_KINDS, NUMBER_KINDS = ("stream", "stream-group"), ("number-prefix", "number-class")


class TickOrType(forms.MultiWidget):
    """Boxes for what there is, and a line for anything else, separated by commas."""

    def __init__(self, choices: Iterable[str]):
        self.choices = list(choices)
        boxes = UnfoldAdminCheckboxSelectMultipleWidget(choices=[(text, text) for text in self.choices])
        hint = "Others, separated by commas" if self.choices else "Separated by commas"
        line = UnfoldAdminTextInputWidget({"placeholder": hint, "aria-label": hint})
        super().__init__({"ticked": boxes, "typed": line})

    def decompress(self, value):
        texts = value or []
        if isinstance(texts, str):  # out of the address of a form that is filled in
            texts = [text.strip() for text in texts.split(",")]
        typed = ", ".join(text for text in texts if text not in self.choices)
        return [[text for text in texts if text in self.choices], typed]

    def build_attrs(self, base_attrs, extra_attrs=None):
        """Without unfold's names for a script: one would stand for all the boxes together."""
        attrs = super().build_attrs(base_attrs, extra_attrs)
        return {name: value for name, value in attrs.items() if not name.startswith("x-")}


class TextsToTick(forms.MultiValueField):
    """A list of texts: those ticked, then those typed."""

    def __init__(self, choices: Iterable[str], **kwargs):
        widget = TickOrType(choices)
        ticked = forms.MultipleChoiceField(choices=[(text, text) for text in widget.choices], required=False)
        typed = CommaList(forms.CharField(max_length=255), required=False)
        super().__init__((ticked, typed), widget=widget, required=False, require_all_fields=False, **kwargs)

    def compress(self, data_list):
        ticked, typed = data_list or ([], [])
        return list(dict.fromkeys([*(ticked or []), *(typed or [])]))


class RuleForm(forms.ModelForm):
    """One sentence of permission. What a rule says already is offered whatever the list, so none of it gets lost."""

    offered: tuple[str, ...] = ()
    kinds_of_others: tuple[str, ...] = ()
    fields_of_others: tuple[str, ...] = ()
    """Kinds of target and fields that the actions of this list have no use for."""

    actions = Checkboxes(label="To do what", error_messages={"required": "Tick at least one action."})

    class Meta:
        model = Rule
        fields = (*SAID, "enforced", "note")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if "actions" in self.fields:
            mixed = set(self.instance.actions or ()) - set(self.offered)
            offered = ACTIONS if mixed else self.offered
            self.fields["actions"].choices = [(action, ACTION_WORDS[action]) for action in offered]
        if "target_kind" in self.fields:
            self.fields["target_kind"].choices = [
                (kind, label)
                for kind, label in self.fields["target_kind"].choices
                if kind not in self.kinds_of_others or kind == self.instance.target_kind
            ]
        self._offer("media_providers", MEDIA_PROVIDERS)
        self._offer("apps", App.objects.order_by("key").values_list("key", flat=True)[: OFFERED + 1])
        self._offer("nodes", Node.objects.order_by("node_id").values_list("node_id", flat=True)[: OFFERED + 1])

    def _offer(self, name: str, texts: Iterable[str]) -> None:
        """Let a list of texts be ticked, if there are not too many."""
        if name in self.fields:
            field, texts = self.fields[name], list(texts)
            self.fields[name] = TextsToTick(
                texts if len(texts) <= OFFERED else (),
                label=field.label,
                help_text=field.help_text,
            )

    @classmethod
    def unused(cls, rule: Rule | None) -> set[str]:
        """Fields that neither the actions of this list have a use for, nor this rule."""
        return {name for name in cls.fields_of_others if rule is None or not getattr(rule, name)}

    def _post_clean(self) -> None:
        """Once the rule is put together: say if it would do nothing."""
        super()._post_clean()
        if not self.errors and (problem := problem_of(self.instance, NumberClass.objects.all())):
            self.add_error("number_class" if self.instance.number_class else "target", problem)


class StreamPermissionForm(RuleForm):
    offered = STREAM_ACTIONS
    kinds_of_others = NUMBER_KINDS
    fields_of_others = ("number_class", "callee")

    class Meta(RuleForm.Meta):
        model = StreamPermission


class CallPermissionForm(RuleForm):
    offered = OTHER_ACTIONS
    kinds_of_others = STREAM_KINDS
    fields_of_others = ("stream", "stream_group", "media_providers", "record", *CAPS)

    class Meta(RuleForm.Meta):
        model = CallPermission
