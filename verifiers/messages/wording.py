"""Text before it is read: unwrap a JSON message, cap it, and level spelling, quotes, markdown and contractions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pivot_envs.verifiers.messages.patterns import needles

MAX_TEXT = 16_000
"""Characters of a message that are read; ours, above every turn of the recorded retail file (longest 9,892)."""
MAX_FACTS = 60_000
"""Characters of observations that are read, the latest ones; ours, above the recorded retail file (largest 36,079)."""
MAX_DEPTH = 40

_QUOTES = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "ʼ": "'",
        "`": "'",
        "“": '"',
        "”": '"',
        "„": '"',
        "«": '"',
        "»": '"',
        "–": "-",
        "—": " - ",
        "−": "-",
        "‑": "-",
        "→": " -> ",
        "⇒": " -> ",
        "§": " section ",  # the sign that masks an atom: written in a message it names none
        "•": "\n",
        "·": "\n",
        "¿": " ",
        "¡": " ",
    }
)
_UNUSUAL = re.compile(r"[^\w\n !-~€£]")
_EMPHASIS = re.compile(r"\*\*|(?m:^\s*[*+] )|(?<!\w)\*(?=\w)|(?<=[a-z.])\*(?!\w)")


def strange_sign(shown: str, other: str) -> str:
    """Return the first sign of a text that could change what it says and that reading would drop, or an empty string.

    Signs of currency, punctuation and emphasis are none; neither is one the demonstration has.
    """
    for sign in _EMPHASIS.sub("", other):
        if sign not in shown and (sign == "*" or unicodedata.category(sign) in _STRANGE) and sign not in "\n\t\r€£$|":
            return sign
    return ""


_STRANGE = frozenset(("Sm", "So", "Sk", "Cc", "Cf", "Co", "Cs", "Cn"))
_CONTRACTIONS = tuple(
    (re.compile(pattern), full, tuple(needles(pattern)))
    for pattern, full in (
        (r"\bcan't\b|\bcannot\b|\bcan not\b", "cannot"),
        (r"\bwon't\b", "will not"),
        (r"\bshan't\b", "shall not"),
        (r"\bain't\b", "is not"),
        (r"n't\b", " not"),
        (r"\blet's\b", "let us"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"'re\b", " are"),
        (r"'m\b", " am"),
        (r"\b(i|you|we|he|she|they)'d\b", r"\1 would"),
        (r"\b(it|that|there|what|he|she|here|where|who)'s\b", r"\1 is"),
        (r"'s\b|s'(?=\s)", " "),
        (r"\bcancel+ation\b", "cancellation"),
        (r"\bdiffers? from\b", "does not match"),
        (r"\bin (?:its|their) place\b", "instead"),
        (r"\b(?:cannot|can never) be (?:undone|reversed|revoked|taken back)\b|\birreversible\b", "is permanent"),
        (r"\bfree (slots?|appointments?|times?|rooms?|tables?|seats?|dates?|places?)\b", r"available \1"),
        (
            r"\b((?:slots?|appointments?|times?|rooms?|tables?|seats?|dates?|openings?|places?)(?: \w+){0,2}"
            r"(?: is| are)(?: still)?) free\b",
            r"\1 available",
        ),
        (
            r"\b(?:at |for )?no (?:extra |additional |further |added )?(?:cost|charge|fee)s?\b"
            r"|\bwithout (?:any |extra |additional )*(?:cost|charge|fee)s?\b|\bfree of (?:charge|cost)\b"
            r"|\b(?:costs? (?:you )?nothing|(?:do|does|will|would) not cost (?:you )?(?:anything|extra|more))\b",
            "free",
        ),
        (r"\b(is|are|was) not (?:currently |yet )?(?:enabled|activated|(?:turned|switched) on)\b", r"\1 disabled"),
        (r"\b(is|are|was) not (?:currently |yet )?(?:disabled|(?:turned|switched) off)\b", r"\1 enabled"),
        (r"(?<=[a-z\d€$£]) ?/ ?(month|year|day|week|night|passenger|person|item|gb)\b", r" per \1"),
        (r"\b(?:24/7|24 hours a day|day and night|at (?:any|all) (?:time|hour)s?)", "around the clock"),
        (r"\bno\.\s?(?=#?\d)", "number "),
        (r"\bnon[ -]?stop\b", "direct"),
        (r"\be ?-? ?mail(?: address)?\b", "email"),
        (r"\b(?:has|have|had|was|were|is|are) not (?:yet )?(?:been )?(?:paid|settled)(?: yet)?\b", "is unpaid"),
    )
)


def unwrap(text: str) -> str:
    """Return the `message` string of a text that is one JSON object holding one, else the text.

    Strings of two or more words under other keys are shown to the customer as well, and follow the message.
    """
    if len(text) > 8 * MAX_TEXT:
        return text
    stripped = text.strip()
    if stripped[:3] == "```" and stripped.endswith("```"):
        stripped = re.sub(r"^```\w*|```$", "", stripped).strip()
    value = parse_json(stripped) if stripped.startswith("{") else None
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        return text
    rest = [value[key] for key in value if key != "message"]
    told = [leaf for item in rest for leaf in leaves(item) if isinstance(item, dict | list) or " " in leaf.strip()]
    return "\n".join([value["message"], *told])


def parse_json(text: str) -> Any:
    """Return the parsed value, or None where the text is no JSON we can hold."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def leaves(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the strings and numbers in a JSON value as text, keys included; strings that are JSON are opened."""
    if depth > MAX_DEPTH or value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        opened = parse_json(value) if value[:1] in ("{", "[") else None
        if isinstance(opened, dict | list):
            yield from leaves(opened, depth + 1)
        else:
            yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key).replace("_", " ") if not any(c.isdigit() for c in str(key)) else str(key)
            yield from leaves(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from leaves(item, depth + 1)
    elif isinstance(value, float):
        yield repr(value)
    elif isinstance(value, int):
        yield str(value) if value.bit_length() < 256 else "a huge number"


def facts_text(*values: Any) -> str:
    """Flatten facts to one text, one leaf a line, capped."""
    parts = deque[str](maxlen=MAX_FACTS)
    for leaf in leaves(list(values)):
        parts.append(leaf[:MAX_TEXT])
    return "\n".join(parts)[-MAX_FACTS:]


@lru_cache(maxsize=256)
def clean(text: str) -> str:
    """Level unicode, quotes and markdown; keep letter case and line ends."""
    limit = len(text) + 1000  # NFKC can make one character eighteen
    text = re.sub(r"(?<!\d)[•·]+ ?(?=\d{3,4}\b)", " ", text)  # a masked card number, no list
    text = unicodedata.normalize("NFKC", text.translate(_QUOTES)).translate(_QUOTES)[:limit]
    text = _UNUSUAL.sub(lambda m: _plain(m.group()), text)
    text = re.sub(r"[ \t]{2,}", " ", re.sub(r"\s*\n\s*\n\s*", "\n\n", re.sub(r"[ \t]{2,}", " ", text)))
    text = re.sub(r"(?m)^[ \t]*\|?[ \t]*:?-{3,}[-| :]*$", "", text)
    text = re.sub(r"\*\*|__|~~|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)", "", text)
    text = re.sub(r"(?m)^[ \t]*(?:[-*>+]|#{1,6} |\(?\d{1,2}[.)](?=\s))[ \t]*", "", text)
    text = re.sub(r"(?<=\s)\d\)\s", " ", text)
    text = re.sub(r"\b(Dr|Mr|Mrs|Ms|Prof|St|approx|incl|dr|mr|mrs|ms)\.(?=\s)", r"\1", text)
    text = re.sub(r"[ \t]*\|[ \t]*", " , ", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def letters(text: str) -> str:
    """Make a name of one capital letter (`plan M`) a word, so that it is read at all."""
    return re.sub(r"(?<![\w'.&/-])([B-HJ-Z])(?![\w'.&/-])", r"\1letter", text)


@lru_cache(maxsize=64)
def lower(text: str) -> str:
    """Lower-case cleaned text and write contractions out."""
    text = text.lower()
    for pattern, full, literals in _CONTRACTIONS:
        if not literals or any(x in text for x in literals):
            text = pattern.sub(full, text)
    return text


def _plain(character: str) -> str:
    if character in "\n$€£+<>=|~^" or character.isalnum():
        return character
    category = unicodedata.category(character)
    if category[0] in "PNLM":
        return character
    return " "
