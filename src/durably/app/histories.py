"""What has happened to one execution, as a value that outlives its store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from durably.engine.facts import ExecutionStarted, Fact


class History:
    """Everything that has happened to one execution, from its start on.

    `Engine.export` gives one, and so does `durably history --export`. It can be written to a file,
    read again by this and every later version, and replayed: see `durably.testing`.

    Attributes:
        facts: what happened, in order, what the history of the service does not show included.
        is_masked: whether the values in it stand in for others.
    """

    __slots__ = ("facts", "is_masked")

    def __init__(self, facts: Sequence[Fact], *, is_masked: bool = False) -> None:
        self.facts = tuple(facts)
        self.is_masked = is_masked

    def __repr__(self) -> str:
        return f"<History of {self.function_name}/{self.execution_name}, {len(self.facts)} facts>"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a file.

        Raises:
            ValidationError: it is not that of a history, or of one that this version cannot read.
        """
        from durably.engine.portable import read_history  # noqa: PLC0415 - not before it is needed

        facts, is_masked = read_history(text)
        return cls(facts, is_masked=is_masked)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read a file; raises as `parse` does.

        Raises:
            OSError: it cannot be read.
        """
        from pathlib import Path  # noqa: PLC0415 - not before it is needed

        return cls.parse(Path(path).read_text(encoding="utf-8"))

    def write(self, path: str | PathLike[str]) -> None:
        """Write it to a file, which nobody but its owner may read: it may hold anything.

        Raises:
            OSError: it cannot be written.
        """
        import os  # noqa: PLC0415 - not before it is needed

        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", newline="\n") as file:
            os.fchmod(file.fileno(), 0o600)  # it may have been there
            file.write(self.text)

    def masked(self) -> History:
        """Give it without what it carries: as many facts, replayed alike, that tell nothing.

        Names, ids and types stay; so do the shape and type of each value, `true`, `false`, `null`
        and zero. Every other text and number is replaced, always by the same one, and error
        messages are. A function that decides by such a value may replay otherwise.
        """
        from durably.engine.masking import mask_facts  # noqa: PLC0415 - not before it is needed

        return History(mask_facts(self.facts), is_masked=True)

    @property
    def text(self) -> str:
        """The text of a file with it: JSON, one line for each fact."""
        from durably.engine.portable import write_history  # noqa: PLC0415 - not before needed

        return write_history(self.facts, is_masked=self.is_masked)

    @property
    def arn(self) -> str:
        """The execution."""
        return self._start.arn

    @property
    def function_name(self) -> str:
        """The function that it is of."""
        return self._start.function_name

    @property
    def execution_name(self) -> str:
        """What it is called among those of its function."""
        return self._start.execution_name

    @property
    def _start(self) -> ExecutionStarted:
        from durably.engine.facts import ExecutionStarted  # noqa: PLC0415 - not before needed

        start = self.facts[0]
        assert isinstance(start, ExecutionStarted), "an execution begins with its start"
        return start
