"""Good and bad words, verbs, tenses and codes: the good is taken, the rest refused by name."""

import numpy as np
import pytest
import torch
from conftest import ENGLISH, lab, small, taught
from generated import attempt, cases, compose, is_word, junk, tensor, text, word
from hypothesis import example
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings("error", "ignore:Generating overly large repr")


LETTERS = set(ENGLISH.alphabet)


def is_refused(call, *arguments):
    return isinstance(attempt(call, *arguments), Exception)


# ---- Words, verbs, tenses ----
@cases(150, words=junk | tensor | st.lists(text | word, max_size=4))
@example(words=["walk\n"])
@example(words=["a" * 33])
@example(words="walk")
def test_words_are_taken_and_all_else_is_refused(words):
    found = attempt(lab.check_words, words)
    if isinstance(words, list) and all(map(is_word, words)):
        assert found == [compose(word) for word in words]
    elif not isinstance(found, Exception):
        assert all(map(is_word, found)), "those of another container"


tables = st.integers(1, 3).flatmap(
    lambda forms: st.lists(st.lists(word, min_size=forms, max_size=forms), min_size=1)
)


@cases(150, table=tables)
def test_verbs_of_any_iterable_are_taken(table):
    expected = [tuple(map(compose, verb)) for verb in table]
    assert lab.check_verbs(iter(table)) == expected


BAD_VERBS = {
    "verbs: found none; expected at least one": [],
    "verb 1: found 0 forms; expected at least one": [[], []],
    "verb 2: found 1 forms; expected 2": [("a", "b"), ["a"]],
    "verb 2: found 'B' .* in 'aB'; expected 1 to 32 letters": [("a", "b"), ("a", "aB")],
    "verb 1: found 'walk'; expected a list of words": ["walk", "walked"],
    "verb 1: found 3; expected 1 to 32 letters": [(3, "a")],
}


@pytest.mark.parametrize("message", BAD_VERBS)
def test_bad_verbs_are_refused_with_their_number(message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        lab.check_verbs(BAD_VERBS[message])


@cases(150, table=(junk | tensor).filter(lambda table: table is not None))
def test_what_is_no_table_is_refused_wherever_verbs_are_asked_for(table):
    found = attempt(lab.check_verbs, table)
    if isinstance(found, Exception):
        assert is_refused(lab.gaussian_score, [("a", "b")], table)
    else:
        assert all(map(is_word, sum(found, ()))), "it is one: an array of a word"
    assert is_refused(taught.check_lists, table)


TENSES = [0, np.int64(3), torch.tensor(2), [0, 1, 3]]
NO_TENSES = [-1, 4, True, 1.0, None, "0"]
NOT_ONE_EACH = [[0], [0, 1, 4], [[0, 1, 2]], np.array([0.0, 1, 2])]


def test_a_tense_is_one_for_all_words_or_one_each():
    for tense in TENSES:
        found = lab.check_tense(tense, 3, 4)
        assert found.tolist() == np.broadcast_to(tense, 3).tolist()
    for tense in NO_TENSES + NOT_ONE_EACH:
        with pytest.raises(ValueError, match=r"tense: .*; expected 0\.\.3, one for all or 3"):
            lab.check_tense(tense, 3, 4)


# ---- Models ----
tiny = {"hidden_size": 12, "latent_size": 4, "embedding_size": 4, "condition_size": 3}
torch.manual_seed(0)
MODELS = [
    lab.make_model(small(**tiny), ENGLISH),
    lab.make_model(small(decoding="direct", **tiny), ENGLISH),
]


@pytest.mark.parametrize("model", MODELS, ids=["gated", "direct"])
@cases(50, words=junk | st.lists(word, max_size=2), tense=junk, z=tensor | st.none())
def test_a_model_refuses_what_is_no_word_tense_or_code(model, words, tense, z):
    refused = is_refused(model.encode, words, 0)
    assert refused == is_refused(model.convert, words, 0, 3)
    known = attempt(lab.check_words, words)
    assert refused == (not isinstance(known, list) or not set("".join(known)) <= LETTERS)
    refused = is_refused(model.encode, ["walk"], tense)
    assert refused == is_refused(model.decode, torch.zeros(1, 4), tense)
    assert refused == is_refused(lab.check_tense, tense, 1, 4)
    refused = is_refused(model.generate, z)
    assert refused == is_refused(model.decode, z, 0)
    is_code = isinstance(z, torch.Tensor) and z.shape[1:] == (4,)
    assert refused != (is_code and bool(z.isfinite().all()))
