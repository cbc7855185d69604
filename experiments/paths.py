"""What notebook 04 asks of models while they train: where they are in the plane of KL and CE."""

import torch

import lab5_utils as lab
from lab5_runs import note
from lab5_train import Training


@torch.no_grad()
def ce_and_kl(model, verbs):
    """Returns the mean CE and KL of all words in nats, with the right letters fed."""
    words = lab.words_of(verbs, model.vocabulary).to(model.device)
    mu, logvar = model.encode_words(words)
    z = lab.reparameterize(mu, logvar, torch.Generator().manual_seed(0))
    free_running = torch.zeros(len(z), dtype=torch.bool, device=model.device)  # no word
    nats = model.decoder.nats(z, words, free_running, progress=1.0)  # progress: for 05's gate
    return nats.ce.mean().item(), lab.kl_divergence(mu, logvar).mean().item()


EVERY = 3  # epochs, since to ask takes nearly as long as to train one


class AlongThePath(Training):
    """A training whose history also has CE with the right letters fed, KL, and conversions.

    They are in every third row, and in the last; conversions are those of a quarter of the verbs.
    """

    def evaluate(self, epoch, task):
        """Returns the scores of an epoch, by name."""
        found = super().evaluate(epoch, task)
        if epoch % EVERY and epoch < self.config.epochs:
            return found
        ce, kl = ce_and_kl(self.model, self.verbs)
        converted = lab.conversion_accuracy(self.model, self.verbs[::4])
        return found | {"CE": ce, "KL": kl, "converted": converted}


note(__name__)
