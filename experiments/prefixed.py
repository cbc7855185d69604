"""A decoder with room for a prefix, and its recipe: `lab.Config(decoding="prefix 2")`.

Where something stands before what a verb's forms share (*ge·sucht*, *ana·lala*), a gate would have
to open at once. This decoder spells up to two letters, or four, told the tense, and then a gated
word. Importing this module registers both.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lab5_utils as lab
from lab5_utils import EOS, MAX_LETTERS, Nats, Vocabulary, Words

PREFIX_UNITS = 64  # of the network that spells a prefix
LEAVES = 4.0  # its bias for EOS at first, so that most words have no prefix
NEGLIGIBLE = 7.0  # nats by which a path costs more than another: a thousandth of its weight


class PrefixedDecoder(lab.GatedDecoder):
    """Spells a prefix that is told the tense, and then a gated word as if nothing stood before.

    After the prefix the state starts anew from z, so that the choice of verb is made alike with a
    prefix and without. Nothing says how long it is, 0 to P letters, so a word's likelihood is the
    sum over these lengths, too.
    """

    prefix_letters: int  # P

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        self.place = nn.Embedding(self.prefix_letters, config.embedding_size)
        inputs = config.hidden_size + config.condition_size + config.embedding_size
        self.prefix_mlp = nn.Sequential(
            nn.Linear(inputs, PREFIX_UNITS),
            nn.Tanh(),
            nn.Linear(PREFIX_UNITS, vocabulary.size - 1),
        )
        self.prefix_mlp[-1].bias.data[EOS] += LEAVES

    def prefix_scores(self, context, tense, before, first=0) -> Tensor:
        """Returns scores (B, P, V − 1) of a prefix's letters from number `first` on; EOS ends it.

        Each knows the letter before, of (B, P), and its own number.
        """
        length = before.shape[1]
        told = torch.cat([context, self.condition(tense)], 1)  # (B, H + C)
        told = told[:, None].expand(-1, length, -1)  # (B, P, H + C)
        place = self.place.weight[first : first + length]  # (P, E)
        inputs = torch.cat([told, self.embedding(before) + place], 2)
        return self.prefix_mlp(inputs)

    def prefix_nats(self, context, target: Words, fed) -> Tensor:
        """Returns the nats (B, P + 1) of a prefix of 0 to P letters, and of its end."""
        P = min(self.prefix_letters, fed.shape[1])
        before = F.pad(fed, (1, 0), value=self.vocabulary.sos)
        before = before[:, :P]
        letters = target.letters[:, :P]
        scores = self.prefix_scores(context, target.tense, before)  # (B, P, V − 1)
        nats = lab.letter_nats(scores, letters, mask=torch.ones_like(letters))
        spelled = F.pad(nats.cumsum(1), (1, 0))  # (B, P + 1)
        ends = -scores.log_softmax(2)[..., EOS]
        ends = F.pad(ends, (0, 1))  # (B, P + 1): after P letters it ends for nothing
        return spelled + ends

    def all_paths(self, context, target: Words, fed, mask, inverse_temperature=1.0):
        """Returns −log p of all paths (B, (P + 1) T), and the letters told the tense in each.

        A path is a length of the prefix and an opening of the gate behind it. What follows a
        prefix that by itself costs too much to matter is not computed: infinite.
        """
        T = fed.shape[1]
        prefix = self.prefix_nats(context, target, fed)  # (B, P + 1)
        paths = prefix.new_full((*prefix.shape, T), torch.inf)  # (B, P + 1, T)
        told = torch.zeros_like(paths)
        for i in range(prefix.shape[1]):
            cheapest = paths.detach().amin((1, 2))  # (B,): of shorter prefixes
            matters = prefix[:, i] < cheapest + NEGLIGIBLE / inverse_temperature
            longer = mask.sum(1) > i
            n = (matters & longer).nonzero()[:, 0]  # numbers of b words
            if len(n) == 0:
                continue
            letters = target.letters[n, i:]  # (b, T − i)
            rest = Words(letters, target.lengths[n] - i, target.tense[n])
            left = mask[n, i:]  # (b, T − i)
            hidden = self(fed[n, i:], context[n])  # (b, T − i, H)
            nats = lab.path_nats(*self.letter_costs(hidden, rest, left))  # (b, T − i)
            nats = nats.masked_fill(~left, torch.inf)
            paths[n, i, : T - i] = prefix[n, i, None] + nats
            behind_gate = left.flip(1).cumsum(1).flip(1)
            told[n, i, : T - i] = i + behind_gate.float()
        return paths.flatten(1), told.flatten(1)

    def nats(self, z, target: Words, free_running, progress) -> Nats:
        """Returns the nats of B words, each from its z (B, Z); letters told the tense are priced.

        What is minimized changes with progress, as that of a gated decoder.
        """
        context = self.context(z, target.tense)  # (B, H)
        fed, mask = self.choose_fed(context, target, free_running)
        inverse_temperature, price = self.pressure(progress)
        paths, told = self.all_paths(context, target, fed, mask, inverse_temperature)
        known = paths.isfinite()  # (B, (P + 1) T)
        minimized = lab.sum_over_paths(paths + price * told, known, inverse_temperature)
        with torch.no_grad():
            ce = lab.sum_over_paths(paths, known)
        return Nats(minimized, ce)

    @torch.no_grad()
    def greedy(self, context: Tensor, tense: Tensor, steps=MAX_LETTERS + 1) -> Tensor:
        """Feeds back the likeliest letter: a prefix, until its EOS, and then the word behind it.

        Returns letters (B, steps), padded with EOS.
        """
        prefix = torch.full((len(context), steps), EOS, device=context.device)  # (B, steps)
        before = torch.full_like(prefix[:, :1], self.vocabulary.sos)  # (B, 1)
        for i in range(min(self.prefix_letters, steps)):
            letter = self.prefix_scores(context, tense, before, first=i).argmax(2)  # (B, 1)
            letter = letter.where(before != EOS, EOS)
            prefix[:, i] = letter[:, 0]
            before = letter
        rest = super().greedy(context, tense, steps)  # (B, steps)
        lengths = (prefix != EOS).sum(1, keepdim=True)  # (B, 1)
        place = torch.arange(steps, device=context.device) - lengths  # (B, steps)
        rest = rest.gather(1, place.clamp(min=0))
        return rest.where(place >= 0, prefix)


class PrefixOfTwo(PrefixedDecoder):
    """Has room for German *ge-*."""

    prefix_letters = 2


class PrefixOfFour(PrefixedDecoder):
    """Has room for Swahili *ana-*, *hawa-*."""

    prefix_letters = 4


lab.DECODERS["prefix 2"] = PrefixOfTwo
lab.DECODERS["prefix 4"] = PrefixOfFour
