"""Agent text cut into clauses with their mood: the ground that `speech.py` reads acts from.

Knows English sentence shapes (negation, questions, requests, subordinate clauses), nothing of routers or invoices.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAX_TEXT = 2000
"""Characters a customer listens to; hostile texts are longer."""

_SPELLINGS = (
    (r"[\u2018\u2019\u201b`]", "'"), (r"[\u201c\u201d]", '"'), (r"[\u2010-\u2015]", "-"), (r"\bwi[- ]?fi\b", "wifi"),
    (r"\be-?mail\b", "email"), (r"\bfiber\b", "fibre"), (r"\bre-([a-z])", r"re\1"),
    (r"\bpower[- ]cycl", "powercycl"), (r"\bspeed[- ]?test", "speedtest"), (r"\bcolor", "colour"),
    (r"\bcan't\b", "cannot"), (r"\bwon't\b", "will not"), (r"\blet's\b", "let us"), (r"n't\b", " not"),
    (r"'ll\b", " will"), (r"'ve\b", " have"), (r"'d\b", " would"), (r"'m\b", " am"), (r"'re\b", " are"),
    (r"\b(what|that|it|there|here|who)'s\b", r"\1 is"), (r"\bcancell?(ed|ing)\b", r"cancel\1"), (r"[*_#>|~]+", " "),
    (r"\bok\b", "okay"), (r"\ball right\b", "alright"), (r"\blook (?:quickly|closely|again|now) at\b", "look at"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), replacement) for pattern, replacement in _SPELLINGS)

VERBS = (
    "reboot|restart|powercycle|reset|turn|switch|toggle|enable|disable|activate|deactivate|replug|unplug|reseat|"
    "reconnect|plug|push|disconnect|remove|pull|reinsert|insert|tighten|connect|check|look|tell|read|describe|see|"
    "inspect|verify|report|run|do|perform|start|make|measure|repeat|try|test|give|send|find|provide|share|set|change|"
    "put|configure|select|choose|use|restore|accept|confirm|approve|open|have|take|let|wait|say|state|spell|note|"
    "unscrew|go|press|hold|click|book|schedule|cancel|issue|move|transfer|keep|leave|touch|power|name|pick|write|ignore|"
    "refresh|load|visit|return|enter|ensure"
)
_STARTS = (
    "please|kindly|just|also|now|first|next|finally|afterwards|after|once|when|if|before|then|i|you|we|it|he|she|they|"
    "the|your|my|that|this|there|do|does|did|could|can|would|will|shall|should|may|might|must|is|are|was|were|has|have|"
    "what|which|how|when|where|who|simply|no|not|never|try|rather|instead|to"
)
_BREAK = re.compile(
    r"\s*(?:[,:]\s+(?:and\s+|or\s+|but\s+|so\s+|nor\s+)?(?:then\s+)?(?=(?:" + _STARTS + "|" + VERBS + r")\b)"
    r"|\s(?P<link>and|or|nor|but|so)\s+(?:then\s+)?(?=(?:" + _STARTS + "|" + VERBS + r")\b)"
    r"|,?\s(?:and\s+)?(?:then|afterwards|after that|followed by)\s+"
    r"|\s+-+\s+|\s*\(|\)\s*|;\s*)"
)
_REPORT_LINK = re.compile(
    r"\b(?:tell me|let me know|say|see|check|verify|report|confirm)(?: back)? (?:if|whether|that)\b"
)
_TRAILING = re.compile(
    r"\s(?=(?:if|unless|once|when|after|before|while|until|because|since|as soon as|in case|so that)\s)"
)
_SUBORDINATE = re.compile(
    r"^(?:and |but |so |only |even )?(if|unless|once|when|after|before|while|until|because|since|"
    r"as soon as|in case|should the)\b"
)
_QUESTION = re.compile(
    r"^(?:and |so |now |okay |well |but |then |also |just |sorry |please )*(?:what|which|who|whose|"
    r"where|when|why|how|is|are|"
    r"was|were|do|does|did|have|has|had|can|could|would|will|shall|should|may|might|am|"
    r"any)\b(?! not (?:re|un|touch|turn|switch|use|do|plug|pull|run|set|change))"
)
_NEGATION = re.compile(
    r"\b(?:not|never|no need|without|avoid|unnecessary|needless|instead of|rather than|stop|refrain|nor|neither|"
    r"no longer|no reason|no point|skip|hold off|nothing)\b"
)
_NO_NEGATION = re.compile(
    r"\b(?:not (?:forget|hesitate|only|yet)|why (?:do you not|not|do not you|do not we)|could you not|"
    r"if not|(?:would|do) you not mind)\b"
)


@dataclass(frozen=True)
class Clause:
    """A piece of a sentence."""

    text: str
    question: bool
    """The sentence ends in a question mark, or the clause starts like a question."""
    subordinate: str = ""
    """if, unless, once, when, after, before, ... where the clause hangs on another."""
    link: str = ""
    """and, or, nor where it continues the clause before; empty where it starts anew."""

    def negated(self, position: int) -> bool:
        """Whether a negation stands before the position."""
        before = self.text[:position]
        return bool(_NEGATION.search(_NO_NEGATION.sub(" ", before)))


def normalise(text: str) -> str:
    """Lower case, plain quotes, one spelling; cut to what a customer listens to."""
    text = unicodedata.normalize("NFKC", text[:MAX_TEXT])[:MAX_TEXT].lower()
    for pattern, replacement in _COMPILED:
        text = pattern.sub(replacement, text)
    return text[:MAX_TEXT]


def sentences(text: str) -> list[tuple[str, bool]]:
    """Return (sentence, ends in a question mark) of normalised text."""
    found = []
    for match in re.finditer(r"([^.!?\n]|[.!?](?=[^\s.!?\"')]))+([.!?\"')]*)", text):
        sentence = match.group(0).strip(" \t.!?\"'()-")
        if sentence:
            found.append((" ".join(sentence.split()), "?" in match.group(2)))
    return found


def clauses(sentence: str, question: bool) -> list[Clause]:
    """Cut one sentence."""
    pieces: list[tuple[str, str]] = []
    position, link = 0, ""
    for match in _BREAK.finditer(sentence):
        if match.start() > position or match.start() == 0:
            pieces.append((sentence[position : match.start()], link))
        position, link = match.end(), match.group("link") or ""
    pieces.append((sentence[position:], link))
    result: list[Clause] = []
    for text, joined in pieces:
        for i, part in enumerate(_trailing(text.strip(" ,"))):
            if not part:
                continue
            hangs = _SUBORDINATE.search(part)
            asks = question or bool(_QUESTION.search(part)) and not hangs
            result.append(Clause(part, asks, hangs.group(1) if hangs else "", joined if i == 0 else ""))
    return result


def _trailing(text: str) -> list[str]:
    """Cut off a subordinate clause that follows its main clause, unless it is what shall be reported."""
    for match in _TRAILING.finditer(text):
        polite = re.match(r"if you (?:could|would|can|will)\b", text[match.end() :])
        if match.start() > 0 and not polite and not _REPORT_LINK.search(text[: match.end() + 8]):
            return [text[: match.start()].strip(), text[match.end() :].strip()]
    return [text]
