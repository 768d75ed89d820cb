"""What service-desk English talks about: operations, things asked for, options, opposites, synonyms.

Patterns are matched against text that `wording.py` has lower-cased and freed of contractions, where every number, id,
date, time and amount stands as `§k`. Nothing here knows a domain's records; words are chosen for a kind of work
(orders, trips, lines, devices), not for a case. How a sentence speaks stands in `cues.py`.
"""

from __future__ import annotations

import re

from pivot_envs.verifiers.messages.patterns import A, any_of, table
from pivot_envs.verifiers.messages.units import MONTHS, WEEKDAYS

OPERATIONS = table(
    {
        "refund": rf"refund\w*|reimburs\w*|money back|(?:pay|paid|paying|gave|giving) (?:you )?back|(?:get|got"
        rf"|receive|have|pay|paid|give|gave|put|see)(?: "
        rf"you)? (?:{A}"
        rf"|the (?:money|amount))(?: (?:dollars|usd))? (?:back|on (?:your|the))|(?:have|has|was|were|been|i|we) "
        rf"returned (?:you )?(?:{A}(?:,? (?:and )?)?)+|you (?:have )?received {A}"
        rf"|{A} (?:would|will|is|are|to|can|(?:has|have) been) (?:be )?return\w* to (?:your|the)"
        rf"|{A} (?:is|are) (?:now |already |back |right )*on your (?:gift |credit |debit )?(?:card|paypal)"
        rf"|(?:paypal|cards?)(?: account)? (?:will |would |to )?(?:receives?|gets? back)"
        rf"|(?:put|paid|sent|moved|com(?:e|es|ing)) back (?:on|in)?to|(?:put|paid) back on"
        rf"|cards? (?:\w+ ){{0,3}}credited"
        rf"|(?:go|goes|going|sent) back (?:to|onto)|credited (?:back )?to (?:your"
        rf"|the) (?:\w+ )?(?:card|paypal)|{A} back",
        "cancel": r"cancel\w*|terminat\w*|discontinu\w*|call(?:ed)? off|annul\w*",
        "return": r"return\w*|(?:send|sent|sending|ship|mail) (?:it|them|the \w+|that|this) back|(?:come|coming) "
        r"back|inbound",
        "exchange": r"exchang\w*|swap\w*|replac(?:e|ed|ing|ement|ements)",
        "modify": r"modif\w*|re ?schedul\w*|postpon\w*|rebook\w*|mov(?:e|ed|ing) (?:the )?(?:visit|appointment"
        r"|flight|reservation|booking)|mov(?:e|ed|ing) (?:your|the|you)(?! up| down)|switch(?:ed|ing)? (?:you )?(?:to"
        r"|from|over|plans?)|switch(?=\?)"
        r"|chang(?:e|ed|es|ing)|updat\w*|edit(?:ed|ing)?|corrected|can correct|could correct|set to|switched "
        r"to|set (?:the |your |a |it |them )?(?:\w+ ){0,3}to"
        r"|(?:make|made|apply) (?:this|the|that|these) (?:change|adjustment)s?"
        rf"|(?:put|mov(?:e|ed|ing)) (?:(?:the|your|this|my) )?(?:line |number |you |it )?(?:{A} )?(?:on|to|onto) "
        r"(?:the )?(?:\w+ )?(?:plan|tariff|package)",
        "book": r"book(?:ed|ing|ings)?|schedul\w*|reserved?|arranged?|proposed"
        r"|(?<!identity )(?<!account )(?:is|are|was|be|been)"
        r" (?:now |already |all )?confirmed",
        "upgrade": r"upgrad\w*|mov(?:e|ed|ing) you up",
        "downgrade": r"downgrad\w*|mov(?:e|ed|ing) you down",
        "charge": r"charg(?:e|ed|es|ing)(?! at| (?:an?|your|the|my) (?:electric|car|phone|device|battery|ev))"
        r"|debit(?:ed|ing)|billed"
        r"|(?:would|will|must|have to|has to|need to|to) (?:be )?(?:pay|paid)|use the visa|surcharge",
        "certificate": r"certificates?",
        "credit": r"(?<!store )credit(?:s|ed|ing)?(?! cards?)|store credit",
        "benefit": r"discount\w*|vouchers?|coupons?|(?<!as )(?<!as a )compensat\w*|(?<!as )(?<!as a )goodwill"
        r"|complimentary|waiv\w*|bonus|rebate\w*"
        r"|price match"
        r"|\d+ ?% off",
        "free": r"(?<!feel )free(?! to)|(?:at no|no) (?:extra )?(?:cost|charge|fee)s?|without (?:any )?(?:charge|cost"
        r"|fee)s?"
        r"|costs? (?:you )?nothing|on the house",
        "transfer": rf"transfer\w*"
        rf"|(?:send|move) (?:{A}(?! (?:on)?to (?:the )?(?:\w+ )?(?:plan|tariff|package))|the money|money)"
        r"|connect(?:ing|ed)? you"
        r"|(?:put|hand|pass)(?:ting|ing|ed)? you (?:through|over|on to)"
        r"|(?:hand|pass)(?:ing|ed)? (?:this|it|you|your \w+) (?:over|on)"
        r"|(?:get|bring|forward|rout|direct|switch)(?:e|ing|ed)? you (?:to|over)|bring(?:ing)? in (?:a|one)"
        r"|(?:a|our|my|one of (?:my|our)) (?:human |live |support )?(?:agent|colleague|representative|specialist)s?"
        r" (?:will|is going to) (?:take|assist|help)",
        "reboot": rf"reboot\w*|restart\w*|power cycl\w*|(?:turn|switch|power)\w* (?:it |\w+ \w+ |\w+ )?off(?: for "
        rf"{A})? and (?:then )?"
        r"(?:back |turn it |switch it )*on(?: again)?",
        "reset": r"reset\w*|factory settings",
        "unblock": r"unblock\w*|unfreez\w*|unfroze\w*",
        "block": r"block(?:ed|ing)?(?! the (?:connection|signal))|freez(?:e|ing)|froze\w*",
        "suspend": r"suspend\w*|suspension",
        "resume": r"resum\w*|reactivat\w*|unsuspend\w*|lift(?:ed)? the suspension",
        "refuel": rf"refuel\w*|refill\w*|top(?:ped|ping)? up|add\w* (?:{A} )?(?:of )?(?:more |extra )?data",
        "reorder": r"re ?order\w*|place\w* (?:a|an|the|another) (?:new )?order",
        "ticket": rf"escalat\w*|tickets?(?: {A})? (?:for|has|was|is)|open(?:ed)? a ticket|fil(?:e|ed) a|complaint "
        rf"ticket|logged a",
        "dispatch": r"(?:send|sent|sending|dispatch\w*) (?:a|an|the|our|you a) (?:technician|engineer)",
        "accept": r"(?<!like to )(?<!want to )accept(?:ed|ing|s)?(?! (?:card|pay))|approv\w*"
        r"|confirm(?= (?:\S+ ){1,3}in (?:the|your) app\b)",
        "decline": r"declin\w*|turn(?:ed)? down",
        "on": r"(?:turn|switch|toggl|power)\w* (?:(?!off)\S+ ){0,5}on(?! (?:your|the (?:router|phone|device)) "
        r"off)|enabl\w*"
        r"|(?<!re)activat\w*|plug\w*(?: it| them| the cable)?(?: back)? in|reconnect\w*|(?:re )?insert\w*|reinsert\w*"
        r"|(?:put|push|stick|slot|click|fit)\w* (?:it|them|the \w+(?: \w+)?) back(?: in)?|connect (?:the|your|to)"
        r"|reseat\w*|re seat\w*|replug\w*",
        "off": r"(?:turn|switch|toggl|power)\w* (?:(?!on)\S+ ){0,5}off|disabl\w*|deactivat\w*|unplug\w*|disconnect\w*"
        r"|remov(?:e|ed|ing)|tak(?:e|ing) out|tak(?:e|ing) (?:the |your )?(?:\w+ ){0,3}out|pull\w* (?:it |the \w+ )?out"
        r"|reseat\w*|re seat\w*|replug\w*",
        "speed_test": r"speed ?tests?",
        "fix": r"fix(?:ed|es|ing)?|resolv\w*|restored?|repair\w*",
        "found": r"(?:found|find|locat\w*|see|identified) (?:your|the|an|no|you in|any) (?:account|profile|user|record)"
        r"|(?:locate|found|find|located|pulled up) your (?:account|profile)|you are (?:now |all )?verified"
        r"|verified your (?:account|identity)|account (?:is|has been) (?:now )?(?:verified|found|located)|pulled "
        r"up your",
    }
)
"""What a desk or a customer does. Order matters: an earlier entry takes the words before a later one sees them."""

BENEFITS = frozenset({"credit", "certificate", "benefit", "free", "refund", "upgrade", "dispatch", "ticket"})
"""Operations that give the customer something: never free to add."""

DEVICE = frozenset({"reboot", "reset", "on", "off", "speed_test", "accept", "decline"})
"""Operations a customer can be told to carry out."""

EFFECTIVE = frozenset(OPERATIONS) - {"free", "benefit", "accept", "decline", "speed_test", "found", "return"}
"""Operations whose claim, if untrue, is a false report."""

ASKED = table(
    {
        "email": r"e ?mails?(?: address(?:es)?)?",
        "phone_number": r"(?:tele)?phone numbers?|mobile numbers?|cell numbers?|numbers? of (?:the|your) (?:\w+ )?line"
        r"|phone or e ?mail|e ?mail or phone|contact number",
        "name": r"(?:first|last|full|your|family|sur) ?(?:and last |name and last )?names?|names? (?:and|plus) "
        r"(?:\w+ )?(?:zip|postal)",
        "zip": r"zip ?codes?|zip|postal codes?|postcodes?",
        "birth_date": r"dates? of birth|birth ?dates?|birthdays?|dob|born",
        "user_id": r"user ?ids?|user ?names?|customer (?:ids?|numbers?)|login",
        "account_number": r"account (?:ids?|numbers?)|bank account",
        "ssn": r"social security|ssn|tax id",
        "passport": r"passports?|identity card|driver'?s? licen[cs]e",
        "secret": r"pin|pin code|passcodes?|passwords?|security (?:code|question)|cvv",
        "card_number": rf"card numbers?|(?:last|final) (?:four|{A}) digits|digits (?:of|on) (?:the|your) card"
        rf"|{A} digits .{{0,30}}\bend",
        "order_id": r"(?:order|reservation|booking|confirmation) (?:ids?|numbers?|codes?|references?)",
        "reason": r"reasons?|why",
        "payment_method": r"payment methods?|how (?:would you like|you would like|do you want|you want) to pay"
        r"|(?:prefer|like|want|rather|you) (?:to )?pay (?:by|with|using)|which (?:card|payment)|card (?:to use|you "
        r"(?:would like"
        r"|want) to use|should i use)",
        "origin": r"origin|(?:which|what) (?:city|airport) (?:would|do|are|will) you|from (?:which|what) (?:city"
        r"|airport)|departure (?:city|airport)|(?:flying|fly|travel\w*|depart\w*) from",
        "destination": r"destination|arrival (?:city|airport)|from and to|(?:flying|fly|travel\w*) to",
        "travel_date": r"(?:travel|departure|flight|preferred) dates?|dates? you|what dates?|which dates?|which day"
        r"|what day"
        r"|when (?:would|do) you",
        "trip_type": r"one way|round trip|return ticket",
        "passengers": r"(?:how many|number of) passengers|passenger (?:names?|details)",
        "address": r"(?<!mail )(?<!mac )address(?:es)?",
        "variant": r"options?|variants?|configuration|specifications?|specs",
        "serial": r"serial(?: numbers?)?",
        "mac": r"mac(?: address)?",
    }
)
"""What a message may ask a customer for."""

IDENTITY = frozenset(
    {
        "email",
        "phone_number",
        "name",
        "zip",
        "birth_date",
        "user_id",
        "account_number",
        "ssn",
        "passport",
        "secret",
        "card_number",
    }
)

EXCLUSIVE: dict[str, dict[str, re.Pattern[str]]] = {
    "status": table(
        {
            "pending": "pending|not (?:yet )?(?:been )?(?:shipped|processed)",
            "processed": "(?<!not )(?<!not yet )(?<!not been )(?<!not yet been )processed",
            "delivered": "delivered|arrived",
            "shipped": "(?<!not )(?<!not yet )(?<!not been )(?<!not yet been )(?:shipped|in transit|on (?:its|the) way"
            "|sent out|dispatched)",
            "overdue": "overdue|past due|unpaid|outstanding|still open|open and due|still (?:need|have) to pay|"
            "not (?:yet )?(?:been )?(?:paid|settled)",
            "paid": "(?<!not )(?:is|was|were|been|fully|already) (?:paid|settled)",
            "delay": r"delay\w*",
            "active": "active(?! from)",
        }
    ),
    "payment": table(
        {
            "gift card": "gift ?cards?",
            "credit card": "credit ?cards?",
            "debit card": "debit ?cards?",
            "paypal": "pay ?pal",
            "visa": "visa",
            "mastercard": "master ?card",
            "amex": "amex|american express",
            "original": "original (?:payment|method|form|card)|same (?:payment|card)|used originally|originally used"
            "|you paid with",
        }
    ),
    "cabin": table(
        {
            "basic economy": "basic economy",
            "business": "business(?! days?)",
            "first class": "first class",
            "economy": "(?<!basic )economy",
        }
    ),
    "colour": table(
        {
            c: c
            for c in ("red green blue black white yellow amber orange purple pink grey silver gold brown beige").split()
        }
        | {"grey": "gr[ae]y"}
    ),
    "size": table({"small": "small", "medium": "medium", "large": "large", "xl": "xl|extra large"}),
    "material": table(
        {c: c for c in "leather cotton polyester silicone metal wood plastic glass ceramic steel fabric".split()}
    ),
    "trip": table({"one way": "one way", "round trip": "round trip|return (?:trip|ticket)|one way or return"}),
    "day": table(
        {d: f"{d}|{d[:3]}|{d[:4]}" for d in WEEKDAYS}
        | {d: d for d in ("tomorrow", "yesterday", "tonight")}
        | {"today": "today|this (?:morning|afternoon|evening)"}
    ),
    "month": table(
        {m: m for m in MONTHS}
        | {
            "may": r"(?:for|in|of|since|from|until|till|during|by|last|next) may"
            r"|(?:this|the|your|and|or) may(?! (?:i|we|you|it|be|have|not|also|still|take|need)\b)"
            r"|may (?=invoice|bill|amount|statement|was|is|were)"
        }
    ),
    "part of day": table(
        {part: rf"(?<!good ){part}s?" for part in ("morning", "afternoon", "evening")} | {"night": r"at night"}
    ),
    "period": table(
        {
            "month": "(?:per|a|each|every) month|monthly|/ ?month",
            "year": "(?:per|a|each|every) year|yearly|annual(?:ly)?",
            "day": "(?:per|a|each|every) day|daily",
            "week": "(?:per|a|each|every) week|weekly",
        }
    ),
    "basis": table(
        {
            "each": "per (?:passenger|person|item|bag|traveler)|each passenger|apiece",
            "total": "in total|altogether|overall|total|(?:passengers|both|all|items|of you|people) together|combined"
            "|in all",
        }
    ),
    "channel": table(
        {
            "email": r"e ?mail(?:ed)?",
            "sms": "text messages?|sms|texted|by text",
            "post": "by post|by mail|letter",
            "call": "phone call|by phone|call you",
        }
    ),
    "network": table(
        {
            "wifi": "wi ?fi(?! calling)|wlan|wireless network",
            "mobile data": "(?:mobile|cellular) data",
            "ethernet": "ethernet|lan",
        }
    ),
    "device": table(
        {
            "router": "routers?|gateway",
            "terminal": "(?:optical |fib(?:er|re) )?(?:network )?terminal|ont|fib(?:er|re) box",
            "phone": "(?:phone|handset|smartphone)(?! numbers?)",
            "modem": "modem",
            "laptop": "laptop|computer|pc",
            "tv": "tv|television",
        }
    ),
    "part": table(
        {
            "sim": "e?sim(?: card)?",
            "cable": "cables?|cords?|leads?(?! to)|wires?",
            "light": "lights?|leds?|lamps?|indicators?",
            "button": "buttons?",
            "port": "ports?",
        }
    ),
    "setting": table(
        {
            "airplane mode": "(?:air|aero)plane mode|flight mode",
            "roaming": "(?:data )?roaming",
            "wifi calling": "wi ?fi calling",
            "vpn": "vpn",
            "dns": "dns(?: server)?",
            "apn": "apn",
            "data saver": "data saver(?: mode)?",
            "network mode": "network (?:mode|type)|preferred network",
            "battery saver": "battery saver|power saving",
        }
    ),
    "cable": table(
        {
            "fibre": "fib(?:er|re)(?: optic)? (?:cable|lead|cord|wire|patch)",
            "power": "power (?:cable|cord|supply|lead)",
            "network cable": "(?:ethernet|network|lan) (?:cable|lead|cord)",
        }
    ),
    "share": table(
        {
            "whole": r"(?:full|entire|whole|complete) (?:amount|sum|price|fare|fee|refund|balance|total)"
            rf"|(?:full|entire|whole) {A}",
            "half": rf"half (?:of |the |price|fare)+(?:{A})?|half {A}",
            "double": rf"(?:double|twice) (?:the|that|this|{A})",
            "third": r"(?:a|one) (?:third|quarter) of",
        }
    ),
    "mode": table({"automatic": "automatic(?:ally)?|auto", "manual": "manual(?:ly)?|custom"}),
    "document": table(
        {
            "insurance": "insurance",
            "warranty": "warranty",
            "receipt": "receipts?",
            "invoice": "invoices?|bills?|billed|billing|statements?",
        }
    ),
}
"""Groups whose members shut each other out; a member the demonstration names must be named."""

OPPOSITES: tuple[tuple[str, re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (name, any_of(a), any_of(b))
    for name, a, b in (
        (
            "amount",
            r"more than|over|at least|above|longer than|exceed\w*|older than",
            r"less than|under|fewer than|within|below|at most|up to|not more than|(?:in|within) the (?:past|last)",
        ),
        (
            "price",
            r"cheap(?:er|est)|low(?:er|est)(?: price\w*)?|least expensive",
            r"most expensive|high(?:er|est)|pric(?:ier|iest)|dearest",
        ),
        ("extent", r"larger|largest|bigger|biggest|longer|longest", r"smaller|smallest|shorter|shortest"),
        ("age", r"newer|newest|latest|most recent", r"older|oldest|earliest"),
        ("speed", r"faster|fastest|quicker", r"slower|slowest"),
        ("direction", r"incoming|inbound|upload", r"outgoing|outbound|download"),
        ("side", r"left", r"right (?:side|hand)"),
        ("move", r"increas\w*|rais\w*|went up|goes up", r"decreas\w*|lower(?:ed|s)|reduc\w*|went down|goes down"),
        ("cost", r"(?<!feel )free(?! to)|complimentary|no (?:extra )?(?:cost|charge)", r"pay|charged?|costs?|fees?"),
        ("sequence", r"before you|before the|prior to", r"after you|after the|once you|following"),
        (
            "edge",
            r"start(?:s|ed|ing)?|begin\w*|began",
            r"ends?|ended|stop(?:s|ped)?|expir\w*|(?:runs?|valid|lasts?|open) (?:until|through|to)",
        ),
        (
            "state",
            r"(?:is|are|was|currently|still|already|seems?|be) (?:currently |still |already |switched |turned "
            r"|now )*(?:on(?! (?:the|your|file|its|our|a|m|\w+day|§))|enabled|active|connected)",
            r"(?:is|are|was|currently|still|already|seems?|be|been) (?:currently |still |already |switched "
            r"|turned |now |to be )*(?:off|disabled|inactive|disconnected)",
        ),
        ("plug", r"plug(?:ged)? (?:it )?in", r"unplug\w*"),
        ("lock", r"unlock\w*", r"lock(?:ed|s)?"),
        ("approve", r"accept\w*|approv\w*|agree\w*", r"declin\w*|reject\w*|refus\w*|den(?:y|ied)"),
        ("credit", r"refund\w*|credited", r"charged?|debited"),
        ("gain", r"add(?:ed|ing)?", r"remov(?:e|ed|ing)|delet\w*"),
        (
            "give",
            r"issu(?:e|ed|ing)|grant\w*|giv(?:e|en|ing)|gave|credit(?:ed)?|appl(?:y|ied)",
            r"(?:take|took|taken|claw\w*) back|taken (?:from|off)|withdr[ae]w\w*|revok\w*|revers(?:e|ed|es|ing)",
        ),
        (
            "hold",
            r"(?:has|have|is on|are on|put|move|switch|keep|keeps|stays on)",
            r"los(?:t|es?)|no longer (?:has|have)|off (?:the )?(?:\w+ )?(?:plan|tariff|package)",
        ),
        ("always", r"always|every time", r"never"),
        ("both", r"both|all of", r"neither|none of"),
        ("work", r"works?(?: again)?|working|back up|online", r"(?:does|do|did) not work|broken|down|offline"),
        ("tense", r"will(?! not)|going to|shortly", r"already(?! (?:in|on))|ago"),
        ("novelty", r"new (?:plan|address|order|price|flight|card)", r"old (?:plan|address|order|price|flight|card)"),
    )
)
"""Pairs of opposites: one side here and only the other side there means a changed claim."""
