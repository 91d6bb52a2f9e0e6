"""Named sets of pathways that Map the Flow knocks out together (2510.13251, section 3)."""

from itertools import combinations

from prune.errors import UsageError
from prune.layout.freezing import find_traced
from prune.layout.pathway_names import find_pathway
from prune.layout.pathways import INTRA_FRAME, PUBLISHED, TRACED, Pathway, join

CROSS_FRAME = PUBLISHED[:1]


def _of(*names: str) -> tuple[Pathway, ...]:
    return tuple(find_pathway(name) for name in names)


_ASKED = "bridge,question,instruction"
_TRUE, _FALSE = (f"{name}_text,{name}_end" for name in ("true_option", "false_options"))

SETS = {
    "all": TRACED,
    "cross-frame": CROSS_FRAME,
    "intra-frame": (INTRA_FRAME,),
    "paper": CROSS_FRAME
    + _of("video->question,options", "video->last", "question,options->last", "last->last"),
    "sealed": CROSS_FRAME
    + _of("video->bridge,question,options,tail", "video->last",
          "bridge,question,options,tail->last", "last->last"),
    "published": CROSS_FRAME
    + _of("video->question,options", "video->last", "question,options->last", "last->last",
          "question_text->last", "true_option_text->last", "false_options_text->last",
          "video->question_text", "question_text->true_option_text", "video->true_option_text"),
    "closed": CROSS_FRAME
    + _of("video->bridge,question,options,tail", "video->last",
          "bridge,question,options,tail->last", "last->last",
          f"{_ASKED}->last", f"{_TRUE}->last", f"{_FALSE}->last",
          f"video->{_ASKED}", f"{_ASKED}->{_TRUE}", f"video->{_TRUE}"),
    "options": _of("question->last", "true_option->last", "false_options->last"),
    "true-option": _of("video->question", "question->true_option", "video->true_option"),
    "false-options": _of("video->question", "question->false_options", "video->false_options"),
    "reply": CROSS_FRAME
    + _of("video->question", "video->reply", "question->reply", "reply->reply"),
    "open-ended": _of("video->question", "video->response", "video->last", "question->last",
                      "response->last"),
}  # fmt: skip
"""`all` is what a plan's search needs; `paper` takes question and options together, as the paper
does; `sealed` is the same with `bridge` and `tail` as part of the question. `published` are all of
the paper's pathways over the token ranges of its released code, in which the question without its
options is the bare question, and an option ends before what separates it from the next one;
`closed` are the same pathways over ranges that leave no token out. `reply` is for open questions
that are traced with their whole reply."""


def choose(
    sets: list[str] | None, texts: list[str] | None, pairs: bool = False
) -> tuple[Pathway, ...]:
    """The pathways that a command asks for.

    Args:
        sets: names in `SETS`; everything if neither sets nor pathways are given.
        texts: pathways or frozen roles, see `find_traced`.
        pairs: add every pair of them, cut together.

    Raises:
        UsageError: a name is unknown, or there is only one pathway for pairs.
    """
    unknown = set(sets or ()) - set(SETS)
    if unknown:
        raise UsageError(f"--set {min(unknown)}: there are {', '.join(SETS)}")
    chosen = [pathway for name in sets or () for pathway in SETS[name]]
    chosen += [find_traced(text) for text in texts or ()]
    singles = tuple(dict.fromkeys(chosen or TRACED))
    if not pairs:
        return singles
    if len(singles) < 2:
        raise UsageError("--pairs needs at least two pathways")
    if any(pathway.frozen for pathway in singles):
        raise UsageError("--pairs: edges and frozen states cannot be cut together")
    return singles + tuple(join(pair) for pair in combinations(singles, 2))
