"""Words by themselves: what means the same, what carries no weight, what is another language."""

from __future__ import annotations

SYNONYMS = {
    word: group[0]
    for group in (
        ("buy", "purchase", "order", "acquire"),
        ("help", "assist", "support", "aid"),
        ("reservation", "booking"),
        ("speed", "fast", "quick"),
        ("sorry", "apology", "apologize", "apologise", "regret"),
        ("item", "product", "article"),
        ("fee", "cost", "price", "rate", "charge"),
        ("issue", "problem", "trouble", "fault"),
        ("tell", "inform", "say", "let", "know", "share", "provide", "give", "send", "supply"),
        ("get", "receive", "obtain", "have"),
        ("show", "see", "display", "find", "found", "look", "check", "appear", "notice", "locate"),
        ("start", "begin", "commence", "launch"),
        ("end", "finish", "stop", "expire"),
        ("soon", "shortly", "promptly"),
        ("immediate", "instant", "now", "away"),
        ("choose", "select", "pick", "prefer", "want", "like", "wish", "suit"),
        ("need", "require", "necessary", "must"),
        ("use", "utilize", "utilise"),
        ("turn", "switch", "toggle"),
        ("wait", "hold", "pause"),
        ("work", "function", "operate"),
        ("internet", "connection", "network"),
        ("fly", "flight", "depart", "leave", "outbound", "departure"),
        ("bag", "baggage", "luggage", "suitcase"),
        ("difference", "gap"),
        ("technician", "engineer"),
        ("visit", "appointment", "slot"),
        ("plan", "tariff", "package", "subscription"),
        ("line", "number"),
        ("device", "handset", "phone"),
        ("area", "region", "neighborhood", "neighbourhood"),
        ("back", "rear", "backside"),
        ("current", "existing", "present", "old", "previous"),
        ("new", "replacement", "target"),
        ("stock", "available", "availability"),
        ("eligible", "qualify"),
        ("ask", "request"),
        ("complete", "finish", "done", "ready"),
        ("include", "contain", "cover", "comprise"),
        ("cause", "reason", "due", "because"),
        ("slow", "sluggish"),
        ("expect", "estimate", "anticipate"),
        ("instruction", "guide", "step", "direction"),
        ("extra", "additional", "more", "another"),
        ("each", "every", "per"),
        ("lose", "lost", "missing"),
        ("permit", "allow"),
        ("also", "too"),
        ("try", "attempt"),
        ("correct", "right", "accurate"),
        ("fiber", "fibre"),
        ("card", "cards"),
        ("affect", "impact"),
        ("move", "relocate"),
        ("place", "put"),
        ("allowance", "limit", "quota"),
        ("weak", "poor"),
        ("everyone", "everybody"),
        ("anyone", "anybody"),
        ("someone", "somebody"),
        ("policy", "rule", "rules", "policies"),
        ("customer", "client"),
        ("improve", "better"),
        ("colour", "color"),
        ("account", "profile"),
        ("owe", "pay", "payment", "paid"),
        ("collect", "pickup"),
        ("repair", "fix", "resolve", "solve"),
        ("deliver", "delivery", "shipment", "ship"),
        ("remain", "left", "rest"),
        ("light", "lamp", "led", "indicator"),
        ("total", "altogether", "overall"),
        ("gb", "gigabyte", "gig"),
        ("invoice", "bill", "statement"),
        ("address", "location"),
        ("picture", "photo", "image"),
        ("register", "file", "link", "associate"),
        ("person", "human", "colleague", "agent", "representative"),
        ("permanent", "final"),
        ("whole", "entire", "full"),
    )
    for word in group
}

VERIFYING = frozenset(
    "verify security secure identity identify first begin start profile account purpose before locate register "
    "registered"
    " file link linked associated find pull record system continue access order orders".split()
)
"""Words around a question of identity that say why it is asked."""

FOREIGN = frozenset(
    "ich sie ist nicht habe haben und mit für bitte danke eine einen ihre ihren wird wurde auf das der"
    " le les des une est pas vous nous votre vos merci avec pour je bonjour el los las una gracias usted su por para"
    " favor hola il che sono grazie della obrigado você não uma het een niet wij jullie dank".split()
)
"""Function words of other languages, none of them English."""

FILLER = frozenset(
    "thank thanks please sorry apology apologize apologise help happy glad great good wonderful perfect sure "
    "course certainly absolutely understand frustrating frustration inconvenience patience "
    "appreciate kind kindly okay ok alright hello hi hey dear welcome today moment quick quickly simple simply "
    "just really very so truly completely much reach touch contact wait "
    "pleasure love lovely excellent awesome nice fine well feel free hesitate anything else further question know "
    "let ready confirm confirmation proceed ahead reply answer yes no go "
    "following detail details summary information info here note additionally also moreover however unfortunately "
    "regret safe side sake worry problem trouble hear oh no stressful "
    "situation experience bit little thing something everything process request currently now again already still "
    "yet soon possible assist account look like want need would could "
    "able interested interest one check find see get have tell share provide give way option good news right correct "
    "case order start "
    "step take make sense ask hope all set done ve re ll".split()
)

STOP = frozenset(
    "a an the of to in on at by for from with as and or but if so than then that this these those it its is are "
    "was were be been being am do does did have has had having i you he she we they "
    "me him her us them my your his our their mine yours what which who whom whose when where why how there here "
    "will would can could shall should may might must not no nor into onto about over "
    "under up down out off again once only own same too very just both each any some such because since while "
    "until after before between through during via per s t d m re ll ve e g eg ie "
    "let lets us since due also well now still yet already along within across around upon toward towards onto "
    "back however therefore thus either neither whether".split()
)

COURTEOUS = frozenset(
    "thank thanks thankful grateful please sorry apology apologies apologize apologise apologizing apologising "
    "inconvenience patience patient understanding understand understood appreciate appreciated appreciation "
    "welcome pleasure glad happy pleased delighted hello hi hey dear greetings good morning afternoon evening day "
    "weekend great nice lovely wonderful pleasant fine perfect excellent awesome fantastic super sure certainly "
    "course absolutely definitely okay ok alright help helping helps helped helpful assist assisting assistance "
    "service serve support question questions anything something else further more other need let know feel free "
    "hesitate reach reaching contact contacting calling call hope hopefully wish enjoy rest bye goodbye farewell "
    "best regards kind kindly cooperation time got noted news moment second minute today now just very so much "
    "really truly quick quickly ask gladly thing things choice waiting confirming pity shame annoying frustrating "
    "frustrated frustration stressful unpleasant completely open printed located field value into using searching "
    "decided desk once when then next before after until while like they tell totally could always anytime needed "
    "who sec ones note rush hurry mr mrs ms dr sir madam bear last delay trouble oh wow ah fair hear hearing see "
    "soon take care advise summary overview details following happening nope yes no worries problem issue afraid "
    "unfortunately regrettably indeed again two back chat talk way look looking check checking sort sorting get "
    "going start started give go ahead few want would customer choosing shopping business trip days long wait "
    "sounds how a an the of to in on at by for from with as and or but if that this these those it its is are was "
    "were be been am do does did have has had i you we me us your my our what which there here will can may shall "
    "should any some such too all also ever one".split()
)
"""The closed vocabulary of courtesy: a sentence of these words alone, without a negation, claims nothing."""

CONSENT = frozenset(
    "correct right proceed continue confirm agree agreed accept approve approval permission consent shall should "
    "yes no reply answer acceptable work suit want like prefer wish that".split()
)
"""Words that ask for a yes and say nothing about what for."""

RECORDS = frozenset("account record records file files details order orders line system request option options".split())
"""What an agent who asks for a moment looks at."""

LIGHT = frozenset("come comes coming offer offers possible available suit suits currently exactly own use".split())
"""Content words that change nothing where they stand in for others."""

PERSONS = frozenset(
    "neighbour neighbours neighbor neighbors friend friends sister sisters brother brothers mother father mom dad "
    "mum husband wife boss landlord cousin parents partner son daughter uncle aunt roommate flatmate grandmother "
    "grandfather grandma grandpa stranger".split()
)
"""Other people: what is theirs is not the customer's."""
