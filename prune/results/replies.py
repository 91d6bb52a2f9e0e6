"""Open replies of a dense and a pruned model to the same held-out samples."""

from dataclasses import dataclass
from itertools import takewhile

from prune.results.interval import Interval, Mean


@dataclass(frozen=True)
class ReplyRow:
    """How well the pruned model follows replies to one task, token by token.

    Every mean is over samples, so that a long reply counts as much as a short one, and intervals go
    by video.

    Attributes:
        n, videos: how many samples there are, and about how many videos.
        tokens: mean length of the replies.
        agreement: tokens whose likeliest token is the dense model's, in percent of the reply.
        kl: divergence of the next token's distribution from the dense model's, in nats.
        dlogp: change of a token's log-probability, in nats.
        prefix: tokens before the first one that differs, in percent of the reply.
    """

    task: str
    n: int
    videos: int
    tokens: float
    agreement: Interval
    kl: Mean
    dlogp: Mean
    prefix: Interval


@dataclass(frozen=True)
class Drift:
    """Agreement after more and more tokens.

    Attributes:
        length: tokens from the start of the reply.
        n: replies of at least that length.
        agreement: of the forced replies' first `length` tokens, in percent.
        together: share of the free replies whose first `length` tokens are the same, in percent;
            None if no reply was generated.
    """

    length: int
    n: int
    agreement: Interval
    together: Interval | None


@dataclass(frozen=True)
class Similarity:
    """Free replies of one model against other texts.

    Attributes:
        of, to: what is compared, such as `pruned` and `dense`, or `dense` and `references`.
        n: pairs of texts.
        exact: share that is the same text, in percent.
        chrf: corpus score in percent (Popovic 2015, by sacrebleu); None without that library.
        rouge_l: mean F-measure in percent (Lin 2004, by rouge-score); None without that library.
    """

    of: str
    to: str
    n: int
    exact: float
    chrf: float | None
    rouge_l: float | None


@dataclass(frozen=True)
class ReplyExample:
    """The replies of both models to one question.

    Attributes:
        reference: what people replied, if the data has it.
        prefix: tokens that both replies begin with.
    """

    id: str
    task: str
    question: str
    reference: str | None
    dense: str
    pruned: str
    prefix: int

    @property
    def parts(self) -> tuple[str, str]:
        """The pruned reply: the words that the dense one begins with as well, and the others."""
        words = self.pruned.split(" ")
        pairs = zip(self.dense.split(" "), words, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return " ".join(words[:same]), " ".join(words[same:])


@dataclass(frozen=True)
class ReplyBaseline:
    """A baseline (`prune.baselines`) forced through the same replies.

    Attributes:
        name, source, setting, edges, flops: as in `prune.results.export_result.BaselineRow`.
        agreements: in percent, one per seed if it is drawn at random.
        difference: the plan's agreement minus the baseline's (its best seed's), in points.
    """

    name: str
    source: str
    setting: str
    edges: float
    flops: float
    agreements: tuple[float, ...]
    difference: Interval


@dataclass(frozen=True)
class RepliesReport:
    """Dense against pruned on the same open samples.

    Attributes:
        source: whose replies the models were forced through: `own`, the dense model's, or
            `reference`, the data's.
        max_tokens: longest reply.
        overall: all tasks together; None if no plan was compared with the dense model.
        free: how similar free replies are; empty if none was generated.
        examples: those that part earliest first.
    """

    source: str
    max_tokens: int
    tasks: tuple[ReplyRow, ...]
    overall: ReplyRow | None
    drift: tuple[Drift, ...]
    free: tuple[Similarity, ...]
    examples: tuple[ReplyExample, ...]
    baselines: tuple[ReplyBaseline, ...]
