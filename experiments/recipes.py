"""The rows of the tables in results/: what is trained, with which seeds, and what is scored."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from experiments import scores
from experiments.paths import BothAhead, EncoderAhead
from experiments.variants import (
    EveryEpoch,
    FromTo,
    GateNotTempered,
    GateWithoutPrice,
    PairsTold,
    PartsPerTense,
    WithoutHiddenForms,
    disjoint,
    in_secret,
    mirrored,
    unchanged,
)
from lab5_gate import BackwardEncoder
from lab5_train import (
    Config,
    Schedule,
    Training,
    backwards,
    constant,
    even_rise,
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
    make_training: Callable = Training
    score: Callable = scores.score_run  # of a run, the verbs read, and those written
    read: Callable = unchanged  # from verbs and a seed to the verbs that are read
    written: Callable | None = None  # likewise, if others are written
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


PLAIN = Config.plain
LAB = Config.lab

# ---- 03: why it converts ----
# seeds that chose nothing, and so many epochs that nearly all words are repeated
CONTROL = partial(Config.miniature, epochs=160, kl_weight=0.02)
NOTHING_SHARED = partial(PartsPerTense, encoder=True, decoder=True)
CONTROLS = {  # what is read, what is written, how it is trained, β
    "plain English": (unchanged, unchanged, FromTo, 0.02),
    "every word backwards": (mirrored, mirrored, FromTo, 0.02),
    "secret alphabets": (in_secret, in_secret, FromTo, 0.02),
    "disjoint alphabets": (disjoint, disjoint, FromTo, 0.02),
    "only what is read is disjoint": (disjoint, unchanged, FromTo, 0.02),
    "only what is written is disjoint": (unchanged, disjoint, FromTo, 0.02),
    "an encoder and a decoder per tense": (unchanged, unchanged, NOTHING_SHARED, 0.02),
    "an encoder per tense": (unchanged, unchanged, partial(PartsPerTense, encoder=True), 0.02),
    "a decoder per tense": (unchanged, unchanged, partial(PartsPerTense, decoder=True), 0.02),
    "secret alphabets, pairs told": (in_secret, in_secret, PairsTold, 0.02),
    "plain English, β = 0": (unchanged, unchanged, FromTo, 0.0),
}
MINIATURE = {"score": scores.score_codes, "seeds": range(3, 8), "every": 10}
ROWS = [
    Row(
        "03_controls",
        name,
        CONTROL(kl_weight=beta),
        make_training=make_training,
        read=read,
        written=written,
        **MINIATURE,
    )
    for name, (read, written, make_training, beta) in CONTROLS.items()
]

# ---- 06: from the plain model to ours, one change at a time ----
LONG = partial(PLAIN, epochs=84)
BACKWARDS = partial(LONG, encoder=BackwardEncoder)
MODELS = {
    "plain model": PLAIN(),
    "84 epochs": LONG(),
    "β = 0.6": LONG(kl_weight=0.6),
    "backwards": BACKWARDS(kl_weight=0.6),
    "our model": Config(),
}
ROWS += [Row("06_seeds", name, config, range(5)) for name, config in MODELS.items()]
HIDDEN = {"make_training": WithoutHiddenForms, "score": scores.score_hidden_forms}
ROWS += [Row("04_hidden", name, config, **HIDDEN) for name, config in MODELS.items()]
PARTS = {
    "reads forwards": Config(encoder=Encoder),
    "without λ": Config(decoder=GateWithoutPrice),
    "without tempering": Config(decoder=GateNotTempered),
    "constant to 0.5": Config(schedule=constant, kl_weight=0.5),
}
ROWS += [Row("06_parts", name, config) for name, config in PARTS.items()]
MIRRORED = {"read": mirrored, "score": scores.score_codes}
ROWS += [
    Row("06_parts", f"{name}, words backwards", MODELS[name], **MIRRORED)
    for name in ("backwards", "our model")
]
ROWS += [
    Row("06_front", f"{name}, short rise to {beta}", recipe(kl_weight=beta))
    for recipe, name in ((Config, "gate"), (BACKWARDS, "no gate"))
    for beta in (0.3, 0.5, 0.6, 0.7)
]

# ---- 05: the lab's recipe, one change at a time, schedules, teacher forcing ----
BEST = {"make_training": EveryEpoch, "score": scores.score_best}
ROWS += [
    Row("05_lab", "two sigmoids", LAB(), **BEST),
    Row("05_lab", "two trapezoids", LAB(schedule=two_trapezoids), range(1), **BEST),
    Row("05_lab", "short rise", LAB(schedule=short_rise, kl_weight=1.0), range(1), **BEST),
]
LAB_100 = partial(LAB, epochs=100)
CHANGES = {
    "lab's recipe": LAB_100(),
    # at an eighth of the rate a step down CE is as long as before
    "lab's recipe, CE per word": LAB_100(ce_per="word", learning_rate=0.1),
    "lab's recipe, β / 8.5": LAB_100(kl_weight=0.5 / 8.5),
    "lab's recipe, Adam": LAB_100(optimizer="adam", learning_rate=0.003),
    "lab's recipe, code in the cell": LAB_100(decoder=DirectDecoder),
    "lab's recipe, teacher forcing to 0.95": LAB_100(tf_final=0.95),
    "lab's recipe, constant": LAB_100(schedule=constant),
    "plain model": PLAIN(),
    "plain model, CE per character": PLAIN(ce_per="character"),
    "plain model, CE per character, β / 8.5": PLAIN(ce_per="character", kl_weight=0.3 / 8.5),
    "plain model, SGD": PLAIN(optimizer="sgd", learning_rate=0.5),
    "plain model, learning rate / 2": PLAIN(learning_rate=0.003),
    "plain model, learning rate · 2": PLAIN(learning_rate=0.012),
    "plain model, code in h0": PLAIN(decoder=CodeInH0),
    "plain model, code in h0, β = 0.1": PLAIN(decoder=CodeInH0, kl_weight=0.1),
    "plain model, teacher forcing to 0.1": PLAIN(tf_final=0.1),
    "plain model, two sigmoids to 0.5": PLAIN(schedule=two_sigmoids, kl_weight=0.5),
}
ROWS += [Row("05_changes", name, config, **BEST) for name, config in CHANGES.items()]
HEIGHTS = {
    constant: (0.1, 0.2, 0.3, 0.4, 0.5),
    short_rise: (0.2, 0.3, 0.5),
    slow_rise: (0.25, 0.35, 0.5),
    even_rise: (0.4, 0.6, 1.0),
    four_cycles: (0.3, 0.4, 0.6),
    two_trapezoids: (0.3, 0.5, 0.8),
    two_sigmoids: (0.3, 0.5, 1.0),
    backwards: (0.3, 0.4, 0.6),
}
LONG_HEIGHTS = {constant: (0.3, 0.4, 0.5), short_rise: (0.3, 0.4, 0.5, 0.6, 0.7)}
ROWS += [
    Row(part, f"{spoken(schedule)} to {beta}", recipe(schedule=schedule, kl_weight=beta))
    for part, recipe, table in (("05_annealing", PLAIN, HEIGHTS), ("05_long", LONG, LONG_HEIGHTS))
    for schedule, heights in table.items()
    for beta in heights
]
RATIOS = (1.0, 0.95, 0.75, 0.5, 0.25, 0.1)
ROWS += [Row("05_forcing", f"to {ratio}", PLAIN(tf_final=ratio)) for ratio in RATIOS]
AHEAD = {  # a training, and what it changes
    "none ahead": (Training, {}),
    "both ahead": (BothAhead, {}),
    "encoder ahead": (EncoderAhead, {}),
    "encoder ahead, β = 1": (EncoderAhead, {"kl_weight": 1.0}),
}
AT_HALF = {"epochs": 120, "schedule": constant, "kl_weight": 0.5}
ROWS += [
    Row("05_ahead", name, Config.miniature(**AT_HALF | changes), range(5), make_training, every=10)
    for name, (make_training, changes) in AHEAD.items()
]
