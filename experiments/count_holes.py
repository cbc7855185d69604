"""Converts verbs by counting, with no network and no rows: a rival for the lab's model.

    python tests/experiments/count_holes.py [k ...] [--table train.txt] [--validate]

Each verb is shown in k of its four tenses, which ones at random. All that the count is given is
four lists of words, one a tense: not which words are forms of one verb. It is asked for every other
form of a verb from each form that was shown, whether the answer is in the lists or not.

1. Endings that stand behind the same stems, each with each, are a signature, one ending a tense:
   (-, -s, -ing, -ed), (-e, -es, -ing, -ed), … (Goldsmith 2001, doi 10.1162/089120101750300490).
2. A verb is a stem and a signature: P(verb) = P(letters of the stem) · P(signature | its last
   letters), both counted from the words by expectation-maximisation (Dempster et al. 1977).
3. A word is a form of one verb. Verbs of which most forms are found, then the likeliest, take
   theirs first. What is left is irregular, and the words that look most alike go together.
4. A form that no list shows is the likeliest, given those that were found.
"""

import argparse
import math
import sys
import time
from collections import Counter, defaultdict
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from words import common_prefix, is_regular

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import lab5_utils as lab

TENSES = range(len(lab.TENSES))
LONGEST_ENDING = 6  # letters
SHORTEST_STEM = 3  # letters, where endings are counted
RHYME = 3  # letters that stand for a stem, if no verb has two forms
LEAST = {
    "stem": 1 / 1250,
    "rhyme": 1 / 250,
}  # of the words: how often two endings are seen together
CONTEXT = 3  # letters that tell what comes next
STRANGE = 0.01  # probability that a form does not follow its verb's signature
ROUNDS = 3  # of expectation-maximisation; of single words, which say less
ROUNDS_OF_WORDS = 10
NEAREST = 1.0  # letters, see `likeness`: what is joined if k is not told
HIDDEN = 0.1  # share of what is shown, on which the values above were chosen
SEEDS = range(3)  # of the mask


# ---- Signatures ----
def cuts(word):
    """Lists the ways to cut a word in a stem and an ending."""
    shortest = max(1, len(word) - LONGEST_ENDING)
    return [(word[:end], word[end:]) for end in range(shortest, len(word) + 1)]


def count_pairs(lists, by):
    """Counts how often two endings, with their tenses, stand behind one stem, or one rhyme."""
    endings = defaultdict(Counter)  # of a stem
    for tense, words in enumerate(lists):
        for stem, ending in (cut for word in words for cut in cuts(word)):
            if len(stem) >= SHORTEST_STEM:
                key = stem if by == "stem" else stem[-RHYME:]
                endings[key][tense, ending] += 1
    pairs = Counter()
    for found in endings.values():
        for one, other in combinations(sorted(found), 2):
            pairs[one, other] += min(found[one], found[other])
    return pairs


def find_signatures(pairs, least):
    """Returns signatures, any two endings of which were seen together, and how often at least."""
    follows = defaultdict(set)
    for ((tense, ending), (later, other)), count in pairs.items():
        if count >= least:
            follows[tense, ending, later].add(other)
    firsts = sorted({ending for tense, ending, _ in follows if tense == 0})
    signatures = [(ending,) for ending in firsts]
    for later in TENSES[1:]:
        longer = []
        for signature in signatures:
            fit = [follows[tense, ending, later] for tense, ending in enumerate(signature)]
            longer += [(*signature, ending) for ending in sorted(set.intersection(*fit))]
        signatures = longer
    ends_there = [signature for signature in signatures if not common_prefix(signature)]
    return {signature: times_seen(signature, pairs) for signature in ends_there}


def times_seen(signature, pairs):
    """Returns how often the two endings of a signature that are rarest together were seen."""
    forms = list(enumerate(signature))
    return min(pairs[pair] for pair in combinations(forms, 2))


# ---- Probabilities ----
class Backoff:
    """Estimates P(x | letters before it): each context is smoothed by the one a letter shorter."""

    def __init__(self, base):
        self.base = base  # P(x)
        self.count = Counter()
        self.total = Counter()
        self.known = {}

    def contexts(self, letters):
        """Lists the last letters, none to CONTEXT of them."""
        letters = "^" + letters
        longest = min(CONTEXT, len(letters))
        return [letters[len(letters) - length :] for length in range(longest + 1)]

    def add(self, letters, x, weight):
        """Counts x behind these letters."""
        for context in self.contexts(letters):
            self.count[context, x] += weight
            self.total[context] += weight

    def probability(self, letters, x):
        """Returns P(x | letters); nothing is added from then on."""
        contexts = self.contexts(letters)
        key = (contexts[-1], x)
        if key not in self.known:
            p = self.base[x]
            for context in contexts:
                p = (self.count[context, x] + p) / (self.total[context] + 1)
            self.known[key] = p
        return self.known[key]


class Grammar:
    """Says how likely a verb is: the letters of its stem, their end, and then its signature."""

    def __init__(self, signatures, alphabet):
        total = sum(signatures.values())
        self.signature = Backoff({sig: count / total for sig, count in signatures.items()})
        self.letter = Backoff(dict.fromkeys(alphabet, 1 / len(alphabet)))
        self.stems = {}

    def add(self, stem, signature, weight):
        """Counts a verb."""
        self.signature.add(stem, signature, weight)
        for end, letter in enumerate(stem + "$"):
            self.letter.add(stem[:end], letter, weight)

    def stem_probability(self, stem):
        """Returns P(stem); 1 as long as no stem was counted."""
        if stem not in self.stems:
            p = 1.0
            if self.letter.total:
                for end, letter in enumerate(stem + "$"):
                    p *= self.letter.probability(stem[:end], letter)
            self.stems[stem] = p
        return self.stems[stem]

    def probability(self, stem, signature):
        """Returns P(stem) · P(signature | stem)."""
        return self.stem_probability(stem) * self.signature.probability(stem, signature)


# ---- Count ----
class Count:
    """Groups four lists of words into verbs, and completes them.

    `size` is how many forms a verb shows, if that is known, else None: up to four, and words that
    no signature joins must be alike.
    """

    def __init__(self, lists, size=None):
        self.lists = [sorted(set(words)) for words in lists]
        self.size = size or len(TENSES)
        self.nearest = -math.inf if size else NEAREST
        by = "rhyme" if size == 1 else "stem"
        least = LEAST[by] * sum(map(len, self.lists))
        self.signatures = find_signatures(count_pairs(self.lists, by), least)
        self.with_ending = defaultdict(list)
        for signature in self.signatures:
            for form in enumerate(signature):
                self.with_ending[form].append(signature)
        self.candidates = self.find_candidates()
        rounds = ROUNDS_OF_WORDS if size == 1 else ROUNDS
        self.grammar = self.new_grammar()
        for _ in range(rounds):
            self.grammar = self.maximise(self.group())
        self.verbs = [self.complete(forms) for forms in self.group()]
        self.verb_of = {}
        for forms, row in self.verbs:
            self.verb_of |= dict.fromkeys(forms.items(), row)

    def new_grammar(self):
        """Returns a grammar that has counted nothing."""
        alphabet = {letter for words in self.lists for word in words for letter in word}
        return Grammar(self.signatures, alphabet | {"$"})

    def find_candidates(self):
        """Returns verbs, as stem and signature, of which at least two forms are in the lists."""
        found = defaultdict(dict)
        for tense, words in enumerate(self.lists):
            for word in words:
                for stem, ending in cuts(word):
                    for signature in self.with_ending[tense, ending]:
                        found[stem, signature][tense] = word
        return {verb: forms for verb, forms in found.items() if 2 <= len(forms) <= self.size}

    def group(self):
        """Returns verbs, each as its forms by tense: every word is a form of one verb."""

        def rank(verb):
            return len(self.candidates[verb]), self.grammar.probability(*verb)

        groups = []
        taken = set()
        for verb in sorted(self.candidates, key=rank, reverse=True):
            forms = self.candidates[verb]
            if taken.isdisjoint(forms.items()):
                taken.update(forms.items())
                groups.append(forms)
        for tense, words in enumerate(self.lists):
            groups += [{tense: word} for word in words if (tense, word) not in taken]
        return self.merge(groups)

    def merge(self, groups):
        """Joins what has fewer forms than a verb shows, the most alike first, until none fit."""
        while True:
            done = [forms for forms in groups if len(forms) == self.size]
            short = [forms for forms in groups if len(forms) < self.size]
            joined = []
            taken = set()
            for one, other in self.nearest_pairs(short):
                if taken.isdisjoint((one, other)):
                    taken.update((one, other))
                    joined.append(short[one] | short[other])
            if not joined:
                return groups
            left = [forms for n, forms in enumerate(short) if n not in taken]
            groups = done + left + joined

    def nearest_pairs(self, groups):
        """Returns the numbers of groups that can be joined, two and two, the most alike first."""
        shortest = [min(forms.values(), key=len) for forms in groups]
        by_letter = defaultdict(list)
        for n, word in enumerate(shortest):
            by_letter[word[0]].append(n)
        pairs = {}
        for numbers in by_letter.values():
            for one, other in combinations(numbers, 2):
                count = len(groups[one]) + len(groups[other])
                fits = groups[one].keys().isdisjoint(groups[other])
                if fits and count <= self.size:
                    pairs[one, other] = likeness(shortest[one], shortest[other])
        close = [pair for pair in pairs if pairs[pair] >= self.nearest]
        return sorted(close, key=pairs.get, reverse=True)

    def explain(self, forms):
        """Returns stems and signatures for a verb's forms, and how likely each is, up to a factor.

        A form that does not follow the signature costs a factor of STRANGE.
        """
        found = {}
        for tense, word in forms.items():
            for stem, ending in cuts(word):
                for signature in self.with_ending[tense, ending]:
                    found[stem, signature] = 0.0
        for stem, signature in found:
            strange = sum(stem + signature[tense] != word for tense, word in forms.items())
            found[stem, signature] = STRANGE**strange * self.grammar.probability(stem, signature)
        return found

    def maximise(self, groups):
        """Returns a grammar counted from verbs, each shared among what explains it."""
        grammar = self.new_grammar()
        for forms in groups:
            found = self.explain(forms)
            total = sum(found.values())
            for verb, p in found.items():
                grammar.add(*verb, weight=p / total)
        return grammar

    def complete(self, forms):
        """Returns the forms found, and the row of them and of the likeliest for the others."""
        found = self.explain(forms)
        row = dict(forms)
        for tense in set(TENSES) - set(forms):
            votes = Counter()
            for (stem, signature), p in found.items():
                votes[stem + signature[tense]] += p
            row[tense] = max(votes, key=votes.get, default=min(forms.values()))
        return forms, row

    def convert(self, word, source, target):
        """Converts a word of the lists."""
        return self.verb_of[source, word][target]


def likeness(one, other):
    """Returns the letters that two words share at both ends, less the others of the mean word."""
    begin = len(common_prefix([one, other]))
    end = len(common_prefix([one[begin:][::-1], other[begin:][::-1]]))
    mean = (len(one) + len(other)) / 2
    return 2 * (begin + end) - mean


# ---- Scores ----
def shown_tenses(count, k, seed):
    """Returns k of the four tenses for each of `count` verbs, the same for every method."""
    rng = np.random.default_rng(1000 * k + seed)
    return [set(rng.permutation(len(TENSES))[:k].tolist()) for _ in range(count)]


def hide(shown, seed):
    """Returns what is shown without a tenth of it, and that tenth; a verb keeps one form."""
    rng = np.random.default_rng(seed)
    kept = []
    hidden = []
    for tenses in shown:
        drawn = {tense for tense in sorted(tenses) if rng.random() < HIDDEN}
        if drawn == tenses:
            drawn = set()
        kept.append(tenses - drawn)
        hidden.append(drawn)
    return kept, hidden


def exact(count, table, shown, wanted):
    """Returns what is right by kind of verb: of each source, and of the vote of all sources.

    `table` has the verbs and their kinds.
    """
    right = defaultdict(list)
    for (verb, kind), tenses, targets in zip(table, shown, wanted, strict=True):
        for target in sorted(targets):
            sources = sorted(tenses - {target})
            answers = [count.convert(verb[source], source, target) for source in sources]
            right[kind] += [answer == verb[target] for answer in answers]
            for vote, _ in Counter(answers).most_common(1):
                right[f"{kind}, vote"].append(vote == verb[target])
    return right


def score(table, k, seed, told, validate):
    """Returns the scores of one mask: of missing forms, of shown ones, and of all together."""
    shown = shown_tenses(len(table), k, seed)
    missing = [set(TENSES) - tenses for tenses in shown]
    if validate:
        shown, missing = hide(shown, seed)
    lists = [[] for _ in TENSES]
    for (verb, _), tenses in zip(table, shown, strict=True):
        for tense in tenses:
            lists[tense].append(verb[tense])
    start = time.perf_counter()
    count = Count(lists, size=k if told else None)
    seconds = time.perf_counter() - start
    scores = {}
    for name, wanted in {"missing": missing, "shown": shown}.items():
        right = exact(count, table, shown, wanted)
        scores |= {f"{name}, {kind}": np.mean(right[kind]) for kind in right if right[kind]}
        everything = [one for kind in right if "vote" not in kind for one in right[kind]]
        if everything:
            scores[f"{name}, all"] = np.mean(everything)
    return scores | {"seconds": seconds}


def tabulate(table, ks, validate):
    """Returns mean ± sd of the scores over masks; a column for each k, told to the count or not."""
    columns = {}
    for k, told in product(ks, (True, False)):
        found = pd.DataFrame([score(table, k, seed, told, validate) for seed in SEEDS])
        mean = found.mean().map("{:.3f}".format)
        sd = found.std().map("{:.3f}".format)
        name = f"k = {k}" if told else "not told"
        columns[k, name] = mean + " ± " + sd
    return pd.DataFrame(columns)


def main():
    """Prints the scores."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("k", nargs="*", type=int, default=[4, 3, 2, 1])
    parser.add_argument("--table", help="of another language, which is not split by English rules")
    parser.add_argument("--validate", action="store_true", help="score a tenth of what is shown")
    chosen = parser.parse_args()
    if chosen.table:
        verbs = lab.load_verbs(chosen.table)
        if len(verbs[0]) != len(TENSES):
            raise ValueError(f"{chosen.table}: found {len(verbs[0])} forms a verb; expected 4")
        table = [(verb, "any verb") for verb in verbs]
    else:
        verbs = lab.load_verbs()
        table = [(verb, "regular" if is_regular(verb) else "irregular") for verb in verbs]
    print(tabulate(table, chosen.k, chosen.validate).to_string(na_rep=""))


if __name__ == "__main__":
    main()
