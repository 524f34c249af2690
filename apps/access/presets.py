"""Presets: the handful of rules that a kind of people usually needs. They are proposed, and saved by whoever asked."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apps.access.models import NumberClass, Rule
from apps.access.validators import validate_number_prefix

ANYTHING = ("any", "")
IN_A_CALL = ("answer", "hold", "transfer", "dtmf", "message", "receive-call", "receive-message", "receive-transfer")


@dataclass(frozen=True)
class Asked:
    """Whom the rules are for, as fields of a rule, and how the names or numbers begin that they are about."""

    who: dict
    begins: str = ""

    def rule(self, note: str, *actions: str, target: tuple[str, str] = ANYTHING, **fields) -> Rule:
        """A rule for them that is not saved."""
        kind, text = target
        said = {"effect": Rule.Effect.ALLOW, "target_kind": kind, "target": text, **fields}
        return Rule(actions=list(actions), note=note, **self.who, **said)


@dataclass(frozen=True)
class Preset:
    """A kind of people, in words; `missing` is said where it needs beginnings of names and got none; `check` raises
    ValidationError for beginnings that are no good.
    """

    title: str
    says: str
    rules: Callable[[Asked], Iterable[Rule]]
    missing: str = ""
    check: Callable[[str], None] | None = None


def _teacher(asked: Asked) -> Iterable[Rule]:
    yield asked.rule("To come in at all.", "connect")
    yield asked.rule("To teach, and to watch the others.", "publish", "play", target=("prefix", asked.begins))
    yield asked.rule("Chat, and telling what is broken.", "data", "bug-report")


def _viewer(asked: Asked) -> Iterable[Rule]:
    yield asked.rule("To come in at all.", "connect")
    yield asked.rule("To watch.", "play", target=("prefix", asked.begins))
    yield asked.rule("Chat, and telling what is broken.", "data", "bug-report")


def _camera(asked: Asked) -> Iterable[Rule]:
    own = f"{asked.begins}{{user}}"
    yield asked.rule("To come in at all.", "connect")
    yield asked.rule("Each under its own name ...", "publish", target=("glob", own))
    yield asked.rule("... or under names that go on from it.", "publish", target=("glob", f"{own}-*"))
    yield asked.rule("A camera watches nothing, whatever else is allowed.", "play", effect=Rule.Effect.DENY)


def _agent(asked: Asked) -> Iterable[Rule]:
    numbers = ("number-prefix", asked.begins) if asked.begins else ANYTHING
    yield asked.rule("To come in at all.", "connect")
    yield asked.rule("To call people, one at a time.", "call", target=numbers, limit_per="user", at_once=1)
    yield asked.rule("What a call is made of.", *IN_A_CALL)
    if premium := NumberClass.objects.filter(name="premium").first():
        yield asked.rule(
            "No premium numbers, whatever else is allowed.",
            *("call", "transfer"),
            target=("number-class", ""),
            number_class=premium,
            effect=Rule.Effect.DENY,
        )


def _guest(asked: Asked) -> Iterable[Rule]:
    yield asked.rule("Guests may come in ...", "connect")
    yield asked.rule("... to watch.", "play", target=("prefix", asked.begins))


STREAMS = "Say how the names of their streams begin, for example lesson-."
PRESETS = {
    "teacher": Preset("Teacher", "publishes and watches streams whose names begin alike", _teacher, STREAMS),
    "viewer": Preset("Viewer", "watches streams whose names begin alike", _viewer, STREAMS),
    "camera": Preset("Camera", "publishes under its own name, and watches nothing", _camera),
    "agent": Preset("Agent", "makes and takes calls", _agent, check=validate_number_prefix),
    "guest": Preset("Guest", "comes without an account, and watches", _guest, STREAMS),
}
