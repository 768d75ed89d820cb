"""The closed world: a word, a fact, an agent, an owner or a time that the demonstration does not explain is refused."""

from __future__ import annotations

import pytest

from pivot_envs.domains.tau2.helpdesk.glossary import GLOSSARY
from pivot_envs.verifiers.messages import MessageDecision, judge_message
from pivot_envs.verifiers.messages.reading import read

OFFER = "I can put line L119 on the giga plan for 75 euro a month. Do you want me to do that?"
PLAN = "Done. Your line L119 has the giga plan for 75 euro a month."
INVOICE = "Your invoice for April on line L171 was 61 euro."
SLOTS = (
    "A technician could come on S13 on 16 June in the morning or S14 on 18 June in the morning. Which would you like?"
)
VISIT = "I see visit V-C070-1 on 17 June in the afternoon. Shall I cancel it?"
CANCELLED = "Visit V-C070-1 has been cancelled."
CREDITED = "I have issued the credit K-C120-1 of 17 euro to line L158."
WORKS = "Good news: the speed test shows 500 Mbit/s, so line L109 works again."
SERIAL = "Thank you, R1401 is the router registered for line L004."
PORT = "The port of line L196 is stuck. Shall I reset it?"
EMAIL = "Hello, welcome to the service desk. Which e-mail address is on your account?"
MORE = "Do you have any other questions?"
TWO_LINES = "Which of your lines are we talking about, L025 or L026?"
REPLUG = "Please unplug the fibre cable from the router and plug it in again."
RESEAT = "Next, please reseat the fibre cable at the router."
SPEED = "Could you do a speed test, so that we see whether it works?"
LIGHTS = "And what do the lights show now?"
INTERNET = "Does the internet work now?"
WHICH_SERIAL = "What is the serial number printed on your router?"
BLOCKED = "Unfortunately line L004 has an open invoice, I240, of 25 euro. The plan cannot be changed until it is paid."
TURNED = "It cannot be paid until the plan is changed"
STILL_OPEN = "I am sorry, I cannot change the plan of line L004: the invoice I240 of 25 euro is still open."
OTHER_SERIAL = (
    "The serial number R1401 differs from our record. A colleague has to look at this. "
    "Shall I transfer you to a colleague?"
)
OTHER_ROUTER = "Our record shows another router than R1401. May I connect you with a specialist?"
GIGA = "The giga plan costs 75 euro a month. Shall I change line L119 to it?"
HELP = "Is there anything else I can do for you?"
RESTART = "Could you reboot your router?"
NOW = "Line L119 is on the giga plan now, for 75 euro a month."
KEPT = "No problem, nothing changes: line L119 keeps its plan and you do not pay 75 euro."
MOVE = "Shall I cancel visit V-C070-1 and book slot S13 on 16 June in the morning instead?"
ACCEPT = "Please accept the visit V-C070-1 in your app."
DNS = "Please set the DNS server to automatic in the router's menu."
CREDIT = "For the outage on 6 June a credit of 17 euro on line L158 is possible. Would you like me to issue it?"
BOOKED = "So I would schedule the technician for 13 June, afternoon, slot S13. Is that right?"
FACTS = [
    "L119 L100 L158 L171 L109 L004 L196 L025 L026 V-C070-1 K-C120-1 R1401",
    "16 July 18 July 61 euro 75 euro I240 25 euro S13 13 June 16 June 6 June 17 euro",
    "Mara",
]
CHATTER = "My colleague stopped it, paid one-off fees almost every hour already; it differs."
"""Words the customer has used: in the open world they are known, and no surplus."""


def closed(shown: str, candidate: str) -> MessageDecision:
    return judge_message(shown, candidate, facts=[shown, *FACTS, CHATTER], world=GLOSSARY)


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (OFFER, OFFER.replace("month.", "month, plus a one-off fee.")),
        (OFFER, OFFER.replace("75 euro", "more than 75 euro")),
        (OFFER, OFFER.replace("75 euro", "about 75 euro")),
        (OFFER, OFFER.replace("75 euro", "-75 euro")),
        (OFFER, OFFER.replace("line L119", "line L119 and all other lines")),
        (VISIT, VISIT.replace("cancel it", "cancel it and the line")),
        (VISIT, VISIT.replace("cancel it", "cancel your plan")),
    ],
)
def test_more_than_was_offered_is_refused(shown: str, candidate: str) -> None:
    decision = closed(shown, candidate)
    assert decision.equal is False and not decision.is_formal, decision


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (PLAN, PLAN.replace("has", "will have")),
        (PLAN, PLAN.replace("has", "had")),
        (PLAN, PLAN.replace("has", "should have had")),
        (PLAN, PLAN.replace("has", "almost has")),
        (PLAN, PLAN.replace("month.", "month, I hope.")),
        (CANCELLED, CANCELLED.replace("has been", "is being")),
        (CANCELLED, CANCELLED.replace("has been", "is to be")),
        (CREDITED, CREDITED.replace("I have issued", "I would have issued")),
        (WORKS, WORKS.replace("works again", "worked again")),
    ],
)
def test_a_report_in_another_time_or_mood_is_refused(shown: str, candidate: str) -> None:
    decision = closed(shown, candidate)
    assert decision.equal is False and not decision.is_formal, decision


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (OFFER, OFFER.replace("do that", "stop that")),
        (OFFER, OFFER.replace("I can put", "My colleague can put")),
        (WORKS, WORKS.replace("works", "stopped working")),
        (WORKS, WORKS.replace("again.", "again for an hour.")),
        (PLAN, "Done. The giga plan for 75 euro a month was refused for your line L119."),
        (PLAN, "Done. Your line L119 is too old for the giga plan for 75 euro a month."),
        (SERIAL, SERIAL.replace("is the", "differs from the")),
        (PORT, PORT.replace("stuck", "fine")),
        (TWO_LINES, TWO_LINES.replace("are we talking about", "is newer")),
        (INVOICE, INVOICE.replace("euro.", "euro, already paid.")),
    ],
)
def test_a_word_that_nothing_explains_is_refused(shown: str, candidate: str) -> None:
    decision = closed(shown, candidate)
    assert decision.equal is False and not decision.is_formal, decision


@pytest.mark.parametrize(
    ("shown", "candidate", "reason"),
    [
        (OFFER, OFFER.replace("I can put", "You can put"), "other_agent"),
        (MORE, "I have other questions.", "other_agent"),
        (MORE, MORE.replace("you", "I"), "other_agent"),
        ("Can I help you with anything else?", "Can you help me with anything else?", "other_agent"),
        (CANCELLED, "You have cancelled visit V-C070-1.", "other_agent"),
        (CANCELLED, "Visit V-C070-1 has been cancelled by you.", "other_agent"),
        (CREDITED, "I was issued the credit K-C120-1 of 17 euro for line L158.", "other_agent"),
        (CANCELLED, "Please cancel visit V-C070-1.", "act_added"),
        (EMAIL, "Hello. Tell me an e-mail address.", "other_owner"),
        (EMAIL, "Hello. What is the e-mail address of our service desk?", "other_owner"),
        (EMAIL, "Hello, welcome to the service desk. What is my e-mail address?", "other_owner"),
        (EMAIL, "Hello, welcome to the service desk. I need no e-mail address.", "denial_added"),
    ],
)
def test_another_agent_or_owner_is_refused_by_name(shown: str, candidate: str, reason: str) -> None:
    assert closed(shown, candidate).reason == reason


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (OFFER, "Would you like me to move L119 to the giga plan at 75 euro per month?"),
        (OFFER, "The giga plan costs 75 euro a month. Shall I change line L119 to it?"),
        (PLAN, "Line L119 is now on the giga plan, for 75 euro monthly."),
        (PLAN, "I have put line L119 on giga for 75 euro a month."),
        (INVOICE, "In April you were billed 61 euro for line L171."),
        (INVOICE, "The April invoice for line L171 comes to 61 euro."),
        (
            SLOTS,
            "I have two free slots: S13 on 16 June in the morning and S14 on 18 June in the morning. Which suits you?",
        ),
        (VISIT, "I found visit V-C070-1 on 17 June in the afternoon. Do you want me to cancel it?"),
        (CANCELLED, "I have called off visit V-C070-1 for you."),
        (CREDITED, "17 euro have been credited to line L158. The credit number is K-C120-1."),
        (WORKS, "That is the full 500 Mbit/s. The fault on line L109 is fixed."),
        (SERIAL, "Router R1401 matches our record for line L004."),
        (PORT, "A reset of the port on line L196 should help. Is it okay if I do it?"),
        (EMAIL, "Hello! Please tell me the e-mail address on your account."),
        (MORE, "Is there something else I can do for you?"),
        (TWO_LINES, "I see more than one line here: L025, L026. Which line is it about?"),
        (REPLUG, "Could you take the fibre cable out of the router and put it back in?"),
    ],
)
def test_a_paraphrase_in_shared_vocabulary_stays_equal(shown: str, candidate: str) -> None:
    decision = closed(shown, candidate)
    assert decision.equal is True or decision.is_formal, decision


def test_only_the_closed_world_refuses_a_word_for_being_unexplained() -> None:
    candidate = PORT.replace("stuck", "fine")
    assert judge_message(PORT, candidate, facts=[*FACTS, CHATTER]).equal is True
    assert closed(PORT, candidate).reason == "unexplained_words"


def test_a_month_is_told_from_the_verb_and_months_shut_each_other_out() -> None:
    assert judge_message(INVOICE, INVOICE.replace("April", "May")).reason == "other_value"
    assert read("May I cancel your invoice?").exclusive.get("month") is None
    assert read("For May you were charged 5 euro.").exclusive["month"] == {"may"}


def test_a_part_of_the_day_that_was_not_offered_is_another_value_and_a_greeting_is_none() -> None:
    assert judge_message(SLOTS, SLOTS.replace("16 June in the morning", "16 June in the evening")).equal is False
    assert judge_message(SLOTS, f"Good evening! {SLOTS}").equal is True


def test_a_fact_in_place_of_the_demonstrated_one_is_no_mere_omission() -> None:
    other = judge_message(SLOTS, SLOTS.replace("16 June", "16 July"), facts=FACTS)
    assert (other.reason, other.evidence["against"], other.is_formal) == ("fact_missing", "other_value", False)
    assert judge_message(SLOTS, SLOTS.replace(" on 16 June", ""), facts=FACTS).is_formal


def test_an_answer_to_its_own_question_is_a_surplus_statement() -> None:
    assert judge_message(OFFER, f"{OFFER} Yes, you do.").reason == "surplus_statement"


def test_a_consent_asked_with_if_is_no_condition() -> None:
    assert judge_message(PORT, "The port of line L196 is stuck. Is it okay if I reset it?").equal is True
    assert judge_message(PORT, f"{PORT[:-1]} if you pay 5 euro?").equal is False


def test_a_mismatch_may_be_said_with_or_without_a_negation() -> None:
    shown = "Our record shows another router than R1401. May I connect you with a specialist?"
    assert closed(shown, "R1401 is not the router in our record. May I connect you with a specialist?").equal is True


@pytest.mark.parametrize("written", ["§0", "§1 " * 1500])
def test_the_sign_that_masks_a_fact_names_none_when_a_message_writes_it(written: str) -> None:
    assert judge_message(OFFER, OFFER.replace("L119", written), facts=FACTS).equal is False
    assert judge_message(OFFER, f"{OFFER} {written}", facts=FACTS).equal is False
    assert judge_message("See § 5 of the terms.", "See § 5 of the terms, please.").reason != "unreadable"


@pytest.mark.parametrize(
    ("shown", "candidate", "reason"),
    [
        (OFFER, "Do you want to put line L119 on the giga plan for 75 euro a month?", "other_agent"),
        (PORT, "The port of line L196 is stuck. Do you want to reset it for me?", "other_agent"),
        (VISIT, VISIT.replace("Shall I", "Would you like to"), "other_agent"),
        (OFFER, OFFER.replace("me to do", "to do"), "other_agent"),
        (SPEED, "Could I do a speed test, so that you see whether it works?", "other_agent"),
        (SPEED, "Let me do a speed test, so that we see whether it works.", "other_agent"),
        (RESEAT, "May I reseat the fibre cable at the router?", "other_agent"),
        (LIGHTS, "And what do I show the lights now?", "other_agent"),
        (EMAIL, "Hello. May I tell you the e-mail address on your account?", "other_agent"),
        (HELP, "Is there anything else you can do for me?", "other_agent"),
        (HELP, HELP.replace("for you", "to you"), "other_agent"),
        (CREDITED, "Line L158 has issued the credit K-C120-1 of 17 euro.", "other_agent"),
        (OTHER_SERIAL, OTHER_SERIAL.replace("A colleague has", "You have"), "act_added"),
        (OTHER_SERIAL, OTHER_SERIAL.replace("you to a colleague", "a colleague to you"), "other_object"),
        (PORT, "The port of line L196 is stuck. Shall I reset line L196?", "other_object"),
        (PORT, "Line L196 is stuck. Shall I reset it?", "other_object"),
        (RESTART, "Next I need you to restart the line.", "other_object"),
        (GIGA, GIGA.replace("to it", "for it"), "other_object"),
        (SERIAL, SERIAL.replace("for line", "by line"), "other_object"),
        (SERIAL, "Thank you, line R1401 is registered for router L004.", "other_object"),
        (BLOCKED, BLOCKED.replace("The plan cannot be changed until it is paid", TURNED), "order_reversed"),
    ],
)
def test_another_agent_object_or_order_is_refused(shown: str, candidate: str, reason: str) -> None:
    assert closed(shown, candidate).reason == reason


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (LIGHTS, LIGHTS.replace("do", "should")),
        (LIGHTS, LIGHTS.replace("do", "would")),
        (INTERNET, "Did the internet work then?"),
        (WHICH_SERIAL, "What must the serial number printed on your router be?"),
        (PORT, PORT.replace("is stuck", "would be stuck")),
        (PORT, PORT.replace("is stuck", "may be stuck")),
        (GIGA, GIGA.replace("costs", "would cost")),
        (GIGA, GIGA.replace("costs", "cost")),
    ],
)
def test_a_question_or_an_offer_in_another_time_or_mood_is_refused(shown: str, candidate: str) -> None:
    assert closed(shown, candidate).reason == "tense"


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (SPEED, f"{SPEED} It does."),
        (WORKS, f"{WORKS[:-1]}, it does."),
        (PLAN, f"{PLAN} You have been you have been you have been."),
        (PLAN, f"{PLAN} And so it is what it is."),
        (OFFER, OFFER.replace("Do you", "For you for you for you do you")),
    ],
)
def test_function_words_that_say_nothing_are_surplus(shown: str, candidate: str) -> None:
    assert closed(shown, candidate).reason == "surplus_statement"


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (OFFER, "I can put line L119 on the giga plan for 75 euro a month. Do you want to go ahead?"),
        (OFFER, "The giga plan is 75 euro a month for line L119. Do you want the giga plan?"),
        (PORT, "The port of line L196 is stuck. Would you like to have it reset?"),
        (PORT, "Line L196 has a stuck port. May I reset it?"),
        (SLOTS, "S13 is on 16 June in the morning and S14 on 18 June in the morning. Which would suit you?"),
        (LIGHTS, "What do the lights show now, so that I can check them?"),
        (GIGA, f"I can do that for you. {GIGA}"),
        (WORKS, "Line L109 works fine again, the speed test shows 500 Mbit/s."),
        (DNS, "Please go to the router menu and set the DNS server to automatic."),
        (CREDIT, "You can get a credit of 17 euro on line L158 for the outage on 6 June. Shall I issue it?"),
        (RESTART, "Could you turn your router off and on again?"),
        (OTHER_SERIAL, OTHER_SERIAL.replace("differs from", "does not match")),
        (OTHER_SERIAL, f"R1401 is not the serial number in our record.{OTHER_SERIAL.partition('.')[2]}"),
        (OTHER_ROUTER, "R1401 is not the serial number in our record. May I connect you with a specialist?"),
        (NOW, "Done, I have changed your line L119 to the giga plan, for 75 euro a month."),
        (PLAN, "I have changed line L119 to giga, for 75 euro a month."),
        (BLOCKED, "Unfortunately the plan of line L004 cannot be changed while invoice I240 of 25 euro is open."),
        (STILL_OPEN, "Sorry, the plan of line L004 cannot be changed while invoice I240 of 25 euro is open."),
        (MOVE, MOVE.replace("instead", "in its place")),
        (KEPT, "Fine, nothing changes: line L119 keeps its plan and you will not pay 75 euro."),
        (ACCEPT, "Please confirm visit V-C070-1 in the app."),
        (BOOKED, "Then I would book the technician for 13 June in the afternoon, slot S13. Is that right?"),
    ],
)
def test_what_a_reader_called_right_is_accepted(shown: str, candidate: str) -> None:
    decision = closed(shown, candidate)
    assert decision.equal is True or decision.is_formal, decision


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (OTHER_SERIAL, OTHER_SERIAL.replace("differs from", "matches")),
        (NOW, "I will change line L119 to the giga plan for 75 euro a month."),
        (KEPT, "Fine, nothing changes: line L119 keeps its plan and you will pay 75 euro."),
        (BLOCKED, "Unfortunately the plan of line L004 can be changed while invoice I240 of 25 euro is open."),
        (RESTART, "Could you turn your router off?"),
    ],
)
def test_what_stands_next_to_a_right_wording_stays_refused(shown: str, candidate: str) -> None:
    decision = closed(shown, candidate)
    assert decision.equal is False and not decision.is_formal, decision


@pytest.mark.parametrize("word", ["so ", "also please ", "now, ", "reset the "])
def test_a_cue_said_many_times_is_judged_at_once(word: str) -> None:
    assert judge_message(RESTART, word * 1000, world=GLOSSARY).equal is False


@pytest.mark.parametrize("amount", ["±75", "≥75", "≠75", "~75", "<75", ">75", "75*", "75\u202e", "75\0", "75 ❌"])
def test_a_sign_that_reading_would_drop_is_refused_by_name(amount: str) -> None:
    assert closed(OFFER, OFFER.replace("75", amount)).reason == "strange_sign"


@pytest.mark.parametrize("candidate", [OFFER.replace("75", "**75**"), f"* {OFFER}", OFFER.replace("75 euro", "€75")])
def test_signs_of_emphasis_and_currency_are_none(candidate: str) -> None:
    assert closed(OFFER, candidate).equal is True


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        (CANCELLED, "Visit V-C070-1 has been cancelled on 16 July."),
        (CREDITED, "On 16 July I have issued the credit K-C120-1 of 17 euro to line L158."),
    ],
)
def test_a_known_day_may_not_be_added_anywhere(shown: str, candidate: str) -> None:
    assert closed(shown, candidate).reason == "fact_added"
    assert closed(CANCELLED, "Visit V-C070-1 on 16 July has been cancelled.").equal is True


def test_what_is_open_is_not_told_as_paid() -> None:
    shown = "Line L004 has an open invoice, I240, of 25 euro. The plan cannot be changed until it is paid."
    assert closed(shown, shown.replace("an open", "a paid")).reason == "status_reversed"
    assert closed(shown, "The plan of line L004 cannot be changed: invoice I240 of 25 euro is paid.").equal is False
