"""One client: what it does step by step, and what it experienced."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.simulator.bodies import Body
from apps.simulator.node import SimulatedNode
from apps.simulator.policies import Outcome
from apps.simulator.session import Session
from apps.simulator.words import sentence

if TYPE_CHECKING:
    from apps.simulator.actions import Action


TRY_AGAIN = 1.0
"""Seconds until a client tries again where there was no proper answer to its connect."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who a client is, and through what it connects."""

    name: str
    app: str = "defaultApp"
    address: str = ""
    origin: str | None = "https://school.example"
    token: str | None = None
    login: str | None = None
    password: str | None = None
    custom: Body = field(default_factory=dict)
    sip: Body = field(default_factory=dict)
    start: float = 0.0

    def __repr__(self) -> str:
        return f"Person({self.name!r})"

    @property
    def credentials(self) -> Body:
        """`custom` of connect: what the page passed on, and what shows who this is."""
        shown = {"token": self.token, "login": self.login, "password": self.password}
        return self.custom | {name: value for name, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Planned:
    """One step of a scenario: an action, its options, and what is expected of it."""

    action: "Action"
    options: dict[str, Any]
    expect: str | None = None


@dataclass(slots=True)
class Experience:
    """What happened in one step, or (without `experience`) by itself."""

    words: str
    experience: str | None = None
    method: str | None = None
    status: int | None = None
    expected: str | None = None

    @property
    def differs(self) -> bool:
        return self.expected is not None and self.expected != self.experience


class Client:
    """Lives through its steps, as often as `rounds` says, and leaves at the end of each round.

    `experiences` has everything of the first round, and of later ones what differs; `told` is what it
    was told in its last session.
    """

    def __init__(self, node: SimulatedNode, person: Person, steps: tuple[Planned, ...], rounds: int = 1) -> None:
        self.node = node
        self.person = person
        self._session: Session | None = None
        self.experiences: list[Experience] = []
        self.told: list[str] = []
        self._steps = steps
        self._rounds = rounds

    @property
    def name(self) -> str:
        return self.person.name

    @property
    def session(self) -> Session:
        """The session it has; actions that need one run only while it has one."""
        if self._session is None:
            raise LookupError(f"{self.name} has no session.")
        return self._session

    @property
    def connected(self) -> bool:
        return self._session is not None and self._session.open

    @property
    def differences(self) -> list[Experience]:
        return [experience for experience in self.experiences if experience.differs]

    def live(self) -> None:
        self.node.leaving.wait(self.person.start)
        for round_number in range(self._rounds):
            first = round_number == 0
            got_through = self._live_once(first)
            if self.leave() and first:
                self.notice("left")
            if not got_through:
                self.node.leaving.wait(TRY_AGAIN)

    def leave(self) -> bool:
        """The page is closed; False if there was no connection any more."""
        session, self._session = self._session, None
        if session is None:
            return False
        left = session.disconnect()
        self.told = [f"{told.event} {told.status}".strip() for told in session.told]
        return left

    def connect(self, session: Session, *, lose_answers: int = 0) -> Outcome:
        self.leave()
        self._session = session
        return session.connect(lose_answers=lose_answers)

    def notice(self, words: str) -> None:
        self.experiences.append(Experience(words))

    def happened(self, asked: str, outcome: Outcome, done: str) -> Experience:
        status = outcome.answer.status if outcome.answer else None
        return Experience(sentence(asked, outcome, done), outcome.experience, outcome.method, status)

    def _live_once(self, first: bool) -> bool:
        """One round; False if connect got no proper answer."""
        got_through = True
        for step in self._steps:
            if self.node.leaving.is_set():
                break
            done = self._take(step)
            if first or done.differs:  # long loads do not pile up what went well
                self.experiences.append(done)
            if done.method == "connect":
                got_through = done.experience != "failed"
        return got_through

    def _take(self, step: Planned) -> Experience:
        if step.action.needs_session and not self.connected:
            done = Experience(f"could not {step.action.name}: not connected")
        else:
            done = step.action.run(self, **step.options)
        done.expected = step.expect
        return done
