"""The generated data of the helpdesk world: customers, lines, invoices, outages, visit slots, routers.

`build(seed)` returns plain dict records in tables; the same seed gives the same bytes in every process and Python
version, because only `random.Random.random` is drawn from. People, streets and places are invented.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

TODAY = "2025-06-10"
"""The fixed clock of the world."""
COUNTS = {"customers": 200, "lines": 260, "invoices": 600, "outages": 8, "slots": 40, "visits": 10}
PLANS = {"basic": 25, "plus": 35, "max": 55, "giga": 75}
"""Plan -> euro per month."""
SPEEDS = {"basic": 50, "plus": 100, "max": 500, "giga": 1000}
"""Plan -> Mbit/s."""
TABLES = ("customers", "lines", "invoices", "outages", "slots", "visits", "credits", "cases", "devices")
AREAS = ("Ostrel", "Birkmoor", "Tarnsund", "Velden", "Quarrow", "Hollin", "Merrow", "Sandby", "Ardvik", "Loxham")
MONTHS = ("2025-05", "2025-04", "2025-03")
FIRST_NAMES = (
    "Adele", "Bram", "Clara", "Dario", "Edda", "Farid", "Greta", "Hanno", "Ines", "Jonas", "Kira", "Lars", "Mara",
    "Nils", "Olga", "Pavel", "Quinn", "Rosa", "Sven", "Tilda", "Umar", "Vera", "Wim", "Yara", "Zeno",
)  # fmt: skip
LAST_NAMES = (
    "Abeling", "Brandow", "Cordel", "Dahlum", "Eskin", "Farrow", "Gelder", "Hartog", "Ivers", "Jessen", "Kolbe",
    "Lundin", "Marlow", "Nordal", "Ostby", "Pelling", "Quist", "Rennard", "Solheim", "Tamsin", "Ulmer", "Varga",
    "Wessel", "Yarwood", "Zander",
)  # fmt: skip
STREETS = (
    "Alder Row",
    "Bell Lane",
    "Canal Walk",
    "Dyer Street",
    "Elm Court",
    "Foundry Way",
    "Garden Hill",
    "Harbour Road",
)

Tables = dict[str, dict[str, dict[str, Any]]]
T = TypeVar("T")


class Draw:
    """A stable source of choices: every draw is one `random()` of a seeded generator."""

    def __init__(self, seed: int | str) -> None:
        # Seeding with a string hashes it with SHA-512, the same everywhere.
        self._random = random.Random(str(seed)).random

    def below(self, n: int) -> int:
        """Return an integer in [0, n)."""
        return int(self._random() * n)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.below(len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in a drawn order (Fisher-Yates)."""
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.below(i + 1)
            result[i], result[j] = result[j], result[i]
        return result


@lru_cache(maxsize=4)
def build(seed: int = 0) -> Tables:
    """Return all tables. The result is shared: nobody may write to it."""
    draw = Draw(f"helpdesk-{seed}")
    tables: Tables = {name: {} for name in TABLES}
    _add_customers(tables, draw)
    _add_lines(tables, draw)
    _add_invoices(tables, draw)
    _add_outages(tables, draw)
    _add_slots(tables, draw)
    _add_visits(tables)
    return tables


def _add_customers(tables: Tables, draw: Draw) -> None:
    names = draw.shuffled([(first, last) for first in FIRST_NAMES for last in LAST_NAMES])
    numbers = draw.shuffled(range(1000, 9999))
    for i in range(COUNTS["customers"]):
        first, last = names[i]
        tables["customers"][f"C{i + 1:03d}"] = {
            "name": f"{first} {last}",
            "phone": f"555-{numbers[i]}",
            "email": f"{first}.{last}@example.net".lower(),
            "street": f"{1 + draw.below(98)} {draw.pick(STREETS)}",
            "area": draw.pick(AREAS),
            "lines": [],
        }


def _add_lines(tables: Tables, draw: Draw) -> None:
    customers = list(tables["customers"])
    extra = sorted(draw.shuffled(customers)[: COUNTS["lines"] - len(customers)])
    numbers = draw.shuffled(range(1000, 9999))
    for i, customer in enumerate(sorted(customers + extra)):
        line, serial = f"L{i + 1:03d}", f"R{numbers[i]}"
        tables["customers"][customer]["lines"].append(line)
        tables["lines"][line] = {
            "customer": customer,
            "area": tables["customers"][customer]["area"],
            "plan": draw.pick(("basic", "plus", "plus", "max")),
            "fastest": draw.pick(("max", "giga", "giga")),
            "status": "suspended" if draw.below(25) == 0 else "active",
            "port": "ok",
            "fibre": "ok",
            "serial": serial,
        }
        tables["devices"][line] = {
            "serial": serial, "fibre": "seated", "ethernet": "seated", "wifi": True, "dns": "automatic", "state": "ok",
        }  # fmt: skip


def _add_invoices(tables: Tables, draw: Draw) -> None:
    lines = list(tables["lines"])
    third = draw.shuffled(lines)[: COUNTS["invoices"] - 2 * len(lines)]
    wanted = sorted([(line, m) for line in lines for m in (0, 1)] + [(line, 2) for line in third])
    for i, (line, month) in enumerate(wanted):
        record = tables["lines"][line]
        tables["invoices"][f"I{i + 1:03d}"] = {
            "customer": record["customer"],
            "line": line,
            "month": MONTHS[month],
            "amount": PLANS[record["plan"]] + draw.pick((0, 0, 3, 4, 6, 8)),
            "status": "open" if month == 0 and draw.below(8) == 0 else "paid",
        }


def _add_outages(tables: Tables, draw: Draw) -> None:
    areas = draw.shuffled(AREAS)
    for i in range(COUNTS["outages"]):
        ongoing = i >= 6
        tables["outages"][f"O{i + 1}"] = {
            "area": areas[i],
            "day": TODAY if ongoing else f"2025-06-{1 + draw.below(8):02d}",
            "hours": 3 + draw.below(17) if i < 4 else 21 + draw.below(9),
            "status": "ongoing" if ongoing else "ended",
        }


def _add_slots(tables: Tables, draw: Draw) -> None:
    i = 0
    for area in AREAS:
        days = sorted(draw.shuffled(range(12, 27))[:4])
        for day in days:
            i += 1
            part = draw.pick(("morning", "afternoon"))
            tables["slots"][f"S{i:02d}"] = {"area": area, "day": f"2025-06-{day}", "part": part, "visit": None}


def _add_visits(tables: Tables) -> None:
    """One accepted visit in each area that has a customer late in the table; no task uses these."""
    for area in AREAS:
        owner = next(c for c in reversed(tables["customers"]) if tables["customers"][c]["area"] == area)
        slot = max(s for s, record in tables["slots"].items() if record["area"] == area)
        visit = f"V-{owner}-1"
        line = tables["customers"][owner]["lines"][0]
        tables["visits"][visit] = {"customer": owner, "line": line, "slot": slot, "status": "accepted"}
        tables["slots"][slot]["visit"] = visit
