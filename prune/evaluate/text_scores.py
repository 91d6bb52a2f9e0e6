"""Similarity of texts: exact match, chrF and ROUGE-L, the latter two by the field's libraries."""

from collections.abc import Sequence

from prune.results.replies import Similarity


def similarity(of: str, to: str, texts: Sequence[str], others: Sequence[str]) -> Similarity:
    """Compare texts with others, pair by pair.

    chrF (Popovic 2015) is the corpus score of sacrebleu, ROUGE-L (Lin 2004) the mean F-measure of
    rouge-score, which reads Latin letters and digits alone. Without its library a score is None.

    Args:
        of, to: names of the two, for tables.
        texts, others: as many of each, at least one.
    """
    pairs = list(zip(texts, others, strict=True))
    exact = 100 * sum(a == b for a, b in pairs) / len(pairs)
    return Similarity(of, to, len(pairs), exact, _chrf(texts, others), _rouge_l(pairs))


def _chrf(texts: Sequence[str], others: Sequence[str]) -> float | None:
    try:
        from sacrebleu import corpus_chrf
    except ImportError:
        return None
    return float(corpus_chrf(list(texts), [list(others)]).score)


def _rouge_l(pairs: Sequence[tuple[str, str]]) -> float | None:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        return None
    scorer = RougeScorer(["rougeL"])
    return float(100 * sum(scorer.score(b, a)["rougeL"].fmeasure for a, b in pairs) / len(pairs))
