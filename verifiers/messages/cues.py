"""How a sentence speaks: cues of asking, confirming, telling, refusing, denying, hedging, closing.

Matched against the same levelled text as `lexicon.py`.
"""

from __future__ import annotations

import re

from pivot_envs.verifiers.messages.patterns import any_of

NEGATION = any_of(
    "not",
    "no(?! problem| worries| rush| hurry| longer need| matter| doubt| show|,)",
    "never",
    "cannot",
    "without",
    "neither",
    "nor",
    "none",
    "nothing",
    "unable",
    r"ineligible",
    "impossible",
    "unavailable",
    "unsuccessful",
    r"fail(?:ed|s|ure)?",
    "denied",
    "excluded",
    r"exclud(?:e|es)",
    "out of stock",
    "sold out",
    "unfortunately nothing",
    "non",
    "isn t",
    "prohibits?",
    "forbidden",
    "prevents?",
    "declines to",
    "rules out",
    "ruled out",
    "refuses?",
    "nobody",
    "too late",
    "off the table",
    "out of the question",
    "disqualif\\w*",
    "beyond (?:what (?:i|we) can|my|our)",
    "outside (?:of )?(?:my|our) (?:scope|remit|power|control|authority)",
)

NOT_NEGATION = re.compile(
    r"\b(?:should not be (?:red|orange|green|off|on)"
    r"|do not hesitate|oh,? no|costs? (?:you )?nothing|no problem|no worries|not a problem|no longer (?:need\w*"
    r"|want\w*)|not only|if not|or "
    r"not|why not|no trouble"
    r"|yes(?: ?/ ?| or | )no|no(?: ?/ ?| or | )yes|cannot wait|no later than|not sure (?:which|where)|no need to "
    r"worry|whether or not"
    r"|nothing (?:else|more)\b|no (?:further|other|more) (?:action|step|change)s?|no need to (?:do|call|worry"
    r"|reply)|not have to do anything|if (?:\w+ ){1,4}not\b)"
)
"""Phrases that hold a negation word and deny nothing."""

RETRACTION = any_of(
    r"actually,? no",
    "scratch that",
    "just kidding",
    "never ?mind",
    "on second thought",
    "disregard",
    r"ignore (?:that|the|this|all|my|what)",
    r"that (?:is|was) (?:not true|wrong|false|a lie)",
    r"i (?:take|took) (?:that|it) back",
    r"forget (?:that|what|it|everything)",
    r"not really",
    r"correction",
    r"i was (?:joking|wrong|mistaken)",
    r"the opposite is true",
    r"none of (?:this|that|the above) is",
    r"contrary to",
    r"wait,? no",
    r"but no",
    r"(?:did|does|has|have|had|was|were|is|could) not (?:actually |yet |really |in fact )?(?:go through|gone "
    r"through|happen\w*|take effect|complete\w*|succe\w*|valid|true|real)",
)

GRADER = re.compile(
    r"\[\[|\]\]|\ba ?(?:=|==|!=) ?b\b|<\|?\w+\|?>|\b(?:system prompt|system:|assistant:|user:|ignore (?:all |any "
    r")?(?:previous|prior|above)"
    r"|previous instructions|the (?:judge|grader|verifier|evaluator|checker)|(?:messages?|answers?|responses?"
    r"|texts?|actions?) are (?:functionally )?"
    r"(?:equivalent|equal|identical)|functionally equivalent|mark (?:this|it) as|verdict|reward (?:of|is|=|:)"
    r"|score (?:of|is|=|:) ?|equal ?(?:=|:) ?true"
    r"|is (?:correct|equal|equivalent) to the (?:demonstrat|reference|gold|expected))",
    re.IGNORECASE,
)
"""Text meant for whoever judges, not for a customer."""

HEDGE = any_of(
    r"might",
    r"may have (?:been)?",
    r"maybe",
    r"perhaps",
    r"possibly",
    r"probably",
    r"i (?:think|guess|believe|suppose)",
    r"not (?:entirely |quite |completely |100% )?(?:sure|certain)",
    r"i am unsure",
    r"could have been",
    r"presumably",
    r"apparently",
    r"seems? to have",
    r"in theory",
    r"hopefully",
    r"as far as i know",
    r"no guarantee",
    r"cannot guarantee",
)

CONDITION = any_of(
    r"only if",
    r"only after",
    r"unless",
    r"provided that",
    r"on condition",
    r"as long as",
    r"subject to",
    r"assuming",
    r"except (?:if|when|that)",
    r"but only",
    r"in case you pay",
    r"once (?:my|our|the|a) (?:manager|supervisor|team|department)",
    r"until (?:my|our|the|a) (?:manager|supervisor)",
    r"pending approval",
    r"depending on",
)

IF_CLAUSE = re.compile(
    r"(?<!know )(?<!tell me )(?<!check )(?<!see )(?<!me )(?<!okay )(?<!ok )(?<!fine )(?<!right )(?<! you )"
    r"\bif (?!you (?:would like|like|want|wish|agree|confirm|need"
    r"|have|prefer|are (?:happy|ok|fine|ready)|say|reply|do not|don t)"
    r"|there is anything|that (?:is|works|sounds)|so\b|everything|this (?:is|looks)|not\b|it (?:is )?(?:helps"
    r"|works|ok|possible)"
    r"|anything|possible|yes|necessary|any\b|all\b|the \w+ (?:is|turns|goes|works|comes))"
)

CONFIRM = re.compile(
    r"\b(?:(?<!pleased to )(?<!delighted to )(?<!happy to )(?<!glad to )(?<!able to )(?<!i can )(?<!we can "
    r")confirm(?!ed|ing|ation| \S+(?: \S+)? in (?:the|your) app\b)"
    r"|do i have your (?:ok\w*|permission|consent|approval|go ahead)|with your (?:ok|okay|permission|consent)"
    r"|is that a yes|(?:can|may|shall|should) (?:i|we) (?:do|make|submit|issue|start|continue|send|place|process)"
    r"|(?:ok|okay|fine|alright|all right|good) (?:with|for|by) you|are you (?:good|fine|okay|ok|happy) with"
    r"|do you (?:approve|accept|consent)|(?:your|the) green light|say (?:the word|yes)|(?:happy|ready) to go\?"
    r"|is (?:this|that) what you|want that|(?:correct|right|ok|okay|agreed|yes|alright)\?|go(?:ing)? ahead|proceed"
    r"|shall (?:i|we)|should (?:i|we)|may (?:i|we) (?!have"
    r"|ask|know|get)|(?:is|are|does|would) (?:that|this|it|these|everything) "
    r"(?:all )?(?:correct|right|ok|okay|fine|alright|accurate|look\w*|sound\w*|work|be ok\w*|be all right|good)"
    r"|(?:would|do) you (?:like|want) (?:me|us) to"
    r"|(?:would|do) you (?:still |really )?(?:like|want) (?:to|that|it|one|this|the)|do you agree|are you (?:ok|okay"
    r"|happy|sure"
    r"|fine)|is it (?:ok|okay|alright|fine)|"
    r"(?:reply|answer|respond|say|type|write)(?: with)?:? (?:\W?yes)|yes ?(?:/|or) ?no|can i (?:proceed|go"
    r"|charge)|want me to|like me to|ok to|okay to|"
    r"(?:^|so |confirm:? |that )you (?:want|would like) (?:me|us) to |interested in|does that (?:work|sound)|give "
    r"me your (?:go ahead|ok|consent|approval)|your approval|"
    r"let me know (?:if|whether) (?:you would like|you want|i should|i may|that works|to proceed|this is ok|it is ok))"
)

WH = re.compile(r"\b(?:which|what|when|where|who|whose|how(?: many| much| old)?|why)\b")

REQUEST = re.compile(
    r"(?:\b(?:(?:could|can|may) (?:i|we) (?:please |also )?(?:get|have|ask|see|know)|please|kindly|could you|can you"
    r"|would you (?:please|kindly|mind)|will you|may i (?:have|ask|know"
    r"|get)|i (?:will |would |also |just |still |first )*need"
    r"|we (?:will |would )*need|i (?:will |would )?require|let me know|tell me|send me|give me|read me|i would "
    r"like to know|"
    r"(?:works?|is|are) (?:also )?(?:too|as well|fine|ok|okay|enough|good)\b(?! (?:with|for|by))|will do (?:too|as "
    r"well|fine)|alternatively|without (?:either )?(?:the|your)"
    r"|let us|have a look|start by|next,|then,|now,|you (?:should|must|need to|have to|can now)|make sure|be sure to)\b"
    r"|(?:^\W*|\bto |\band |, )(?:share|provide|choose|select|pick|specify|indicate|try)\b)"
)

GIVE = re.compile(
    r"\b(?:(?:could|can|may) (?:i|we) (?:please |also )?(?:get|have|ask|see|know)|provide|share|send me|give me|tell "
    r"me|supply|enter|may i (?:have|ask|know|get)|what(?: is| are|s)|need"
    r"|require|let me know|read me|could you (?:also )?(?:state|name|confirm)|"
    r"kindly|specify|type|where|which|who|whether|please|have your|(?:works?|is|are) (?:also )?(?:too|as well|fine|ok"
    r"|okay|enough|good)\b"
    r"|will do (?:too|as well|fine)|alternatively|without (?:either )?(?:the|your))\b"
)

IMPERATIVE = re.compile(
    r"^(?:\W*(?:\d+[.)] *)?(?:please|kindly|now|then|next|first|also|after (?:that|this)|as (?:a|the) next step|in "
    r"that case|afterwards|lastly|secondly|okay|ok|afterwards|finally|second|instead|so"
    r"|just|and|could you|can you|would you|let us|you (?:should|can|need to|must)"
    r"|i need you to|try to|go ahead and|try|thanks|thank you|alright|great)\b[ ,:]*+)*(?:(?:please"
    r"|also|then|to) )*"
    r"(?:reboot|restart|power|reset|turn|switch|toggle|plug|unplug|disconnect|connect|reconnect|insert|re ?insert"
    r"|remove|take|pull|put|press|push|hold|open|close|check|look|"
    r"have a look|make sure|ensure|see to it|be sure|remember|follow|try (?:these|this|the following)|run|do(?! "
    r"(?:you|i|we|they)\b)|perform|set|select|choose|wait|reseat|re seat|replug|enable|disable|activate|deactivate"
    r"|accept|decline|go to|move|place|leave|change|install|tap|scan|log|sign|update|start"
    r"|repeat|rerun|redo|retry)(?:ing)?\b"
)

OFFER_HELP = re.compile(
    r"\b(?:(?:something|anything) (?:i|we) can do for|"
    r"anything else|something else|any(?:thing)? (?:other|more|further)|further (?:help|questions|assistance"
    r"|assist)|other (?:questions|requests)|how (?:can|may|could) (?:i|we) (?:help|assist)|"
    r"what (?:can|may|could|would) (?:i|we|you)(?: like)? (?:do for you|help|like help|me to help|to do today)"
    r"|what would you like (?:help|to do|me to do|assistance)|"
    r"(?:can|could) (?:i|we) (?:help|assist|do)|let me know (?:if|whether) (?:you (?:need|have|ever)|there is"
    r"|anything|i can|we can)|"
    r"(?:feel free|do not hesitate) to|need any(?:thing)?)\b"
)

CLOSING = re.compile(
    r"\b(?:you are (?:very |most |always |more than )?welcome|my pleasure|glad (?:i|we|to|that)|have a (?:great"
    r"|nice|good|wonderful|lovely|pleasant|fantastic|safe|great rest)|"
    r"good ?bye|bye|take care|(?:(?<=\n)|(?<=^)|(?<=[.!,] )|(?<=and ))enjoy (?:the|your)|thanks? (?:you )?for "
    r"(?:[a-z]+ing(?! (?:me|us) (?:the|your|that))|your business)|"
    r"happy (?:to have helped|i could help|we could help)|see you|all the best|anytime|until next time|farewell)\b"
)

WANTS = re.compile(r"\b(?:tell me|send me|give me (?!a )|provide|share|let me know|could you|can you|would you)\b")
"""Something is wanted of the customer."""

WAITING = re.compile(
    r"\b(?:let me know (?:once|when|as soon as) you (?:have|are|had)(?: \w+)? ?(?:decided|ready|made|chosen)"
    r"|take your time|no (?:rush|hurry)|whenever you are ready)\b"
)
"""The customer may take the time they need."""

HOLD = re.compile(
    r"\b(?:(?:one|a|just a) (?:more |short |brief |little )?(?:moment|second|minute|sec)|hold on"
    r"|i am (?:still |just |currently |now |already )*(?:check|search|look|review|pull|work|go)ing"
    r"|give me (?:a|one|§\d+)|allow me a|hang on|be right (?:back|with you)|on it now|stay (?:on the line|with me)"
    r"|while i (?:check|look|search|pull|verify)|let me (?:just|quickly|first) |looking into (?:it|this|that)|take "
    r"your time"
    r"|no (?:rush|hurry)|i will (?:be here|wait)|whenever you are ready|hold on|please hold|please wait|bear with me"
    r"|stand by"
    r"|let me (?:check|look|see|pull|verify|find|have a look|take a look)|"
    r"i will (?:check|look into|look up|take a look))\b"
)

APOLOGY = re.compile(r"\b(?:sorry|apolog\w+|regret)\b")

REFUSAL = re.compile(
    r"\b(?:cannot|not able to|unable to|not possible|not allowed|not permitted|impossible|ineligible|not eligible"
    r"|do(?:es)? not (?:allow|permit|accept|support)|may not|"
    r"not something (?:that )?(?:i|we)|too late (?:to|for)|off the table|out of the question|not authori[sz]ed"
    r"|do(?:es)? not (?:have (?:permission|the authority)|qualify)|(?:must|have to|need to) decline|there is no way"
    r"|beyond what (?:i|we) can|beyond my|against (?:our|the) (?:policy|rules)"
    r"|i am afraid .{0,80}\b(?:must|only)|not be able|will not be able|prohibits?|rules? out|no way to)\b"
)

DONE_WORDS = re.compile(
    r"\b(?:all set|all done|it is done|that is done|done(?: -|!|,|:|$)|successfully|has gone through|went through"
    r"|is complete|completed|taken care of)"
)

FUTURE = re.compile(r"\b(?:will|should (?:now |soon |then )?be|going to|about to|shall|would|soon be|to be)\b")

ABILITY = re.compile(
    r"\b(?:can|could|able to|possible|possibly|eligible|allowed|may|qualif\w+|option to|ready to|offer(?:ing)? "
    r"(?:you|to)|up to)\b"
)

PAST = re.compile(r"\b(?:have|has|had|was|were|been|is now|are now|is|are|now|just|already|i|we|successfully|got|it)\b")

PERSON = re.compile(
    r"\b(?:human|agents?|representatives?|person|people|specialist|colleague|supervisor|advisor|someone|operator"
    r"|team member|manager)\b"
)

HEDGE_FREE = re.compile(
    r"\b(?:may be|can be|could be|seems?|looks like|likely|should be|expect\w*|can (?:be|slow|cause|take|affect"
    r"|also|sometimes|lead|make))\b"
)
"""Wording of a demonstration that is itself tentative."""

CONDITION_FREE = re.compile(r"\b(?:if|when|once|unless|whether|as soon as|provided|depend\w*)\b")
"""Wording of a demonstration that is itself conditional."""
