"""Where models lie in the plane of KL and CE, and trainings in which a part is ahead."""

import torch

import lab5_utils as lab
from lab5_train import Batch, Training


@torch.no_grad()
def ce_and_kl(model, verbs):
    """Returns the mean CE and KL of all words in nats, with the right letters fed."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, logvar = model.encode_words(words)
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    free_running = torch.zeros(len(z), dtype=torch.bool, device=model.device)  # no word
    nats = model.decoder.nats(z, words, free_running, progress=1.0)  # progress: for 06's gate
    return nats.ce.mean().item(), lab.kl_divergence(mu, logvar).mean().item()


UNTIL = 0.3  # progress, as far as a part is ahead


class EncoderAhead(Training):
    """A training whose encoder takes five steps for each of its decoder's at first.

    The extra steps are on other words. Source: after He et al. 2019.
    """

    decoder_learns = False  # in the extra steps

    def loss(self, batch, progress):
        """Returns what the lab's loss does, after the extra steps."""
        if progress <= UNTIL:
            self.model.decoder.requires_grad_(self.decoder_learns)
            for _ in range(4):
                self.take_extra_step(len(batch.source.lengths), progress)
            self.model.decoder.requires_grad_(True)
        return super().loss(batch, progress)

    def take_extra_step(self, size, progress):
        """Takes a step on words drawn at random."""
        numbers = torch.randperm(len(self.words.lengths), generator=self.rng)[:size]
        words = lab.select(self.words, numbers).to(self.device)
        loss, _ = super().loss(Batch(words, words), progress)
        self.descend(loss, self.rate(progress), f"an extra step, progress {progress:g}")


class BothAhead(EncoderAhead):
    """A control, with as many steps, of both parts."""

    decoder_learns = True
