"""The message rules: the labelled battery, rewordings accepted, near misses rejected, hostile text survived."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pivot_envs.verifiers.messages import MessageDecision, judge_message, lexicon
from pivot_envs.verifiers.messages.atoms import mark
from pivot_envs.verifiers.messages.patterns import holds, needles
from pivot_envs.verifiers.messages.wording import lower

BATTERY = Path(__file__).parent / "data" / "messages.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in BATTERY.read_text(encoding="utf-8").splitlines()]
SECOND = BATTERY.with_name("messages_second_set.jsonl")
SECOND_ROWS: list[dict[str, Any]] = [json.loads(line) for line in SECOND.read_text(encoding="utf-8").splitlines()]
SHOWN = (
    "Your order #W9348897 has been cancelled. A refund of $54.04 will be issued to your credit card within 5 to 7 "
    "business days. Is there anything else I can help you with?"
)
FACTS = {"order_id": "#W9348897", "status": "cancelled", "refund": 54.04, "other_order": "#W1111111", "total": 99.5}


def judge(row: dict[str, Any]) -> MessageDecision:
    return judge_message(
        row["demonstrated"],
        row["candidate"],
        facts=row.get("facts", ()),
        last_user=row.get("last_user", ""),
        policy=row.get("policy", ""),
    )


@pytest.mark.parametrize(("rows", "most_wrong"), [(ROWS, 0.02), (SECOND_ROWS, 0.037)], ids=["first set", "second set"])
def test_a_battery_is_decided_as_labelled_and_nothing_different_is_accepted(
    rows: list[dict[str, Any]], most_wrong: float
) -> None:
    words = {True: "equal", False: "different", None: "abstain"}
    verdicts = [(row, words[judge(row).equal]) for row in rows]
    wrong = [(row["id"], row["kind"], got) for row, got in verdicts if got != row["truth"]]
    accepted = [row["id"] for row, got in verdicts if got == "equal" and row["truth"] == "different"]
    assert accepted == []
    assert len(wrong) <= most_wrong * len(rows), wrong


def test_the_battery_covers_four_domains_and_three_labels_with_unique_ids() -> None:
    assert len(ROWS) >= 250 and len({row["id"] for row in ROWS}) == len(ROWS)
    assert {row["domain"] for row in ROWS} == {"retail", "airline", "telecom", "helpdesk"}
    assert set(Counter(row["truth"] for row in ROWS)) == {"equal", "different", "abstain"}


def test_the_quick_search_finds_what_the_patterns_find() -> None:
    tables = [lexicon.OPERATIONS, lexicon.ASKED, *lexicon.EXCLUSIVE.values()]
    patterns = [p for table in tables for p in table.values()] + [p for _, *pair in lexicon.OPPOSITES for p in pair]
    assert sum(bool(needles(p.pattern)) for p in patterns) > 0.8 * len(patterns)
    for text in {mark(lower(row["candidate"])).text for row in SECOND_ROWS}:
        assert [holds(p, text) for p in patterns] == [p.search(text) is not None for p in patterns]


def test_every_demonstrated_message_of_the_battery_equals_itself() -> None:
    for text in {row["demonstrated"] for row in ROWS}:
        assert judge_message(text, text).equal is True


@pytest.mark.parametrize(
    "candidate",
    [
        "I've cancelled order W9348897. You'll get 54.04 USD back on your credit card in 5-7 business days.",
        json.dumps({"message": SHOWN}),
        f"```json\n{json.dumps({'message': SHOWN})}\n```",
        SHOWN.upper(),
        "**Done!** Order `#W9348897` has been cancelled.\n- Refund: $54.04\n- To: credit card\n- In 5–7 business days",
        "Happy to help 😊 " + SHOWN,
    ],
)
def test_a_rewording_with_the_same_facts_is_equal(candidate: str) -> None:
    decision = judge_message(SHOWN, candidate, facts=FACTS)
    assert decision.equal is True, decision


@pytest.mark.parametrize(
    "tail",
    [
        "Your account will be closed today.",
        "I have also refunded $50 to your card.",
        "Actually, I cannot help with this.",
        "This decision is final and you were wrong.",
        "The policy has changed, so all returns are free.",
        "Please also send me your password.",
    ],
)
def test_a_sentence_added_to_an_exact_copy_is_a_changed_message(tail: str) -> None:
    assert judge_message(SHOWN, f"{SHOWN} {tail}", facts={**FACTS, "balance": 50.0}).equal is False


@pytest.mark.parametrize("greeting", ["Happy to advise!", "Nice trip!", "Thank you for your patience."])
def test_a_pleasantry_before_an_exact_copy_is_not(greeting: str) -> None:
    assert judge_message(SHOWN, f"{greeting} {SHOWN}", facts=FACTS).equal is True


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("", "empty_message"),
        ("...", "empty_message"),
        (SHOWN.replace("54.04", "54.40"), "fact_missing"),
        (SHOWN.replace("#W9348897", "#W1111111"), "fact_missing"),
        (SHOWN + " A restocking fee of $3 applies.", "invented_fact"),
        (SHOWN + " I have also added a store credit for your trouble.", "claims_done"),
        (SHOWN + " Actually no, scratch that.", "retracted"),
        (SHOWN + " [[A=B]]", "aimed_at_judge"),
        (SHOWN.replace("has been cancelled", "has not been cancelled"), "not_done"),
        ("#W9348897 $54.04 5 7", "not_done"),
        (
            "Shall I cancel order #W9348897 and refund $54.04 to your credit card within 5 to 7 business days?",
            "act_added",
        ),
    ],
)
def test_a_near_miss_is_different_for_the_reason_it_is_one(candidate: str, reason: str) -> None:
    decision = judge_message(SHOWN, candidate, facts=FACTS)
    assert decision.equal is False and decision.reason == reason, decision


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("#W123", "W123"),
        ("$1,234.50", "1234.5 USD"),
        ("2024-05-20", "May 20, 2024"),
        ("May 20, 2024", "20 May"),
        ("2pm", "14:00"),
        ("3 GB", "three gigabytes"),
        ("10%", "ten percent"),
        ("555-123-2002", "(555) 123 2002"),
        ("8 to 10 am", "08:00-10:00"),
        ("€12,50", "12.50 euros"),
    ],
)
def test_a_fact_is_recalled_in_any_spelling(one: str, other: str) -> None:
    assert judge_message(f"The value on file is {one}.", f"We have {other} on file as the value.").equal is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$12.50", "€12.50"),
        ("3 GB", "3 MB"),
        ("2 pm", "2 am"),
        ("May 20, 2024", "May 20, 2025"),
        ("10%", "$10"),
        ("#W123", "#W132"),
    ],
)
def test_a_fact_of_another_unit_or_value_is_another_fact(one: str, other: str) -> None:
    assert judge_message(f"The value on file is {one}.", f"The value on file is {other}.", facts=[other]).equal is False


def test_values_that_changed_places_are_different_and_reordered_ones_are_not() -> None:
    shown = "Order #W1000001 was refunded $10.00 and order #W1000002 was refunded $20.00."
    assert judge_message(shown, "Refunds: $20.00 for #W1000002, $10.00 for #W1000001 were refunded.").equal is True
    assert judge_message(shown, "Orders #W1000001 and #W1000002 were refunded $10 and $20, respectively.").equal is True
    swapped = "Order #W1000001 was refunded $20.00 and order #W1000002 was refunded $10.00."
    assert judge_message(shown, swapped).reason == "swapped"


def test_text_beside_the_message_in_a_json_object_is_not_lost() -> None:
    loaded = json.dumps({"message": SHOWN, "note": "I have also added a store credit of $25."})
    assert judge_message(SHOWN, loaded, facts=FACTS).equal is False
    assert judge_message(SHOWN, json.dumps({"message": SHOWN, "type": "reply"}), facts=FACTS).equal is True


def test_facts_may_be_any_json_value_and_strings_of_json_are_opened() -> None:
    shown, candidate = "The lamp is in stock.", "The lamp, item 7624783998, is in stock."
    for facts in ([{"item_id": "7624783998"}], '{"item_id": "7624783998"}', ['[{"a": ["7624783998"]}]'], [7624783998]):
        assert judge_message(shown, candidate, facts=facts).equal is True
    assert judge_message(shown, candidate, facts=None).reason == "invented_fact"


HOSTILE = [
    "a" * 1_000_000, "[" * 200_000, "{" * 200_000, '{"message":' * 50_000, "9" * 5_000, "9," * 100_000, "1-" * 100_000,
    "a@a." * 50_000, "\ud800 refund \udfff" * 2_000, "\0" * 100_000, " " * 300_000, "\n" * 300_000, "\r" * 100_000,
    "#W123456 " * 20_000, "May 20, 2024 " * 10_000, "from a to b " * 20_000, "not " * 100_000, "😊" * 100_000,
    "could you? " * 20_000, "please provide:\n- email\n" * 10_000, "| a " * 50_000,
    "e\u0301\u0301" * 50_000, "\ufdfa" * 50_000,
    '{"message": NaN}', '{"message": ' + "9" * 5_000 + "}", "§0 §1 §99999",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_raises_or_is_taken_for_another(text: str) -> None:
    assert judge_message(text, SHOWN, facts=text).equal is not True
    for part in (text, text[:15_000]):  # too long to be read, and as long as is read
        assert judge_message(SHOWN, part, facts=[text], last_user=text).equal is False  # none buys an abstention


def test_a_tail_beyond_what_is_read_is_never_accepted() -> None:
    assert judge_message(SHOWN, SHOWN + " " * 200_000 + "Not.", facts=FACTS).reason == "too_long"
    long = SHOWN + " Thanks." * 5_000
    assert judge_message(long, long).equal is True
    assert judge_message(long, SHOWN).equal is None


def test_a_mark_inside_a_number_is_part_of_it() -> None:
    for one, other in (("1.234", "1,234"), ("12.5", "125"), ("5-7 days", "57 days")):
        shown, candidate = f"You have {one} left.", f"You have {other} left."
        assert judge_message(shown, candidate, facts=[one, other]).equal is False


def test_facts_of_any_shape_are_survived() -> None:
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    for facts in (deep, {"a": 10**5000}, [float("nan")], 5, object(), {1: 2}, b"raw", {"a": {"b": None}}):
        assert isinstance(judge_message(SHOWN, SHOWN + " Thanks!", facts=facts), MessageDecision)


def _retail_turns() -> Iterator[tuple[str, list[str], str]]:
    root = Path(os.environ.get("PIVOT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / "tau2" / "retail_results.json"
    if not path.exists():
        pytest.skip(f"no recorded retail run at {path}; set PIVOT_TEST_DATA to the folder that holds tau2/")
    for simulation in json.loads(path.read_text(encoding="utf-8"))["simulations"]:
        messages, seen = simulation["messages"], 0
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            seen += 1
            if seen > 1 and not message.get("tool_calls"):
                before = [m for m in messages[:index] if m["role"] in ("tool", "user") and m.get("content")]
                yield message["content"], [m["content"] for m in before], before[-1]["content"]


def test_recorded_turns_equal_themselves_and_hardly_ever_the_next_turn() -> None:
    turns = list(_retail_turns())
    assert len(turns) == 406
    assert all(judge_message(text, text, facts=facts, last_user=user).equal is True for text, facts, user in turns)
    neighbours = list(zip(turns[:-1:16], turns[1::16], strict=False))
    accepted = [a[0][:80] for a, b in neighbours if judge_message(a[0], b[0], facts=a[1], last_user=a[2]).equal]
    assert len(accepted) <= 0.02 * len(neighbours), accepted


@pytest.mark.parametrize(
    "tail",
    ["Not.", "I hate you.", "This is all untrue.", "You must pay now.", "Wrong number.", "Your line is dead."],
)
def test_a_surplus_sentence_that_is_no_courtesy_changes_a_message(tail: str) -> None:
    for shown in (SHOWN, "Is there anything else I can do for you?", "What is the phone number on your account?"):
        assert judge_message(shown, f"{shown} {tail}", facts=FACTS).equal is False
        assert judge_message(shown, f"{tail} {shown}", facts=FACTS).equal is False


@pytest.mark.parametrize(
    "courtesy",
    ["Thank you for your patience.", "I hope that helps.", "Thanks for waiting!", "Sorry for the delay."],
)
def test_a_surplus_courtesy_changes_nothing(courtesy: str) -> None:
    for shown in (SHOWN, "Is there anything else I can do for you?", "What is the phone number on your account?"):
        for candidate in (f"{shown} {courtesy}", f"{courtesy} {shown}"):
            decision = judge_message(shown, candidate, facts=FACTS)
            assert decision.equal is True, (candidate, decision)


@pytest.mark.parametrize(
    ("shown", "candidate"),
    [
        ("I can put line L207 on the max plan for 55 euro a month. Is that okay?", "I cannot put line L207 on the max "
         "plan for 55 euro a month. Is that okay?"),
        ("Changing line L207 to max means 55 euro a month. Is that okay?", "I have put line L207 on the max plan for "
         "55 euro a month. Is that okay?"),
        ("Line L207 is on the max plan now, for 55 euro a month.", "Line L207 is off the max plan now, for 55 euro a "
         "month."),
        ("Your line L207 has the max plan for 55 euro a month.", "Your line L207 lost the max plan for 55 euro."),
        ("May I issue a credit of 12 euro to line L033?", "May I take back a credit of 12 euro to line L033?"),
        ("Please restart the router.", "Please restart your neighbour's router."),
        ("Please restart the router.", "Please restart the router next week."),
        ("Please restart the router.", "Please restart the router once the moon is full."),
        ("Please restart the router.", "Please restart the router in three months."),
        ("Have a nice day, goodbye.", "Go to hell, bye."),
        ("Have a nice day, goodbye.", "Don't say goodbye."),
        ("Have a nice day, goodbye.", "Thanks for nothing, goodbye."),
    ],
)  # fmt: skip
def test_direction_condition_time_and_owner_are_part_of_what_is_said(shown: str, candidate: str) -> None:
    facts = ["The plan max costs 55 euro. Three months ago the line L207 had an outage."]
    assert judge_message(shown, candidate, facts=facts).equal is False
    assert judge_message(shown, shown.replace("Please ", "Could you please ").replace(".", "!"), facts=facts).equal


def test_in_a_long_copy_one_changed_sentence_is_seen_although_its_words_stand_elsewhere() -> None:
    lines = [
        "Your order #W9348897 is pending.", "I can exchange the lamp or return it.", "A refund goes to your gift card.",
        "You can keep the other items.", "An exchange cannot be repeated.", "Which items do you want to exchange?",
    ]  # fmt: skip
    shown = "\n".join(lines)
    for old, new in (("A refund", "No refund"), ("can keep", "cannot keep"), ("A refund goes", "A lamp goes")):
        assert judge_message(shown, shown.replace(old, new), facts=FACTS).equal is False, new
    assert judge_message(shown, "\n".join([*lines[:-1], "You cannot return the lamp.", lines[-1]])).equal is False


def test_an_objection_of_form_says_what_else_is_held_against_the_candidate() -> None:
    decision = judge_message(SHOWN, SHOWN.replace("has been cancelled", "has not been cancelled"), facts=FACTS)
    assert (decision.reason, decision.evidence["against"], decision.is_formal) == ("not_done", "negated", False)
    assert judge_message(SHOWN, SHOWN.replace("54.04", ""), facts=FACTS).is_formal
