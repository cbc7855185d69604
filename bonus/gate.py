"""Our model, `OURS`: the plain model with an encoder that reads backwards, and a tense gate.

Read it after `lab5_train`; shapes and units are the same. Notebook 06 shows what each part buys.
"""

from os.path import commonprefix

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lab5_utils as lab
from lab5_train import Config, Training
from lab5_utils import EOS, Decoder, Encoder, Vocabulary, Words, letter_nats


class BackwardEncoder(Encoder):
    """An encoder that reads a word from its last letter to its first, and then EOS.

    So the beginning, which the forms of most verbs share, is read last. Source: Sutskever et al.
    2014.
    """

    def forward(self, words: Words) -> tuple[Tensor, Tensor]:
        """Returns mu and logvar of the posteriors of B words, each (B, Z)."""
        place = torch.arange(words.letters.shape[1], device=words.letters.device)  # (T,)
        end = words.lengths[:, None] - 1  # (B, 1), the place of EOS
        mirrored = torch.where(place < end, end - 1 - place, place)  # (B, T)
        return super().forward(words._replace(letters=words.letters.gather(1, mirrored)))


class GatedDecoder(Decoder):
    """A decoder that spells a verb without the tense until a gate opens; then it is given it.

    Before the gate EOS doesn't end the word but opens the gate. Nothing in the data says where to
    open it, so the likelihood of a word is the sum over all places.
    """

    def __init__(self, config, vocabulary: Vocabulary):
        super().__init__(config, vocabulary)
        H = config.hidden_size
        self.gate_mlp = nn.Sequential(
            nn.Linear(H + config.condition_size, H // 2),
            nn.Tanh(),
            nn.Linear(H // 2, vocabulary.size - 1),
        )
        self.from_z = nn.Linear(config.latent_size, H)

    def first_state(self, z, tense):
        """Returns h0 and c0, each (1, B, H), given z (B, Z), and closed gates (1, B, 1)."""
        c0 = self.from_z(z)[None]  # (1, B, H); the tense plays no part yet
        closed = torch.zeros_like(c0[..., :1], dtype=torch.bool)
        return c0.tanh(), c0, closed

    def forward(self, z, tense, fed) -> Tensor:
        """Returns the hidden states (B, T, H) from which letters and gate are chosen."""
        h0, c0, _ = self.first_state(z, tense)
        hidden, _ = self.lstm(self.embed(fed), (h0, c0))
        return hidden  # (B, T, H)

    def logits_after_gate(self, hidden, blind, tense) -> Tensor:
        """Returns the logits (B, T, V − 1) after the gate, given hidden states and blind logits."""
        condition = self.condition(tense)[:, None]  # (B, 1, C)
        condition = condition.expand(-1, hidden.shape[1], -1)  # (B, T, C)
        # W h, except for EOS, which opened the gate, + MLP(h ‖ condition)
        without_eos = F.pad(blind[..., 1:], (1, 0))
        return without_eos + self.gate_mlp(torch.cat([hidden, condition], 2))

    def step(self, letter: Tensor, state, tense: Tensor):
        """Reads a letter per word (b, 1); returns logits (b, V − 1) of the next, and the state."""
        h, c, opened = state
        hidden, (h, c) = self.lstm(self.embedding(letter), (h, c))  # (b, 1, H)
        blind = self.letter(hidden)  # (b, 1, V − 1)
        after = self.logits_after_gate(hidden, blind, tense)
        opened = opened | (blind.argmax(2) == EOS)  # (1, b, 1)
        logits = after[:, 0].where(opened[0], blind[:, 0])
        return logits, (h, c, opened)

    def nats(self, z, target: Words, free_running) -> Tensor:
        """Returns the CE of B words in nats (B,), each decoded from its z (B, Z)."""
        before, after, opens, mask = self.costs(z, target, free_running)
        return sum_over_paths(path_nats(before, after, opens), mask)

    def costs(self, z, target: Words, free_running) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns what letters cost before and after the gate, and what opening it does.

        These are nats (B, T), and a mask (B, T) of the letters that count.
        """
        fed, mask = self.choose_fed(z, target, free_running)
        hidden = self(z, target.tense, fed)  # (B, T, H)
        blind = self.letter(hidden)  # (B, T, V − 1)
        before = letter_nats(blind, target.letters, mask)
        logits = self.logits_after_gate(hidden, blind, target.tense)
        after = letter_nats(logits, target.letters, mask)
        opens = -blind.log_softmax(2)[..., EOS]
        return before, after, opens, mask


def path_nats(before, after, opens) -> Tensor:
    """Returns −log p (B, T) of all paths of B words; on path k the gate opens before letter k."""
    # −log p(path k) = Σ_{t<k} before_t + opens_k + Σ_{t≥k} after_t
    return before.cumsum(1) - before + opens + after.flip(1).cumsum(1).flip(1)


def sum_over_paths(paths, mask, tau=1.0) -> Tensor:
    """Returns −log p(word | z, tense) (B,), where p is the sum over the paths inside the mask."""
    # CE = −1/τ log [T^(τ − 1) Σ_k p(path k)^τ]; with τ = 1 that is −log Σ_k p(path k)
    log_sum = (-tau * paths).masked_fill(~mask, -torch.inf).logsumexp(1)  # (B,)
    return ((1 - tau) * mask.sum(1).log() - log_sum) / tau


class GatedTraining(Training):
    """A training for the gate, in which what is minimized changes with progress.

    At first the places where the gate may open are weighted more evenly, so that each of them gets
    gradients (tempering, Ueda & Nakano 1998). Later every letter after the gate costs λ more
    (Graves 2016).
    """

    price = 0.1  # λ, in nats per letter after the gate, so that it pays to spell much blind
    lowest_tau = 0.3  # at the start; below 1, τ weighs the places where the gate opens more evenly
    warm_until = 0.3  # progress at which τ reaches 1 and λ begins

    def tau_and_price(self, progress: float) -> tuple[float, float]:
        """Returns τ, by which the sum over paths is tempered, and λ, in nats per letter."""
        share = min(1.0, progress / self.warm_until)
        tau = self.lowest_tau + (1 - self.lowest_tau) * share
        return tau, self.price if share == 1 else 0.0

    def nats(self, z, target: Words, free_running, progress: float) -> tuple[Tensor, Tensor]:
        """Returns what is minimized beside KL, and the CE of B words, both in nats (B,)."""
        before, after, opens, mask = self.model.decoder.costs(z, target, free_running)
        tau, price = self.tau_and_price(progress)
        minimized = sum_over_paths(path_nats(before, after + price * mask, opens), mask, tau)
        with torch.no_grad():
            ce = sum_over_paths(path_nats(before, after, opens), mask)
        return minimized, ce


OURS = Config(
    encoder=BackwardEncoder,
    decoder=GatedDecoder,
    training=GatedTraining,
    epochs=84,
    kl_weight=0.6,
)


# ---- Where gates open ----
@torch.no_grad()
def gates(model, verbs):
    """Returns, for each form (N, F), the letter before which its gate is likeliest to open."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, _ = model.encode_words(words)  # (N F, Z)
    free_running = torch.zeros(len(mu), dtype=torch.bool, device=model.device)  # no word
    *costs, mask = model.decoder.costs(mu, words, free_running)
    paths = path_nats(*costs).masked_fill(~mask, torch.inf)
    return paths.argmin(1).view(len(verbs), -1).cpu().numpy()


def at_common_prefix(opened, verbs):
    """Returns a mask (N, F) of gates that open exactly after the common prefix of a verb."""
    ends = np.array([len(commonprefix(verb)) for verb in verbs])
    return opened == ends[:, None]
