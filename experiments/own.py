"""A file of one's own, as an example: an encoder, a decoder, a schedule, a training, a score."""

import torch
from torch import nn

import lab5_utils as lab
from lab5_train import Training

START = 0.5  # progress


class GRUDecoder(lab.DirectDecoder):
    """A decoder with dropout, and with a GRU in place of the LSTM: one state, not two."""

    def __init__(self, config, vocabulary):
        super().__init__(config, vocabulary)
        self.lstm = nn.GRU(config.embedding_size, config.hidden_size, batch_first=True)
        self.dropout = nn.Dropout(0.3)

    def first_state(self, z, tense):
        """Returns the GRU's state (1, B, H), given z (B, Z) and tense (B,)."""
        known = self.from_z(torch.cat([z, self.condition(tense)], 1))  # (B, H)
        return self.dropout(known)[None].tanh()


def late(progress):
    """A schedule that begins in the middle."""
    return float(progress > START)


class Unscored(Training):
    """A training that takes the user's own scores alone, since the others take long."""

    def evaluate(self, epoch, task):
        """Returns no scores."""
        return {}


def mine(model):
    """A score, which a test may replace by giving torch something that it `does`."""
    return getattr(torch, "does", lambda model: 0.5)(model)
