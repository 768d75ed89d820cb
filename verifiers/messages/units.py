"""Names of months and weekdays, numbers in words, units and currencies: what any English text shares."""

from __future__ import annotations

MONTHS = ("january february march april may june july august september october november december").split()

WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()

SMALL_NUMBERS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}

TENS = {
    word: 10 * (position + 2)
    for position, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split())
}

UNITS = {
    "gb": r"gb|gigs?|gigabytes?",
    "mb": r"mb|megabytes?",
    "tb": r"tb|terabytes?",
    "gbps": r"gbps|gbit/s|gigabits? per second",
    "mbps": r"mbps|mbit/s|mbits?|megabits? per second",
    "kbps": r"kbps|kbit/s|kilobits? per second",
    "ms": r"ms|milliseconds?",
    "second": r"seconds?|secs?|s",
    "minute": r"minutes?|mins?",
    "hour": r"hours?|hrs?|h",
    "business day": r"business days?|working days?",
    "day": r"days?",
    "week": r"weeks?",
    "month": r"months?",
    "year": r"years?|yrs?",
    "inch": r"inch|inches",
    "foot": r"ft|foot|feet",
    "cm": r"cm|centimet(?:er|re)s?",
    "mm": r"mm|millimet(?:er|re)s?",
    "m": r"met(?:er|re)s?",
    "km": r"km|kilomet(?:er|re)s?",
    "mile": r"miles?",
    "mg": r"mg|milligrams?",
    "watt": r"w|watts?",
    "night": r"nights?",
    "ml": r"ml|millilit(?:er|re)s?",
    "l": r"lit(?:er|re)s?",
    "kg": r"kg|kilos?|kilograms?",
    "lb": r"lbs?|pounds? of weight",
    "mah": r"mah",
    "mp": r"mp|megapixels?",
    "g-network": r"g",
}

CURRENCIES = {
    "$": "$",
    "usd": "$",
    "us$": "$",
    "dollar": "$",
    "dollars": "$",
    "€": "€",
    "eur": "€",
    "euro": "€",
    "euros": "€",
    "£": "£",
    "gbp": "£",
    "quid": "£",
    "pounds": "£",
    "pound": "£",
}
