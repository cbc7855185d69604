"""Generated cases, the same in every run: words, texts and junk, and how to put them to a test."""

import string
import traceback
import unicodedata

import numpy as np
import torch
from conftest import lab, lab5_figures, lab5_train, taught
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MODULES = tuple(module.__file__ for module in (lab, lab5_train, lab5_figures, taught))


def cases(count, /, **strategies):
    """Runs a test on `count` cases, always the same, each in five seconds at most."""
    options = settings(
        max_examples=count,
        deadline=5000,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: options(given(**strategies)(test))


def attempt(call, *arguments, errors=(ValueError, TypeError)):
    """Returns what a call returns, or its error: a documented and short one, from the modules."""
    try:
        return call(*arguments)
    except errors as error:
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        assert any(frame.filename in MODULES for frame in frames), frames
        assert len(str(error)) < 1000
        if frames[-1].line.startswith("raise ValueError"):
            assert "expected" in str(error)
        return error


def is_word(value):
    """Tells whether a value is a word, once composed: written without the modules' functions."""
    if not isinstance(value, str):
        return False
    letters = compose(value)
    kinds = {unicodedata.category(letter) for letter in letters}
    return 1 <= len(letters) <= 32 and kinds <= {"Ll", "Lo", "Lm", "Mn", "Mc"}


def compose(text):
    """Returns a text in Unicode's NFC."""
    return unicodedata.normalize("NFC", text)


english = st.text(string.ascii_lowercase, min_size=1, max_size=32)
of_any_script = st.text(st.characters(categories=["Ll", "Lo", "Lm", "Mn", "Mc"]), max_size=20)
of_some_scripts = st.text("aéßşжשﬁe\u0301\u0438\u0306𐐨काகி", min_size=1, max_size=9)
word = english | (of_any_script | of_some_scripts).filter(is_word)
short_word = st.text("abeoy", min_size=1, max_size=3)  # so that some are equal
ODD = "\0א\u0958\u202e\u0301\ufeffé ﬁß\ud800🙂aZ`{"  # a lone surrogate among them
text = st.text(st.characters() | st.sampled_from(ODD))

HUGE = [10**400, -(10**400), "x" * 10**6, b"\xff" * 10**6, " " * 10**6]
NEARLY_WORDS = ["a" * 32, "a" * 33, np.array(["a"]), object()]
ARRAYS = [np.float64("nan"), np.int64(3), np.zeros((2, 4))]
number = st.booleans() | st.integers() | st.floats() | st.complex_numbers()
special = st.sampled_from(HUGE + NEARLY_WORDS + ARRAYS)
simple = st.none() | number | text | st.binary() | special
few = st.lists(simple, max_size=4)
mapping = st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
junk = simple | few | st.lists(few, max_size=2) | mapping
TENSORS = [torch.tensor(2), torch.zeros(2, 4), torch.zeros(0, 4)]
tensor = st.sampled_from([*TENSORS, torch.full((1, 4), torch.inf)])
