"""The rows of the tables in results/: what is trained, with which seeds, and what is scored."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from bonus.gate import OURS, BackwardEncoder, GatedTraining
from experiments import scores
from experiments.variants import (
    DecoderPerTense,
    EncoderPerTense,
    EveryEpoch,
    PairsTold,
    WithoutHiddenForms,
    in_secret,
    mirrored,
    unchanged,
)
from lab5_train import (
    Config,
    Schedule,
    constant,
    four_cycles,
    short_rise,
    slow_rise,
    two_sigmoids,
    two_trapezoids,
)
from lab5_utils import CodeInH0, DirectDecoder, Encoder


def spoken(schedule: Schedule) -> str:
    """Returns the name of a schedule as texts have it: short rise, for example."""
    return schedule.__name__.replace("_", " ")


class Row(NamedTuple):
    """A row of a table: how it is called, what is trained, with which seeds, and what is scored."""

    part: str  # the table, results/PART.csv
    name: str
    config: Config  # with any seed
    seeds: range = range(3)
    score: Callable = scores.score_run  # of a run and its verbs
    table: Callable = unchanged  # from verbs and a seed to the verbs that are learned
    every: int = 1  # verbs, of which the table has one

    def fields(self) -> dict:
        """Returns what tables tell of the configuration, by column."""
        config = self.config
        return {
            "schedule": spoken(config.schedule),
            "beta": config.kl_weight,
            "epochs": config.epochs,
            "encoder": config.encoder.__name__,
            "decoder": config.decoder.__name__,
        }


# ---- 03: why it converts ----
# seeds that chose nothing, and so many epochs that nearly all words are repeated
CONTROL = partial(Config.miniature, epochs=160, kl_weight=0.02)
PER_TENSE = {"encoder": EncoderPerTense, "decoder": DecoderPerTense}
CONTROLS = {  # the table that is learned, and the configuration
    "plain English": (unchanged, CONTROL()),
    "every word backwards": (mirrored, CONTROL()),
    "secret alphabets": (in_secret, CONTROL()),
    "an encoder and a decoder per tense": (unchanged, CONTROL(**PER_TENSE)),
    "an encoder per tense": (unchanged, CONTROL(encoder=EncoderPerTense)),
    "a decoder per tense": (unchanged, CONTROL(decoder=DecoderPerTense)),
    "secret alphabets, pairs told": (in_secret, CONTROL(training=PairsTold)),
    "plain English, β = 0": (unchanged, CONTROL(kl_weight=0.0)),
}
MINIATURE = {"score": scores.score_codes, "seeds": range(3, 8), "every": 10}
ROWS = [
    Row("03_controls", name, config, table=table, **MINIATURE)
    for name, (table, config) in CONTROLS.items()
]


# ---- 04 and 06: from the plain model to ours, one change at a time ----
class GateWithoutPrice(GatedTraining):
    """A training whose gate may open as early as it likes."""

    price = 0.0


class GateNotTempered(GatedTraining):
    """A training in which places of the gate count by their likelihood from the first step on."""

    lowest_tau = 1.0


class GateWithoutHiddenForms(WithoutHiddenForms, GatedTraining):
    """A training of our model that never sees the hidden forms."""


LONG = partial(Config, epochs=84)
BACKWARDS = partial(LONG, encoder=BackwardEncoder)
GATE = partial(replace, OURS)
WITHOUT_GATE = {
    "plain model": Config(),
    "84 epochs": LONG(),
    "β = 0.6": LONG(kl_weight=0.6),
    "backwards": BACKWARDS(kl_weight=0.6),
}
ROWS += [Row("06_seeds", name, config, range(5)) for name, config in WITHOUT_GATE.items()]
ROWS += [
    Row("06_seeds", "our model", OURS, range(5)),
    Row("06_seeds", "β = 0", Config(kl_weight=0.0)),
    Row("06_seeds", "84 epochs, β = 0", LONG(kl_weight=0.0)),
]
HIDDEN = {"score": scores.score_hidden_forms}
ROWS += [
    Row("04_hidden", name, replace(config, training=WithoutHiddenForms), **HIDDEN)
    for name, config in WITHOUT_GATE.items()
]
ROWS += [Row("04_hidden", "our model", GATE(training=GateWithoutHiddenForms), **HIDDEN)]
PARTS = {
    "reads forwards": GATE(encoder=Encoder),
    "without λ": GATE(training=GateWithoutPrice),
    "without tempering": GATE(training=GateNotTempered),
    "constant to 0.5": GATE(schedule=constant, kl_weight=0.5),
}
ROWS += [Row("06_parts", name, config) for name, config in PARTS.items()]
MIRRORED = {"table": mirrored, "score": scores.score_codes}
ROWS += [
    Row("06_parts", f"{name}, words backwards", config, **MIRRORED)
    for name, config in (("backwards", WITHOUT_GATE["backwards"]), ("our model", OURS))
]
FRONT = (("gate", GATE), ("no gate", BACKWARDS))
ROWS += [
    Row("06_front", f"{name}, short rise to {beta}", recipe(kl_weight=beta))
    for name, recipe in FRONT
    for beta in (0.3, 0.5, 0.6, 0.7)
]


# ---- 05: the original recipe, one change at a time, schedules, teacher forcing ----
def slow_rise_reversed(progress):
    """Has the weights of `slow_rise` in the opposite order."""
    return slow_rise(1 - progress)


def two_trapezoids_reversed(progress):
    """Has the weights of `two_trapezoids` in the opposite order."""
    return two_trapezoids(1 - progress)


ORIGINAL = partial(Config.original, training=EveryEpoch)
LIKE_THE_OTHER = {"schedule": two_trapezoids, "decoder": DirectDecoder, "tf_final": 0.8}
BEST = {"score": scores.score_best}
AT_FULL_LENGTH = {  # the configuration, and how many seeds
    "two sigmoids": (ORIGINAL(), 3),
    "two sigmoids, weight 0.1": (ORIGINAL(kl_weight=0.1), 2),
    "as the solution with weight 0.1": (ORIGINAL(kl_weight=0.1, **LIKE_THE_OTHER), 1),
}
ROWS += [
    Row("05_lab", name, config, range(seeds), **BEST)
    for name, (config, seeds) in AT_FULL_LENGTH.items()
]
SHORTENED = partial(ORIGINAL, epochs=100)
PLAIN = partial(Config, training=EveryEpoch)
CHANGES = {
    "original recipe": SHORTENED(),
    # at an eighth of the rate a step down CE is as long as before
    "original recipe, CE per word": SHORTENED(ce_per="word", learning_rate=0.1),
    "original recipe, β / 8.5": SHORTENED(kl_weight=0.5 / 8.5),
    "original recipe, Adam": SHORTENED(optimizer="adam", learning_rate=0.003),
    "original recipe, code in the cell": SHORTENED(decoder=DirectDecoder),
    "original recipe, teacher forcing to 0.95": SHORTENED(tf_final=0.95),
    "original recipe, weight 0.1": SHORTENED(kl_weight=0.1),
    "as the solution with weight 0.1": SHORTENED(kl_weight=0.1, **LIKE_THE_OTHER),
    "the same, weight 0.5": SHORTENED(kl_weight=0.5, **LIKE_THE_OTHER),
    "plain model": PLAIN(),
    "plain model, CE per character": PLAIN(ce_per="character"),
    "plain model, CE per character, β / 8.5": PLAIN(ce_per="character", kl_weight=0.3 / 8.5),
    "plain model, SGD": PLAIN(optimizer="sgd", learning_rate=0.5),
    "plain model, code in h0": PLAIN(decoder=CodeInH0),
    "plain model, code in h0, β = 0.1": PLAIN(decoder=CodeInH0, kl_weight=0.1),
    "plain model, teacher forcing to 0.1": PLAIN(tf_final=0.1),
}
ROWS += [Row("05_changes", name, config, **BEST) for name, config in CHANGES.items()]
HEIGHTS = {
    constant: (0.1, 0.2, 0.25, 0.3, 0.4, 0.425, 0.5),
    short_rise: (0.2, 0.3, 0.5),
    slow_rise: (0.25, 0.35, 0.5),
    slow_rise_reversed: (0.5,),
    four_cycles: (0.3, 0.4, 0.6),
    two_trapezoids: (0.3, 0.5, 0.8),
    two_trapezoids_reversed: (0.5,),
    two_sigmoids: (0.3, 0.5, 1.0),
}
LONG_HEIGHTS = {constant: (0.3, 0.4, 0.5), short_rise: (0.3, 0.4, 0.5, 0.6, 0.7)}
ROWS += [
    Row(part, f"{spoken(schedule)} to {beta}", recipe(schedule=schedule, kl_weight=beta))
    for part, recipe, heights_of in (
        ("05_annealing", Config, HEIGHTS),
        ("05_long", LONG, LONG_HEIGHTS),
    )
    for schedule, heights in heights_of.items()
    for beta in heights
]
RATIOS = (1.0, 0.95, 0.75, 0.5, 0.25, 0.1)
ROWS += [Row("05_forcing", f"to {ratio}", Config(tf_final=ratio)) for ratio in RATIOS]
