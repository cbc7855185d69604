"""The model that notebook 02 trained, kept for 03 to 05, and miniatures, which learn in seconds."""

from contextlib import redirect_stdout
from difflib import SequenceMatcher
from io import StringIO
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import torch

import lab5_utils as lab

YOURS = Path("yours.pkl")  # what notebook 02 keeps
FEW = lab.distinct_verbs()[::10]


def keep_model(model, train):
    """Keeps the trained model and the function `train` of notebook 02, with all that they use."""
    YOURS.write_bytes(cloudpickle.dumps({"model": model, "train": train, "CVAE": type(model)}))


def your_notebook():
    """Returns what notebook 02 kept, by name: the model, `train`, and the class `CVAE`."""
    if not YOURS.exists():
        raise FileNotFoundError("there is no model yet: fill in notebook 02 and run it")
    return cloudpickle.loads(YOURS.read_bytes())


def miniature(verbs, kl_weight, seed=0, **options):
    """Returns your model in small, trained on verbs, and its history. Options go to `train`."""
    yours = your_notebook()
    names, vocabulary = yours["train"].__globals__, lab.vocabulary_of(verbs)
    rate = names["learning_rate"]
    names |= {
        "H": 96,
        "batch_size": 32,
        "vocabulary": vocabulary,
        "table": lab.words_of(verbs, vocabulary),
        "pairs": lab.pairs_of(verbs),
        "learning_rate": lambda progress: 2 * rate(progress),
    }
    torch.manual_seed(seed)
    model, rng = yours["CVAE"](), torch.Generator().manual_seed(seed)
    with redirect_stdout(StringIO()):
        history = yours["train"](model, 80, kl_weight, rng, **options)
    return model, history


def shares(model, verbs):
    """Returns which share of the words is repeated, and which is converted to other tenses."""
    forms = [list(words) for words in zip(*verbs, strict=True)]
    right = np.zeros((len(forms), len(forms)))
    for source, target in np.ndindex(right.shape):
        spelled = model.convert(forms[source], source, target)
        right[source, target] = np.equal(spelled, forms[target]).mean()
    same = np.eye(len(forms), dtype=bool)
    return right[same].mean(), right[~same].mean()


# ---- The language game ----
def rewrite(language):
    """Returns every tenth verb as a language writes it. Raises ValueError if it breaks a rule."""
    verbs = []
    for verb in FEW:
        words = [language(form, tense) for tense, form in enumerate(verb)]
        verbs.append(tuple(lab.check_words(words, f"the forms of {verb[0]}")))
    for tense, words in enumerate(zip(*verbs, strict=True)):
        if len(set(words)) < 0.9 * len(FEW):
            raise lab.wrong(f"tense {tense}", f"{len(set(words))} words", "nine of ten different")
    return verbs


def play(language, seeds=(0,)):
    """Returns what miniatures repeat and convert, a row for each seed, and what is changed."""
    verbs, scores = rewrite(language), {}
    pairs = zip(np.ravel(FEW), np.ravel(verbs), strict=True)
    kept = np.mean([SequenceMatcher(None, *pair).ratio() for pair in pairs])
    for seed in seeds:
        model, _ = miniature(verbs, 0.05, seed)
        scores[f"seed {seed}"] = *shares(model, verbs), 1 - kept
    return pd.DataFrame(scores, ["repeated", "converted", "letters changed"]).T


def award(language):
    """Returns the points of a language, 0, 3, 6 or 9, for the means of three seeds."""
    repeated, converted, changed = play(language, range(3)).mean()
    print(f"repeated {repeated:.2f}, converted {converted:.2f}, letters changed {changed:.2f}")
    surprise = changed if converted >= 0.8 else 1 - changed if converted <= 0.1 else 0
    points = (3 + 3 * int(surprise >= 0.5) + 3 * int(surprise >= 0.8)) * int(repeated >= 0.95)
    print(f"language: {points} points")
    return points
