"""A student's own language: what counts as one, what a miniature makes of it, and the film."""

import numpy as np
import pandas as pd
import pytest
from conftest import VERBS, lab5_runs
from pytest import approx

from experiments import language
from lab5_figures import draw_codes, draw_film

NO_WORDS = {
    "nothing": lambda form, tense: form[:-9],
    "too much": lambda form, tense: form * 9,
    "no text": lambda form, tense: None,
}


@pytest.mark.parametrize("name", NO_WORDS)
def test_a_form_that_becomes_no_word_is_named(name):
    problem = f"{name}, 'abandon' in tense 0: found .*; expected 1 to 32 letters"
    with pytest.raises(ValueError, match=problem):
        language.rewrite(VERBS, NO_WORDS[name], name)


def test_a_language_keeps_words_apart():
    with pytest.raises(ValueError, match="tense 3: found 1 different words; expected at least 90"):
        language.rewrite(VERBS, lambda form, tense: "went" if tense == 3 else form)


def test_a_language_is_learned_and_filmed(runs_folder):
    mirrored = {"mirrored": lambda form, tense: form[::-1]}
    learned = language.learn(mirrored, VERBS, epochs=2, hidden_size=8)
    assert learned["mirrored"].verbs[0][0] == VERBS[0][0][::-1]
    table = language.compare(learned)
    assert table.loc["mirrored", "learned"] == "no"
    again = language.learn(mirrored, VERBS, epochs=2, hidden_size=8)  # is loaded
    points = language.film(again["mirrored"].run)
    assert points == approx(language.film(learned["mirrored"].run))
    assert points.shape == (2, 10, 4, 2)
    draw_film({"mirrored": points}, language.filmed(VERBS))


@pytest.mark.parametrize("count", [1, 12, 13, 123])
def test_a_film_has_at_most_twelve_verbs(count):
    shown = language.filmed(list(range(count)))
    assert shown[0] == 0
    assert 1 <= len(shown) <= 12


def test_a_film_shows_where_verbs_differ_at_the_end():
    rng = np.random.default_rng(0)
    codes = rng.normal(0, 1e-4, size=(3, 5, 4, 32))  # (E, n, F, Z)
    codes[-1][:, :, [7, 20]] += rng.normal(size=(5, 1, 2))  # the verbs differ in two numbers alone
    history = pd.DataFrame({"codes": codes.tolist()})
    points = language.film(lab5_runs.Run(None, history, None))
    assert points.shape == (3, 5, 4, 2)
    assert apart(points[-1]) == approx(apart(codes[-1]), abs=1e-2)


def apart(codes):
    """Returns how far the forms of verbs lie apart, verb by verb."""
    return np.linalg.norm(codes[:, None] - codes[None], axis=-1)


def test_codes_are_drawn_for_any_number_of_forms():
    fig = draw_codes({"one": (("put", "puts"), np.zeros((2, 32)))})
    assert len(fig.axes) == 2
