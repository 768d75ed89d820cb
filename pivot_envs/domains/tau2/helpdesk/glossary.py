"""The helpdesk's glossary: words that say the same at its desk, what is done to what, and who does it."""

from __future__ import annotations

from pivot_envs.verifiers.messages.glossary import Glossary

_FAMILIES = {
    name: frozenset(words.split())
    for name, words in {
        "plan_change": "change put move switch set",
        "plan": "plan tariff package permonth",
        "price": "cost price mean permonth",
        "billed": "invoice bill billed charge charged amount statement",
        "credited": "credit issue give grant apply",
        "outage": "outage disruption",
        "lasted": "last take",
        "possible": "possible allow rule rules able eligible entitle atmost possibility",
        "refused": "unfortunately sorry possible impossible",
        "open": "open unpaid outstanding",
        "offered": "free available offer come slot visit appointment date time technician engineer",
        "wanted": "prefer suit like want choose pick best better convenient",
        "agreed": "come confirm book schedule arrange reserve",
        "technician": "technician engineer visit appointment",
        "moved": "instead move reschedule",
        "accepted": "accept confirm",
        "app": "app application",
        "registered": "register registered record records match matches file belong",
        "other": "differ another other different than mismatch",
        "handed": "transfer connect colleague specialist human person agent expert hand",
        "look": "look check see show read find view",
        "told": "tell say give share provide read know state",
        "restored": "work works fix restore resolve repair solve online restored",
        "measured": "show give say result measure reach reads report",
        "test": "speedtest test",
        "carried_out": "run start perform make",
        "stuck": "stuck hang hung frozen",
        "restart": "restart reboot",
        "wifi": "wifi wireless wlan network",
        "fibre": "fibre fiber",
        "replug": "unplug plug reconnect disconnect reseat replug reinsert pull push",
        "label": "label sticker print printed stand stands written",
        "waiting": "moment wait bear minute second into",
        "asked_about": "mean about talk concern affect",
        "working": "work everything internet side online",
        "unchanged": "unchanged keep stay leave remain same",
        "phone": "phone telephone",
        "light": "light lamp led",
    }.items()
}

_IMPLIED = (
    ("@ask_identity", "account identity verify find first start before know need register give share tell provide say"),
    ("@ask_identity", "use look details"),
    ("@ask", "tell give read share say know see look check again whether suggest step need want like must they them"),
    ("@report", "done"),
    ("@report =plan", "put change move switch set"),
    ("=waiting", "look check account record find let while take see up details"),
    ("which line", "account see more several two both than mean about concern question"),
    ("=restored", "again full speedtest show give get fault running connection internet speed"),
    ("@instruct =test", "work internet whether connection start run perform"),
    ("internet =working", "start run perform speedtest test whether see"),
    ("@ask_confirm =credited", "possible"),
    ("=handed", "must look into"),
    ("reset", "help stuck hang"),
    ("=replug", "put take out back remove insert firmly connect again router"),
    ("dns", "reset change switch set open go menu server router line fine"),
    ("internet =working", "fine"),
    ("=restored", "fine"),
    ("=other router", "serial number"),
    ("cancel =booked", "instead move reschedule"),
    ("cancel =agreed", "instead move reschedule"),
    ("visit fix", "come confirm book schedule arrange reserve"),
    ("=technician =agreed", "fix set"),
    ("serial", "router device number label sticker printed print stand"),
    ("router light", "colour color show look"),
    ("=offered =wanted", "between among two three following there"),
    ("=possible", "much too"),
    ("=refused", "much too"),
    ("=open", "until while paid because still"),
    ("not match", "differ another other different than mismatch"),
)

_TO_DO = r"(?: (?:me|us) to)?"
_FINE = r"(?:okay|ok|fine|right|correct|good|happy)"
_FOR_YOU = r"(?: (?:for|with|by) you)?"

_PHRASES = (
    (r"once more|one more time|another time|a second time|once again", "again"),
    (r"back (?=up\b|online\b|on\b|to\b|at\b|in\b)", ""),
    (r"(?:up|back) (?:and running|again)|(?:is|are) up(?= |$)", "works again"),
    (r"right (?:now|away)|at (?:the|this) moment|from (?:now|today|here) on", "now"),
    (r"at (?:the )?most|no more than|not more than|a maximum of|up to", "atmost"),
    (r"(?:per|each|every|a) month|monthly", "permonth"),
    (r"as (?:it|they) (?:is|are)|as is|no changes?", "unchanged"),
    (r"nothing (?:changes|will change|is changed)", "unchanged nothing change"),
    (r"too much", "impossible"),
    (
        r"power cycle|(?:turn|switch|power) (?:it|(?:the|your) router)? ?off and (?:then )?(?:turn |switch )?"
        r"(?:it )?(?:back )?on(?: again)?",
        "restart",
    ),
    (r"(?:is|are|has|have|needs?) to", "must"),
    (r"(?:that|this|which) means(?: that)?", ""),
    (r"(?:comes?|came|amounts?|amounted) to(?= §)", "is"),
    (r"to look up|look up", "look"),
    (r"all (?:set|done)", "done"),
    (r"reference(?: number)?(?= (?:is )?§)", "number"),
    (r"speed test", "speedtest"),
    (r"confirm(?= (?:\S+ ){1,3}in (?:the|your) app)", "accept"),
    (r"you (?:can |will |would )?(?:now )?(?:get|receive)(?= (?:a|the|this) credit)", "there is"),
    (r"(?:call|called|calling) off", "cancel"),
    (r"wi fi", "wifi"),
    (r"will (?:be )?(?:come|coming|there|visit you|visit)", "come"),
    (r"as well|of course|for (?:you|me|us)|to be (?:sure|safe)|just to (?:be sure|confirm)|let us", ""),
    (r"all right|alright", "okay"),
    (r"in that case|as (?:a|the) (?:first|next) step|to (?:start|begin) with|after that|then", ""),
    (
        r"(?:i|we) (?:can|could|am (?:happy|glad|pleased) to) (?:confirm|tell you|say|inform you)(?: that)?",
        "",
    ),
    (r"(?:i|we) (?:can |do )?(?:see|found|find)(?: here)?(?: that)?", ""),
    (
        r"(?:do|would) you (?:still )?(?:want|like|wish|prefer)(?: for)? (?:me|us) to|(?:want|like) (?:me|us) to",
        "consent i",
    ),
    (rf"(?:(?:would|will) (?:it|that|this) be|is it) {_FINE}{_FOR_YOU} (?:if|that)", "consent"),
    (rf"(?:is|would|are) (?:that|this|it|you)(?: be)? {_FINE}{_FOR_YOU}(?: with (?:that|this|it))?", "consent"),
    (r"(?:okay|ok|fine) (?:for|with|by) you|do you (?:agree|approve)|yes or no|with your permission", "consent"),
    (rf"(?:please )?confirm\?|(?:could|can) you confirm\?|if (?:that|this|it) is {_FINE}", "consent"),
    (rf"if you (?:agree|want|like|wish|would like){_TO_DO}|go ahead(?: and)?", "consent"),
    (r"(?:i|we) (?:would like|need|want) you to|i suggest (?:that )?you(?: to)?", "please"),
    (r"(?:could|can|would) you(?: please)?|you (?:can|should|could) now", "you please"),
)

GLOSSARY = Glossary(
    families=_FAMILIES,
    implied=_IMPLIED,
    phrases=_PHRASES,
    deeds=frozenset("plan_change credited agreed moved accepted handed carried_out restart replug".split()),
    states=frozenset(
        "have need want like see know get find prefer mean show choose read look check tell give use register pay keep "
        "work receive are were was can".split()
    ),
    weighty=frozenset(
        "hope hopefully wish no yes nope yep more other else last long before until while could would must want few "
        "day days again back two one only all some such ever once then next after soon today time first business trip "
        "location field value call calling going go moment second minute sorry problem trouble issue".split()
    ),
    own=frozenset("record records system file files side end database data colleague colleagues team pleasure".split()),
    classes=frozenset(
        "line number visit appointment slot invoice bill credit router outage serial technician amount plan "
        "ending".split()
    ),
    things=frozenset("line port router cable dns server setting wifi label serial number plan visit invoice".split()),
    objects=(
        ("reset", "port dns server setting"),
        ("restart reboot", "router"),
        ("unplug replug reseat push pull", "cable"),
        ("read", "serial number label"),
    ),
    subjects=(("stuck hang hung frozen", "port"),),
    bygone=frozenset("invoice amount bill".split()),
    happened=frozenset({"outage"}),
    charged=_FAMILIES["billed"],
)
"""What everything said at the helpdesk is made of."""
