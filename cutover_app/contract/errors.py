"""What can be wrong with a contract, before and while it is used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a contract file: where, at which setting, and what was expected."""

    file: str
    line: int
    """0 where the problem is with the file as a whole."""
    setting: str
    text: str

    def __str__(self) -> str:
        """Return the one line that is shown."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.setting}: {self.text}" if self.setting else f"{place}: {self.text}"


class ContractError(ValueError):
    """A contract that cannot be used; all that is wrong with it, a line each."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class SettingError(ValueError):
    """A setting that does not fit to others; `place` leads from where it is raised to the setting."""

    def __init__(self, text: str, *place: str | int) -> None:
        super().__init__(text)
        self.place = place


class ImpureHookError(RuntimeError):
    """A rebuild that made two different results of one record; verdicts would not repeat."""


class ComparisonError(RuntimeError):
    """A disagreement of digest and comparison: a defect of this program, so nothing may go on."""
