"""What is wrong with an access file, and where: all problems are found in one go, each with its place."""

from dataclasses import dataclass, field

from django.core.exceptions import ValidationError


class AccessFileError(Exception):
    """What is wrong with a file: one sentence for each problem, with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Bad(Exception):
    """A value that cannot be used; its problem has been noted already."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file something stands. The problems are those of the whole file."""

    name: str = ""
    problems: list[str] = field(default_factory=list)

    def key(self, key: str) -> "Place":
        return Place(f"{self.name}.{key}" if self.name else key, self.problems)

    def item(self, number: int) -> "Place":
        return Place(f"{self.name}[{number}]", self.problems)

    def problem(self, sentence: str) -> Bad:
        """Note a problem; raise what you get where there is no going on without the value."""
        self.problems.append(f"{self.name or 'the file'}: {sentence}")
        return Bad(sentence)

    def refused(self, error: ValidationError, **keys: str) -> None:
        """Note what a model says about its fields. `keys` are those that the file calls otherwise."""
        for name, sentences in error.message_dict.items():
            self.key(keys.get(name, name)).problem(" ".join(sentences))
