"""Good and bad input in bulk: the good is taken, the rest refused with a documented error."""

import dataclasses
import string
from typing import get_args, get_type_hints

import pytest
import torch
from conftest import ENGLISH, beyond, lab, small, small_beyond
from generated import attempt, cases, compose, english, is_word, junk, tensor, text, word
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
        assert found == [compose(word) for word in words]
        assert all(is_word(word) for word in found)


def is_hole(value):
    return isinstance(value, str) and value == "-"


def is_table(value):
    """Tells whether all rows have as many forms, two or more, holes among them."""
    if not value or not all(isinstance(row, list | tuple) for row in value):
        return False
    known = [[part for part in row if not is_hole(part)] for row in value]
    words = all(row and all(is_word(part) for part in row) for row in known)
    widths = {len(row) for row in value}
    return words and len(widths) == 1 and min(widths) > 1


@st.composite
def tables(draw):
    """Draws a table of any width, with or without something wrong."""
    width = draw(st.integers(2, 5))
    row = st.lists(word | st.just("-"), min_size=width, max_size=width)
    other = st.lists(text | word, max_size=5) | junk
    return draw(st.lists(row, max_size=3) | st.lists(row | other, max_size=3))


@cases(1000, table=tables() | junk | tensor)
def test_verbs_are_taken_and_all_else_is_refused(table):
    found = attempt(lab.check_verbs, table)
    if isinstance(table, list):
        assert isinstance(found, list) == is_table(table)
        if isinstance(found, list):
            assert found == [tuple(map(compose, verb)) for verb in table]
    attempt(beyond.Synthesizer, beyond.Config(), table)
    known = [("walk", "walks", "walking", "walked")]
    score = attempt(lab.gaussian_score, known, table)
    if isinstance(found, Exception):
        assert isinstance(score, Exception)
    if isinstance(table, list):
        attempt(lab.gaussian_score, table, known)


TENSES = st.lists(st.integers(-1, 5), max_size=3)


@cases(600, tenses=TENSES, count=st.integers(0, 3), forms=st.integers(2, 5))
def test_a_tense_for_each_word(tenses, count, forms):
    found = attempt(lab.check_tense, tenses, count, forms)
    if len(tenses) == count and set(tenses) <= set(range(forms)):
        assert found.tolist() == tenses
    else:
        assert isinstance(found, ValueError)


@cases(600, tense=st.integers(-1, 4) | junk | tensor)
def test_one_tense_for_all_words(tense):
    found = attempt(lab.check_tense, tense, 3, 4)
    if type(tense) is int and 0 <= tense <= 3:
        assert found.tolist() == [tense] * 3
    elif not isinstance(found, Exception):
        assert found.shape == (3,)
        assert set(found.tolist()) <= {0, 1, 2, 3}


# ---- Models ----
tiny = {"hidden_size": 12, "latent_size": 4, "embedding_size": 4, "condition_size": 3}
torch.manual_seed(0)
ENGLISH_LETTERS = set(string.ascii_lowercase)
MODELS = [lab.CVAE(small(**tiny), ENGLISH), beyond.CVAE(small_beyond(**tiny), ENGLISH)]


@pytest.mark.parametrize("model", MODELS, ids=["lab", "beyond"])
@cases(
    200, words=junk | st.lists(word, max_size=2), tense=st.integers(-1, 4) | junk, z=junk | tensor
)
def test_a_model_refuses_what_is_no_word_tense_or_code(model, words, tense, z):
    refused = is_refused(model.encode, words, 0)
    assert refused == is_refused(model.convert, words, 0, 3)
    checked = attempt(lab.check_words, words)
    others = set("".join(checked)) - ENGLISH_LETTERS if isinstance(checked, list) else True
    assert refused == bool(others)
    refused = is_refused(model.encode, ["walk"], tense)
    assert refused == is_refused(model.decode, torch.zeros(1, 4), tense)
    assert refused == is_refused(lab.check_tense, tense, 1, 4)
    refused = is_refused(model.generate, z)
    assert refused == is_refused(model.decode, z, 0)
    is_code = isinstance(z, torch.Tensor) and z.shape[1:] == (4,)
    assert refused != (is_code and bool(z.isfinite().all()))


@pytest.mark.parametrize("model", MODELS, ids=["lab", "beyond"])
@cases(60, words=st.lists(english, max_size=3))
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
LOWEST = {"seed": 0, "prefix_letters": 0}
HIGHEST = {"tf_final": 1, "refine": 0.9, "prefix_letters": 32, "compounds": 1, "resampled": 1}


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
    if values["decoding"] != "gated":
        for name in ("gate_price", "prefix_letters"):
            if values[name] != getattr(default, name):
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
