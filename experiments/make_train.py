"""Makes train.txt: the 1,227 most frequent English verbs whose forms two dictionaries agree on.

    .venv/bin/python -m experiments.make_train

The forms are those of lemminflect (MIT; from the NIH SPECIALIST Lexicon), and a verb is kept if
pyinflect (MIT; from AGID) gives the same ones. wordfreq (its word list is CC BY-SA 4.0) was used
only to rank the verbs, and none of its data is in the files.
"""

import gzip
import re

import pyinflect
from lemminflect import Inflections, getInflection
from wordfreq import word_frequency

import lab5_utils as lab
from experiments.baselines import TAGS, without_repeats

AUXILIARIES = """be have do can could may might must need ought shall should will would
dare""".split()
TEST_VERBS = "abandon abet begin expend send split flare function heal".split()
# vulgar, sexual or a slur in their first sense
CRUDE = """bitch
bugger castrate chink climax cock copulate cuckold debauch dyke ejaculate fag faggot
fart fondle fornicate grope gyp hump inseminate lust masturbate mate molest pee philander pimp piss
poop prick prostitute queer rape ravish retard rut screw seduce sex shit titillate welch welsh
womanise womanize""".split()


def agreed_verbs():
    """Returns the verbs of lemminflect's lexicon whose forms both dictionaries agree on."""
    with gzip.open(Inflections().infl_lu_fn, "rt", encoding="utf-8") as lines:
        entries = [line.split(",") for line in lines]
    lemmas = {word for word, kind, *_ in entries if kind == "verb"} - {*AUXILIARIES, *CRUDE}
    return [verb for verb in map(agreed_forms, sorted(lemmas)) if verb]


def agreed_forms(lemma):
    """Returns the four forms that both dictionaries put first, or None if these differ."""
    ours = tuple(first(getInflection(lemma, tag)) for tag in TAGS)
    theirs = tuple(first(pyinflect.getInflection(lemma, tag)) for tag in TAGS)
    clean = all(re.fullmatch("[a-z]{2,}", form) for form in ours)
    return ours if clean and ours == theirs and ours[0] == lemma else None


def first(forms):
    """Returns the first of some forms, or an empty text if there is none."""
    return forms[0] if forms else ""


def rank(verb):
    """Returns the key by which verbs are sorted: test verbs first, then the most frequent ones.

    A verb counts as frequent as its rarest form. Otherwise *people*, a frequent noun, would count
    as a frequent verb.
    """
    commonness = min(word_frequency(form, "en") for form in verb)
    return (verb[0] not in TEST_VERBS, -commonness, verb)


def first_rows(verbs, rows=1227):
    """Returns the first verbs, sorted; of two that share a form of a tense, the first is kept."""
    return sorted(without_repeats(verbs)[:rows])


if __name__ == "__main__":
    agreed = agreed_verbs()
    table = first_rows(sorted(agreed, key=rank))
    rows = "".join(" ".join(verb) + "\n" for verb in table)
    (lab.HERE / "train.txt").write_bytes(rows.encode())
