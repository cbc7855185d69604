"""Good and bad input in bulk: the good is taken, the rest refused with a documented error."""

import dataclasses
from typing import get_args, get_type_hints

import pytest
import torch
from conftest import beyond, lab, small, small_beyond
from generated import attempt, cases, is_word, junk, tensor, text, word
from hypothesis import example
from hypothesis import strategies as st

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("error", "ignore:Generating overly large repr"),
]


def is_refused(call, *arguments):
    return isinstance(attempt(call, *arguments), Exception)


# ---- Words, verbs, tenses ----
@cases(1000, words=junk | tensor | st.lists(text | word, max_size=4))
@example(words=["walk\n"])
@example(words=["a" * 33])
def test_words_are_taken_and_all_else_is_refused(words):
    found = attempt(lab.check_words, words)
    if isinstance(found, Exception):
        assert not isinstance(words, list) or not all(is_word(word) for word in words)
    else:
        assert found == list(words)
        assert all(is_word(word) for word in found)


def is_row(value):
    is_sequence = isinstance(value, list | tuple)
    return is_sequence and [is_word(part) for part in value] == [True] * 4


row = st.tuples(word, word, word, word)
some_row = row | st.lists(text | word, max_size=5) | junk
table = st.lists(row, max_size=3) | st.lists(some_row, max_size=3)


@cases(1000, table=table | junk | tensor)
def test_verbs_are_taken_and_all_else_is_refused(table):
    found = attempt(lab.check_verbs, table)
    if isinstance(table, list):
        is_table = len(table) > 0 and all(is_row(row) for row in table)
        assert isinstance(found, list) == is_table
    if isinstance(found, list):
        assert all(type(verb) is tuple and is_row(verb) for verb in found)
    attempt(beyond.synthesize, table, 1, 0)
    known = [("walk", "walks", "walking", "walked")]
    score = attempt(lab.gaussian_score, known, table)
    assert isinstance(score, Exception) == isinstance(found, Exception)
    if isinstance(table, list):
        attempt(lab.gaussian_score, table, known)


@cases(600, tenses=st.lists(st.integers(-1, 4), max_size=3), count=st.integers(0, 3))
def test_a_tense_for_each_word(tenses, count):
    found = attempt(lab.check_tense, tenses, count)
    if len(tenses) == count and set(tenses) <= {0, 1, 2, 3}:
        assert found.tolist() == tenses
    else:
        assert isinstance(found, ValueError)


@cases(600, tense=st.integers(-1, 4) | junk | tensor)
def test_one_tense_for_all_words(tense):
    found = attempt(lab.check_tense, tense, 3)
    if type(tense) is int and 0 <= tense <= 3:
        assert found.tolist() == [tense] * 3
    elif not isinstance(found, Exception):
        assert found.shape == (3,)
        assert set(found.tolist()) <= {0, 1, 2, 3}


# ---- Models ----
tiny = {"hidden_size": 12, "latent_size": 4, "embedding_size": 4, "condition_size": 3}
torch.manual_seed(0)
MODELS = [lab.CVAE(small(**tiny)), beyond.CVAE(small_beyond(**tiny))]


@pytest.mark.parametrize("model", MODELS, ids=["lab", "beyond"])
@cases(200, words=junk, tense=st.integers(-1, 4) | junk, z=junk | tensor)
def test_a_model_refuses_what_is_no_word_tense_or_code(model, words, tense, z):
    refused = is_refused(model.encode, words, 0)
    assert refused == is_refused(model.convert, words, 0, 3)
    assert refused == is_refused(lab.check_words, words)
    refused = is_refused(model.encode, ["walk"], tense)
    assert refused == is_refused(model.decode, torch.zeros(1, 4), tense)
    assert refused == is_refused(lab.check_tense, tense, 1)
    refused = is_refused(model.generate, z)
    assert refused == is_refused(model.decode, z, 0)
    is_code = isinstance(z, torch.Tensor) and z.shape[1:] == (4,)
    assert refused != (is_code and bool(z.isfinite().all()))


@pytest.mark.parametrize("model", MODELS, ids=["lab", "beyond"])
@cases(60, words=st.lists(word, max_size=3))
def test_a_model_converts_any_word_by_its_code_alone(model, words):
    mu, logvar = model.encode(words, 1)
    assert mu.shape == logvar.shape == (len(words), 4)
    codes = torch.cat([mu, logvar])
    assert codes.isfinite().all()
    outputs = model.convert(words, 1, 2)
    assert outputs == model.decode(mu, 2)
    assert outputs == [verb[2] for verb in model.generate(mu)]
    assert all(output == "" or is_word(output[:32]) for output in outputs)
    assert max(map(len, outputs), default=0) <= 33


# ---- Configurations ----
LARGEST = 2**31 - 1
LOWEST = {"seed": 0}
HIGHEST = {"tf_final": 1, "refine": 0.9}


class Field:
    """Says what a hyperparameter may be: one of some words, or a number of a range."""

    def __init__(self, name, kind):
        self.kind = kind
        self.words = tuple(lab.STRATEGIES) if name == "strategy" else get_args(kind)
        self.low = LOWEST.get(name, 1 if kind is int else 0)
        self.high = HIGHEST.get(name, LARGEST)

    def values(self):
        if self.words:
            return st.sampled_from(self.words)
        number = st.integers if self.kind is int else st.floats
        return number(self.low, self.high)

    def takes(self, value):
        if self.words:
            return isinstance(value, str) and value in self.words
        is_number = type(value) in (int, self.kind)
        return is_number and self.low <= value <= self.high


def go_together(values, recipe):
    """Tells whether each value has a meaning beside the others."""
    default = recipe()
    state = values["hidden_size"]
    if recipe is beyond.Config:
        if state % 2:
            return False
        state = state // 2
    if values["condition_size"] >= state:
        return False
    if values["decoding"] != "gated" and values["gate_price"] != default.gate_price:
        return False
    if values["strategy"] in ("free-bits", "target-rate"):
        return True
    rates = values["rate_start"], values["rate_end"]
    return rates == (default.rate_start, default.rate_end)


near = st.integers(-2, 2) | st.integers(LARGEST - 2, LARGEST + 2)
anything = near | st.floats() | st.floats(0, 1) | junk


@pytest.mark.parametrize("recipe", [lab.Config, beyond.Config], ids=["lab", "beyond"])
@cases(800, data=st.data())
def test_a_config_takes_what_is_in_range_and_refuses_the_rest_by_name(recipe, data):
    fields = {name: Field(name, kind) for name, kind in get_type_hints(recipe).items()}
    other = data.draw(st.sampled_from(sorted(fields)))
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(fields[name].values() | anything)
    changes = {other: data.draw(fields[other].values()), name: value}
    values = dataclasses.asdict(recipe()) | changes
    found = attempt(lambda: recipe(**changes))
    if not fields[name].takes(value):
        assert isinstance(found, ValueError)
        assert str(found).startswith(f"{name}: ")
    elif not go_together(values, recipe):
        assert isinstance(found, ValueError)
        assert " beside " in str(found)
    else:
        assert dataclasses.asdict(found) == values
        assert eval(repr(found), {"Config": recipe}) == found
        assert type(getattr(found, name)) in (str, fields[name].kind)
