"""Asks the model beyond the rules for every other verb that two dictionaries agree on.

    .venv/bin/python -m experiments.score_unseen [file of verbs to leave out]

The model is `lab5_beyond.Config()`, trained on the whole table and kept in runs/. About 4,400
verbs, rarer than those of the table; prints exact match of the three forms from the present, beside
the change that the most similar verb of the table makes, a spelling rule by hand, and lemminflect's
rules for words outside its dictionary.
"""

import sys

import pandas as pd

import lab5_beyond as beyond
import lab5_utils as lab
from experiments.held_out import exact_match, practised
from experiments.make_train import AUXILIARIES, agreed_forms, lemmas
from experiments.words import is_regular, lemminflect_rules, neighbour, spelling_rule
from lab5_train import load_or_train

LONG = 12  # letters of a lemma


def other_verbs(known):
    """Lists the verbs outside the table whose four forms the two dictionaries agree on."""
    verbs = [agreed_forms(lemma) for lemma in sorted(set(lemmas()) - AUXILIARIES - known)]
    verbs = [verb for verb in verbs if verb is not None]
    return [verb for verb in verbs if max(map(len, verb)) <= lab.MAX_LETTERS]


def scores(answers, verbs):
    """Returns exact match of all verbs, and of the forms of long ones."""
    regular = [is_regular(verb) for verb in verbs]
    match = exact_match(answers, verbs, regular)
    long = [n for n, verb in enumerate(verbs) if len(verb[0]) >= LONG]
    parts = [[of[n] for n in long] for of in (answers, verbs, regular)]
    return match | {f"{LONG} letters and more": exact_match(*parts)["forms"]}


def show(systems, verbs, numbers):
    """Prints the scores of each system for some of the verbs, by number."""
    asked = [verbs[n] for n in numbers]
    table = {}
    for name, answers in systems.items():
        table[name] = scores([answers[n] for n in numbers], asked)
    print(f"{len(asked)} verbs\n{pd.DataFrame(table).round(4).to_string()}")


def main():
    """Prints the scores, and those of verbs that training never met."""
    left_out = [lab.load_verbs(path) for path in sys.argv[1:]]
    known = {verb[0] for verbs in [lab.load_verbs(), *left_out] for verb in verbs}
    verbs = other_verbs(known)
    lemmas_asked = [verb[0] for verb in verbs]
    model = load_or_train(beyond.Config()).model
    z, _ = model.encode(lemmas_asked, lab.PRESENT)
    answers = model.generate(z)
    training = lab.distinct_verbs(None)
    systems = {
        "beyond the rules": answers,
        "neighbour": [neighbour(lemma, training) for lemma in lemmas_asked],
        "spelling rule": [spelling_rule(lemma) for lemma in lemmas_asked],
        "lemminflect": [lemminflect_rules(lemma) for lemma in lemmas_asked],
    }
    met = practised(beyond.Config(), training)
    new = [n for n, verb in enumerate(verbs) if verb not in met]
    show(systems, verbs, range(len(verbs)))
    print("\nthose that are not among the model's synthetic verbs, either:")
    show(systems, verbs, new)


if __name__ == "__main__":
    main()
