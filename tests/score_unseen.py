"""Trains `Config()` on the whole table and asks it for every other verb that two dictionaries agree on.

    python tests/score_unseen.py [file of verbs to leave out]

About 4,500 verbs, rarer than those of the table; prints exact match of the three forms from the present, and the same
for lemminflect's rules for words outside its dictionary. What is trained is kept in runs/.
"""

import sys
from pathlib import Path

import pandas as pd
from lemminflect import getAllInflectionsOOV
from make_train import AUXILIARIES, TAGS, lemmas, row

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import lab5_utils as lab


def other_verbs(known):
    """Lists the verbs outside the table whose four forms the two dictionaries agree on."""
    candidates = map(row, sorted(set(lemmas()) - AUXILIARIES - known))
    return [verb for verb in candidates if verb and len(max(verb, key=len)) <= lab.MAX_LETTERS]


def exact(answers, verbs):
    """Returns exact match of forms, of the forms of regular verbs, and of full rows."""
    right = pd.DataFrame([[a == b for a, b in zip(answer, verb)][1:] for answer, verb in zip(answers, verbs)])
    regular = [verb in lab.regular_rows(verb[0]) for verb in verbs]
    return {
        "forms": right.to_numpy().mean(),
        "regular": right[regular].to_numpy().mean(),
        "full rows": right.all(axis=1).mean(),
    }


def by_rules(lemma):
    forms = getAllInflectionsOOV(lemma, "VERB")
    return (lemma, *(forms[tag][0] for tag in TAGS[1:]))


def main():
    left_out = lab.load_verbs(sys.argv[1]) if len(sys.argv) > 1 else []
    verbs = other_verbs({verb[0] for verb in lab.load_verbs() + left_out})
    model = lab.load_or_train(lab.Config()).model
    ours = model.generate(model.encode([verb[0] for verb in verbs], lab.SP)[0])
    table = pd.DataFrame(
        {"Config()": exact(ours, verbs), "lemminflect": exact(map(by_rules, [v[0] for v in verbs]), verbs)}
    )
    print(f"{len(verbs)} verbs\n{table.round(4).to_string()}")
    wrong = [f"{a} ({b})" for answer, verb in zip(ours, verbs) for a, b in zip(answer[1:], verb[1:]) if a != b]
    print("\nwrong, every tenth:", ", ".join(wrong[::10]))


if __name__ == "__main__":
    main()
