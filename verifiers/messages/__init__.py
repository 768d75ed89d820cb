"""Judges a message to a customer without a model: `judge_message` says equal, different, or cannot tell.

Speech acts, hard facts, operations, opposites and polarity are compared by rules (`rules.py`) over what `reading.py`
finds in each text; the vocabulary stands in `lexicon.py`, `cues.py`, `units.py` and `vocabulary.py`. None of these
knows a domain or a policy. A domain where all that can be said is known hands in its words as a `Glossary`; then
`closed.py` and `roles.py` judge by it too.

Known false accepts: a claim reversed by words the lexicon lacks inside a free rewording; facts swapped between things
that are named by neither id nor shared words. Known false rejects: synonyms the lexicon lacks in near copies; a remark
that is no courtesy; a longer paraphrase that leaves out a detail it could spare. English only.
"""

from pivot_envs.verifiers.messages.decision import MessageDecision
from pivot_envs.verifiers.messages.glossary import Glossary
from pivot_envs.verifiers.messages.rules import judge_message

__all__ = ["Glossary", "MessageDecision", "judge_message"]
