"""Inflects a verb as the most similar verb of a table does: a rival in any language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_beyond as beyond
import lab5_utils as lab
from lab5_utils import Verb


def neighbour(lemma: str, training: list[Verb]) -> Verb:
    """Returns the forms of a lemma, made as those of the verb with the longest common ending.

    Of several, the nearest in length. What no verb is a model of, is copied.
    """
    best = (-1, 0)
    row = (lemma,) * len(training[0])
    for verb in training:
        other = verb[lab.LEMMA]
        ending = beyond.common_prefix([lemma[::-1], other[::-1]])
        similarity = (len(ending), -abs(len(other) - len(lemma)))
        if similarity > best:
            found = inflect_like(lemma, verb)
            if found is not None:
                best = similarity
                row = found
    return row


def inflect_like(lemma: str, verb: Verb) -> Verb | None:
    """Returns the forms of a lemma with the affixes of a verb; None if it cannot have them."""
    _, affixes = beyond.cut(verb)
    before, after = affixes[lab.LEMMA]
    stem = lemma.removeprefix(before)
    stem = stem[: len(stem) - len(after)]
    row = beyond.inflect(stem, affixes)
    return row if stem and row[lab.LEMMA] == lemma else None
