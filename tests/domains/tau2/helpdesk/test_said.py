"""540 messages written to be wrong or right at helpdesk turns, each with what it is and whether the rules miss it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pivot_envs.records import Action
from pivot_envs.scoring import Scorer

ROWS = [json.loads(line) for line in Path(__file__).with_name("said.jsonl").read_text().splitlines()]
REPORT = "helpdesk/train_037-1036/9"
"""Line L044 is on the max plan now, for 55 euro a month."""


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer("tau2", split="train")


def missed(scorer: Scorer, right: bool) -> list[str]:
    rows = [row for row in ROWS if row["right"] == right]
    verdicts = scorer.score([row["id"] for row in rows], [Action(text=row["said"]) for row in rows])
    return [row["said"] for row, v in zip(rows, verdicts, strict=True) if (v.outcome == "accepted") != right]


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_misjudged_beyond_the_known_misses(scorer: Scorer, right: bool) -> None:
    known = [row["said"] for row in ROWS if row["right"] == right and "missed" in row]
    assert missed(scorer, right) == known
    assert len(known) < 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Line L044 and all other lines are on the max plan now, for 55 euro a month.", "unexplained_words"),
        ("Line L044 should have been on the max plan now, for 55 euro a month.", "tense"),
        ("Line L044 is on the max plan now, for -55 euro a month.", "fact_added"),
        ("My colleague put line L044 on the max plan now, for 55 euro a month.", "claim_added"),
        ("I get line L044 on the max plan from you, for 55 euro a month.", "unexplained_words"),
        ("Line L044 is never on the max plan now, for 55 euro a month.", "denial_added"),
        ("Line L044 is on the max plan now, for 55 euro a month. Please pay.", "claim_added"),
    ],
)
def test_the_reason_names_what_is_wrong(scorer: Scorer, text: str, reason: str) -> None:
    [verdict] = scorer.score([REPORT], [Action(text=text)])
    assert (verdict.outcome, verdict.reason) == ("rejected", reason)


def test_news_may_stand_beside_an_offer_of_further_help(scorer: Scorer) -> None:
    news = "Line L044 is on the max plan now, for 55 euro a month."
    other = "Line L044 is on the max plan now, for 35 euro a month."
    good, bad, bare = scorer.score(
        [REPORT] * 3,
        [Action(text=f"{text} Is there anything else I can help you with?".strip()) for text in (news, other, "")],
    )
    assert (good.outcome, bad.outcome, bare.outcome) == ("accepted", "rejected", "rejected")


