"""Hard facts in a message: ids, amounts, dates, times, phone numbers, e-mails, percentages, numbers with units.

Each is found in any usual spelling, given one canonical value, and masked in the text as `§k`, so that the rules that
read wording never trip over a dot in an amount.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from pivot_envs.verifiers.messages.units import CURRENCIES, MONTHS, SMALL_NUMBERS, TENS, UNITS

_NUM = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d{1,6})?|\d{1,15},\d{2}(?![\d,])|\d{1,15}(?:\.\d{1,6})?)"
_UNIT = "|".join(UNITS.values()).replace(" ", r"[ ]")
_MONTH = "|".join(f"{m}|{m[:3]}" if m != "september" else "september|sept|sep" for m in MONTHS)
_MERIDIEM = r"(?:am|pm|a\.m\.?|p\.m\.?)(?!\w)"
_CURRENCY_WORD = r"(?:usd|eur|gbp|dollars?|euros?|pounds?|€|£|\$)(?!\w)"

_TOKEN = re.compile(
    rf"""(?<![\w§@])(?=[\d\#$€£+(]|[\w.+-]{{1,64}}[\d@]|us[$€£]|x\s?\d|noon|midnight|{_MONTH})(?:
      (?P<email>[\w.+-]{{1,64}}@[\w-]{{1,64}}(?:\.[\w-]{{1,32}}){{1,4}})
    | (?P<iso>\d{{4}}-\d\d-\d\d)(?:[t ](?P<isotime>\d\d:\d\d)(?::\d\d)?(?:/(?P<isoend>\d\d:\d\d))?)?(?!\d)
    | (?P<days>(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?\s?(?:-|to|until|till|through|and|or)\s?
        (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?
        (?:\ of)?\ (?P<dm>{_MONTH})(?!\w)(?:\.?,?\ (?P<dy>\d{{4}}))?(?!\d))
    | (?P<mdays>(?P<em>{_MONTH})\.?\ (?P<e1>\d{{1,2}})(?:st|nd|rd|th)?\s?(?:-|to|until|till|through|and|or)\s?
        (?P<e2>\d{{1,2}})(?:st|nd|rd|th)?(?![\w:]|\ ?{_MERIDIEM}|\ (?:{_MONTH})(?!\w))(?:,?\ (?P<ey>\d{{4}}))?(?!\d))
    | (?P<dmy>\d{{1,2}}(?:st|nd|rd|th)?(?:\ of)?\ (?:{_MONTH})(?!\w)(?:\.?,?\ \d{{4}}(?!\d))?)
    | (?P<mdy>(?:{_MONTH})\.?\ (?:the\ )?\d{{1,2}}(?:st|nd|rd|th)?(?!\w|:\d)(?:,?\ \d{{4}}(?!\d))?)
    | (?P<slash>\d{{1,2}}/\d{{1,2}}/\d{{2,4}}(?!\d)|[01]\d/[0-3]\d(?![\d/]))
    | (?P<span>(?P<s1>\d{{1,2}})(?::(?P<s1m>\d\d))?\s?(?P<s1p>{_MERIDIEM})?\s?(?:-|to|and|until|till)\s?
        (?P<s2>\d{{1,2}})(?::(?P<s2m>\d\d))?\s?(?P<s2p>{_MERIDIEM}))
    | (?P<time>\d{{1,2}}:\d\d(?::\d\d)?(?:\s?{_MERIDIEM})?|\d{{1,2}}\s?{_MERIDIEM}|(?:12\ )?(?:noon|midnight)(?!\w))
    | (?P<phone>\+?\d{{0,2}}[ -]?\(?\d{{3}}\)?[-. ]\d{{3}}[-. ]\d{{4}}(?!\d)|\d{{3}}-\d{{4}}(?![\d-]))
    | (?P<money>(?:us)?[$€£]\s?{_NUM}|{_NUM}\s?{_CURRENCY_WORD})
    | (?P<percent>{_NUM}\s?(?:%|percent|per\ cent))
    | (?P<range>(?P<r1>{_NUM})\s?(?:-|to|or)\s?(?P<r2>{_NUM})\s?-?\s?(?P<ru>{_UNIT})(?!\w))
    | (?P<measure>(?P<m1>{_NUM})\s?-?\s?(?P<mu>{_UNIT})(?!\w))
    | (?P<times>x\s?\d{{1,3}}(?!\w)|\d{{1,3}}\s?x(?!\w))
    | (?P<ordinal>\d{{1,3}}(?:st|nd|rd|th)(?!\w))
    | (?P<id>\#?(?=[a-z_-]{{0,60}}\d)(?:(?=[\d_-]{{0,30}}[a-z])[a-z\d]{{1,60}}(?:[-_][a-z\d]{{1,60}}){{0,6}})
        |\#\d{{1,30}}|\d{{5,30}}(?![\d.,]\d))
    | (?P<number>{_NUM})
    )""",
    re.VERBOSE,
)
_TENS, _SMALL = "|".join(TENS), "|".join(SMALL_NUMBERS)
_BELOW_100 = rf"(?:(?:{_TENS})(?:[- ](?:{'|'.join(w for w, v in SMALL_NUMBERS.items() if 0 < v < 10)}))?|{_SMALL})"
_BELOW_1000 = rf"(?:(?:{_SMALL}|a) hundred(?: (?:and )?{_BELOW_100}(?!\w))?|{_BELOW_100})"
_WORDS = re.compile(rf"\b(?:(?:{_BELOW_1000}|a) thousand(?:,? (?:and )?{_BELOW_1000}(?!\w))?|{_BELOW_1000})(?![\w-])")
_CENTS = re.compile(r"(\d{1,9}) (dollars?|usd|euros?|eur|pounds?|gbp),? (?:and )?(\d{1,2}) (?:cents?|pence)(?!\w)")
_ONE = re.compile(
    rf"(?<!which )(?<!this )(?<!that )(?<!no )(?<!other )(?<!each )(?<!first )(?<!second )(?<!the )"
    rf"\bone(?! (?:sec|second|minute)\b)(?= (?:more |extra |checked |additional )?(?:{_UNIT}"
    rf"|bags?|items?|passengers?|orders?|lines?|tickets?)(?!\w))"
)


@dataclass(frozen=True)
class Atom:
    """One hard fact. `values` are its possible readings (a slash date has two), `unit` a unit or currency."""

    kind: str
    values: tuple[str | float, ...]
    unit: str = ""
    text: str = ""

    def same(self, other: Atom) -> bool:
        """Say whether both name the same thing, whatever the spelling."""
        if self.kind == other.kind == "date":
            return any(_same_date(str(a), str(b)) for a in self.values for b in other.values)
        if self.kind in NUMERIC and other.kind in NUMERIC:
            if self.unit and other.unit and self.unit != other.unit:
                return False
            return any(abs(float(a) - float(b)) < 1e-9 for a in self.values for b in other.values)
        if {self.kind, other.kind} == {"id", "number"} or {self.kind, other.kind} == {"id", "phone"}:
            return _same_id(self.digits, other.digits, self, other)
        if self.kind == other.kind == "id":
            return bool(set(self.values) & set(other.values)) or _same_id(self.digits, other.digits, self, other)
        return self.kind == other.kind and bool(set(self.values) & set(other.values))

    @property
    def digits(self) -> str:
        """Trailing digits of the spelling."""
        found = re.search(r"(\d+)(?:\.0)?$", re.sub(r"[^\w.]", "", str(self.values[0])))
        return found.group(1) if found else ""

    @property
    def shape(self) -> str:
        """Letters of an id without its digits: ids of one kind share it."""
        return re.sub(r"\d+", lambda m: "9" * min(len(m.group()), 12), str(self.values[0]))


NUMERIC = frozenset({"money", "percent", "number"})


def _same_id(a: str, b: str, left: Atom, right: Atom) -> bool:
    """Bare digits (at least four) name an id with the same tail: `card ending in 1531`, `card_1531`."""
    bare = len(a) >= 4 and a == b
    return bare and (
        str(left.values[0]).strip(".0") == a
        or str(right.values[0]).strip(".0") == b
        or "number" in (left.kind, right.kind)
    )


def _same_date(a: str, b: str) -> bool:
    (ya, da), (yb, db) = a.split("/"), b.split("/")
    return da == db and (not ya or not yb or ya == yb)


@dataclass
class Marked:
    """Text with its atoms masked as `§0`, `§1` ..."""

    text: str
    atoms: list[Atom] = field(default_factory=list)


def mark(text: str) -> Marked:
    """Find the atoms of lower-cased text and mask them."""
    text = _ONE.sub("1", _WORDS.sub(_word_value, text))
    text = _CENTS.sub(lambda m: f"{m[1]}.{int(m[3]):02d} {m[2]}", text)
    marked = Marked("")
    parts: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        found = _atoms_of(match)
        if not found:
            continue
        parts.append(text[position : match.start()])
        start = len(marked.atoms)
        marked.atoms.extend(found)
        parts.append(" to ".join(f"§{start + k}" for k in range(len(found))) + " ")
        position = match.end()
    parts.append(text[position:])
    _settle_order(marked.atoms)
    joined = re.sub(r"(?<=[a-z])[-/_](?=[a-z])", " ", "".join(parts))
    marked.text = re.sub(r"[ \t]+(?=[.,;:!?])", "", re.sub(r"[ \t]+", " ", joined))
    marked.text = re.sub(r"\b(credit|debit) §(\d+)", lambda m: _card(m, marked.atoms), marked.text)
    return marked


def _card(match: re.Match[str], atoms: list[Atom]) -> str:
    """`credit 2207` is a card, `credit $20` a deed."""
    atom = atoms[int(match[2])]
    bare = atom.kind == "number" and not atom.unit and len(atom.digits) == 4
    return f"{match[1]} card §{match[2]}" if bare else match.group()


def _settle_order(atoms: list[Atom]) -> None:
    """One message writes its slash dates in one order: a sure one (13/05) settles the open ones (12/05)."""
    sure = {_day_first(a) for a in atoms if len(a.values) == 1 and "/" in a.text}
    if len(sure - {None}) == 1:
        for k, atom in enumerate(atoms):
            if atom.kind == "date" and len(atom.values) == 2:
                atoms[k] = Atom("date", (atom.values[1 if True in sure else 0],), text=atom.text)


def _day_first(atom: Atom) -> bool | None:
    parts = re.fullmatch(r"(\d{1,2})/(\d{1,2})(?:/\d{2,4})?", atom.text)
    if atom.kind != "date" or not parts or parts[1] == parts[2]:
        return None
    return int(parts[1]) > 12


def _word_value(match: re.Match[str]) -> str:
    if match.group() in ("one", "zero"):  # `one` mostly stands for a thing
        return match.group()
    total = group = 0
    for word in re.findall(r"[a-z]+", match.group()):
        if word == "hundred":
            group *= 100
        elif word == "thousand":
            total, group = group * 1000, 0
        elif word != "and":
            group += 1 if word == "a" else TENS.get(word, SMALL_NUMBERS.get(word, 0))
    return str(total + group)


def _number(text: str) -> float:
    text = text.strip()
    if re.fullmatch(r"\d+,\d{2}", text):
        return float(text.replace(",", "."))
    return float(text.replace(",", ""))


@lru_cache(maxsize=1024)
def _unit(text: str) -> str:
    return next((name for name, pattern in UNITS.items() if re.fullmatch(pattern, text)), text)


def _atoms_of(match: re.Match[str]) -> list[Atom]:
    kind, text = match.lastgroup or "", match.group()
    for name in ("iso", "days", "mdays", "span", "range", "measure"):
        if match[name]:
            kind = name
    if kind == "iso":
        year, rest = match["iso"].split("-", 1)
        found = [Atom("date", (f"{year}/{rest}",), text=text)]
        return found + [Atom("time", _clock(match[g]), text=match[g]) for g in ("isotime", "isoend") if match[g]]
    if kind in ("days", "mdays"):
        first, last, month, year = (match[g] for g in (("d1", "d2", "dm", "dy") if kind == "days" else _MONTH_FIRST))
        ends = (_month_date(f"{day} {month} {year or ''}") for day in (first, last))
        return [Atom("date", values, text=text) for values in ends if values]
    if kind in ("dmy", "mdy", "slash"):
        values = _slash_date(text) if kind == "slash" else _month_date(text)
        return [Atom("date", values, text=text)] if values else []
    if kind == "span":
        return _time_span(match)
    if kind == "time":
        return [Atom("time", _clock(text), text=text)]
    if kind == "phone":
        digits = re.sub(r"\D", "", text)
        return [Atom("phone", (digits[-10:],), text=text)]
    if kind == "money":
        number = re.search(_NUM, text)
        symbol = re.sub(r"[\d.,\s]", "", text)
        return [Atom("money", (_number(number.group()),), CURRENCIES.get(symbol, symbol), text)] if number else []
    if kind == "range":
        return [Atom("number", (_number(match[g]),), _unit(match["ru"]), text) for g in ("r1", "r2")]
    if kind == "measure":
        return [Atom("number", (_number(match["m1"]),), _unit(match["mu"]), text)]
    return _simple_atom(kind, text)


def _simple_atom(kind: str, text: str) -> list[Atom]:
    if kind == "email":
        return [Atom("email", (text.rstrip(".-"),), text=text)]
    if kind == "id":
        return [Atom("id", (re.sub(r"[#_-]", "", text),), text=text)]
    number = re.search(_NUM, text)
    if not number:
        return []
    unit = {"percent": "%", "ordinal": "th"}.get(kind, "")
    return [Atom("percent" if kind == "percent" else "number", (_number(number.group()),), unit, text)]


_MONTH_FIRST = ("e1", "e2", "em", "ey")


def _month_date(text: str) -> tuple[str, ...]:
    month = re.search(_MONTH, text)
    numbers = re.findall(r"\d+", text)
    if not month or not numbers:
        return ()
    index = next(i for i, name in enumerate(MONTHS, 1) if name.startswith(month.group()[:3]))
    year = next((n for n in numbers if len(n) == 4), "")
    day = next((int(n) for n in numbers if len(n) <= 2), 0)
    return (f"{year}/{index:02d}-{day:02d}",)


def _slash_date(text: str) -> tuple[str, ...]:
    a, b, *rest = (int(x) for x in text.split("/"))
    year = str(rest[0] + (2000 if rest[0] < 100 else 0)) if rest else ""
    return tuple(dict.fromkeys(f"{year}/{m:02d}-{d:02d}" for m, d in ((a, b), (b, a)) if 1 <= m <= 12 and 1 <= d <= 31))


def _clock(text: str) -> tuple[str, ...]:
    if "noon" in text or "midnight" in text:
        return ("720",) if "noon" in text else ("0",)
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    hour, minute = numbers[0], numbers[1] if len(numbers) > 1 else 0
    meridiem = re.search(r"([ap])\.?m", text)
    if meridiem:
        return (str((hour % 12 + (12 if meridiem[1] == "p" else 0)) * 60 + minute),)
    minutes = hour * 60 + minute
    if 1 <= hour <= 11 and not text.startswith("0"):
        return (str(minutes), str(minutes + 720))
    return (str(minutes),)


def _time_span(match: re.Match[str]) -> list[Atom]:
    end_half = "p" if match["s2p"].startswith("p") else "a"
    end = int(_clock(f"{match['s2']}:{match['s2m'] or '00'} {end_half}m")[0])
    start_text = f"{match['s1']}:{match['s1m'] or '00'}"
    start = int(_clock(f"{start_text} {(match['s1p'] or end_half)[0]}m")[0])
    if not match["s1p"] and start >= end:
        start = int(_clock(f"{start_text} {'a' if end_half == 'p' else 'p'}m")[0])
    return [Atom("time", (str(start),), text=match.group()), Atom("time", (str(end),), text=match.group())]


class Pool:
    """Atoms that may be mentioned because somebody or something said them before."""

    def __init__(self, atoms: Iterable[Atom]) -> None:
        self._by_value: dict[str, list[Atom]] = {}
        self._seen: set[tuple[str, tuple[str | float, ...], str]] = set()
        for atom in atoms:
            self.add(atom)

    def add(self, atom: Atom) -> None:
        """Take one more; of many with one key the first 64 are kept, which bounds a look-up."""
        identity = (atom.kind, atom.values, atom.unit)
        if identity in self._seen:
            return
        self._seen.add(identity)
        for key in _keys(atom):
            bucket = self._by_value.setdefault(key, [])
            if len(bucket) < 64:
                bucket.append(atom)

    def __contains__(self, atom: Atom) -> bool:
        if (atom.kind, atom.values, atom.unit) in self._seen:
            return True
        return any(atom.same(other) for key in _keys(atom) for other in self._by_value.get(key, ()))


def _keys(atom: Atom) -> set[str]:
    if atom.kind == "date":
        return {"d" + str(value).split("/")[1] for value in atom.values}
    keys = {"t" + str(value) for value in atom.values} if atom.kind == "time" else {str(value) for value in atom.values}
    if atom.kind in NUMERIC:
        keys = {repr(float(value)) for value in atom.values}
    if atom.kind in ("id", "number", "phone") and len(atom.digits) >= 4:
        keys.add("#" + atom.digits)
    return keys
