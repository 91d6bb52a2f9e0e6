"""How well a model follows a reply: one `ForcedReply` per open sample."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ForcedReply:
    """A model that is forced through the tokens of a reply, beside the dense model on the same.

    Attributes:
        dlogp: change of the log-probability of each token of the reply, in nats.
        kl: Kullback-Leibler divergence of each next token's distribution over the vocabulary from
            the dense model's, in nats.
        same: for each token, whether the likeliest token in its place is the dense model's.
        fall: for each token, how much of the probability of the dense model's likeliest token is
            lost; negative where it is gained.
        video: key of the video that the sample is about (`prune.inputs.video_key`).
    """

    id: str
    task: str
    dlogp: tuple[float, ...]
    kl: tuple[float, ...]
    same: tuple[bool, ...]
    fall: tuple[float, ...]
    video: str

    @property
    def tokens(self) -> int:
        """Length of the reply."""
        return len(self.same)

    @property
    def agreement(self) -> float:
        """Share of the reply's tokens with the same likeliest token, in percent."""
        return 100 * sum(self.same) / self.tokens

    @property
    def lost(self) -> float:
        """Points of agreement lost, or of the probability on which it rests, whichever is more.

        Probability falls before tokens flip, so a search over few samples fits less noise.
        """
        return 100 * max(sum(self.fall) / self.tokens, 1 - sum(self.same) / self.tokens)

    @property
    def mean_kl(self) -> float:
        """Mean divergence over the reply's tokens, in nats."""
        return sum(self.kl) / self.tokens

    @property
    def mean_dlogp(self) -> float:
        """Mean change of the log-probability over the reply's tokens, in nats."""
        return sum(self.dlogp) / self.tokens

    @property
    def prefix(self) -> int:
        """Tokens before the first one whose likeliest token is another: the agreed prefix."""
        return self.same.index(False) if False in self.same else self.tokens
