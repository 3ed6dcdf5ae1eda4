"""Output heads: CTC, and the prediction and joint networks of a transducer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from speech.kernels.linear import LSTM, Linear


class CTCHead(nn.Module):
    """Log-probabilities of tokens and, last, the blank (Graves et al. 2006). [b, t, d] -> [b, t, vocabulary + 1]."""

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.out = Linear(dim, vocabulary + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x).float().log_softmax(-1)


class Prediction(nn.Module):
    """The transducer's prediction network: embedding and LSTM over emitted tokens (Graves 2012, arXiv 1211.3711).

    The blank, id `vocabulary`, embeds to zeros and stands for "nothing emitted yet".
    """

    def __init__(self, vocabulary: int, dim: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.vocabulary, self.dim, self.layers = vocabulary, dim, layers
        self.embed = nn.Embedding(vocabulary + 1, dim, padding_idx=vocabulary)
        self.lstm = LSTM(dim, dim, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """States before each token and after the last. tokens: [b, u] -> [b, u + 1, dim]."""
        start = tokens.new_full((len(tokens), 1), self.vocabulary)
        return self.dropout(self.lstm(self.embed(torch.cat([start, tokens], 1)))[0])

    def step(self, token: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One token further. token: [b]; h, c: [b, layers, dim] -> output [b, dim] and the new h, c."""
        x, hs, cs = self.embed(token), [], []
        for layer in range(self.layers):
            x, cell = self.lstm.cell(layer, x, h[:, layer], c[:, layer])
            hs.append(x)
            cs.append(cell)
        return x, torch.stack(hs, 1), torch.stack(cs, 1)


class Joint(nn.Module):
    """Token scores for pairs of an acoustic frame and a prediction state; the blank is last."""

    def __init__(self, encoder_dim: int, prediction_dim: int, dim: int, vocabulary: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.enc, self.pred = Linear(encoder_dim, dim), Linear(prediction_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.out = Linear(dim, vocabulary + 1)

    def forward(self, acoustic: Tensor, predicted: Tensor) -> Tensor:
        """All pairs. acoustic: [b, t, d]; predicted: [b, u, e] -> scores [b, t, u, vocabulary + 1]."""
        return self.pair(self.enc(acoustic)[:, :, None], self.pred(predicted)[:, None])

    def pair(self, acoustic: Tensor, predicted: Tensor) -> Tensor:
        """Scores of projected pairs that broadcast. [..., dim], [..., dim] -> [..., vocabulary + 1]."""
        return self.out(self.dropout(torch.relu(acoustic + predicted)))
