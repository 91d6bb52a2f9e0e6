"""The answer of a model to one multiple-choice sample."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """The model's answer to one sample.

    Attributes:
        choice: index of the most likely option (accuracy restricted to the options).
        true: index of the correct option.
        free_correct: whether the most likely token of the whole vocabulary is the true letter.
        p_options: probability of every option, normalised over the options.
        video: key of the video that the sample is about (`prune.inputs.video_key`).
    """

    id: str
    task: str
    choice: int
    true: int
    free_correct: bool
    p_options: tuple[float, ...]
    video: str

    @property
    def correct(self) -> bool:
        """Whether the most likely option is the correct one."""
        return self.choice == self.true

    @property
    def p_true(self) -> float:
        """Probability of the correct option, normalised over the options."""
        return self.p_options[self.true]
