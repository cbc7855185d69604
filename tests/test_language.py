"""A student's own language: what counts as one, what a miniature makes of it, and the film."""

import pytest
from pytest import approx

from conftest import VERBS
from experiments import language

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
    figure = language.draw_film({"mirrored": points}, language.filmed(VERBS))
    assert len(figure.axes) == 3
