"""Forms for rules, one for each of the two lists that staff think in."""

from django import forms

from apps.access.models import SAID, CallPermission, NumberClass, Rule, StreamPermission
from apps.access.protection import problem_of
from apps.accounts.pages import Checkboxes
from apps.protocol.action_words import ACTION_WORDS
from apps.protocol.methods import ACTIONS, STREAM_ACTIONS

CALL_ACTIONS = tuple(action for action in ACTIONS if action not in STREAM_ACTIONS)


class RuleForm(forms.ModelForm):
    """One sentence of permission. A rule with actions of the other list too is offered all, so none gets lost."""

    offered: tuple[str, ...] = ()
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

    def _post_clean(self) -> None:
        """Once the rule is put together: say if it would do nothing."""
        super()._post_clean()
        if not self.errors and (problem := problem_of(self.instance, NumberClass.objects.all())):
            self.add_error("number_class" if self.instance.number_class else "target", problem)


class StreamPermissionForm(RuleForm):
    offered = STREAM_ACTIONS

    class Meta(RuleForm.Meta):
        model = StreamPermission


class CallPermissionForm(RuleForm):
    offered = CALL_ACTIONS

    class Meta(RuleForm.Meta):
        model = CallPermission
