"""The speech acts an agent's message can hold: what `speech.py` reads and a customer answers."""

from __future__ import annotations

from dataclasses import dataclass

DEMANDING = ("step", "ask_done", "ask_identity", "ask_yes", "ask_choice", "ask_more", "ask_need", "close")
"""Kinds of acts that ask the customer for something."""


@dataclass(frozen=True)
class Act:
    """One speech act. `topic` is a device tool, an operation or a field, by kind; `slots` its values."""

    kind: str
    """One of DEMANDING, or wait, transfer, refuse, greet, inform."""
    topic: str = ""
    slots: tuple[tuple[str, str], ...] = ()
    condition: str = ""
    """For a step: the light it depends on, such as `fibre=red`."""

    def slot(self, name: str) -> str:
        """Return a slot's value or an empty string."""
        return dict(self.slots).get(name, "")

    @property
    def is_demanding(self) -> bool:
        """Whether the act asks the customer for something."""
        return self.kind in DEMANDING
