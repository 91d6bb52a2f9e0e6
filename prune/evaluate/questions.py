"""Questions that several models or plans answer: one that a run cannot answer counts for none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prune.checkpoint.load import LoadedModel
from prune.errors import NumericError
from prune.evaluate.answers import EncodedBatch, RunBatch, answer, prepare
from prune.results.answer import Answer


@dataclass
class Questions:
    """Encoded questions, and those of them that failed.

    Attributes:
        opened: the model that answers them.
        num_frames: of every clip.
        batches: the questions that no run has failed at so far.
        failed: the reason by id of each sample that could not be used.
    """

    opened: LoadedModel
    num_frames: int
    batches: list[EncodedBatch]
    failed: dict[str, str]

    def ask(self, run: RunBatch, on_done: Callable[[int], None] = lambda n: None) -> list[Answer]:
        """Answer the questions; one whose logits are NaN or infinite fails, and no other with it.

        Raises:
            NumericError: there is no other.
        """
        batches, self.batches = self.batches, []
        answers: list[Answer] = []
        for batch in batches:
            try:
                found, kept = self._answer(batch, run), [batch]
            except NumericError:
                found, kept = self._one_by_one(batch, run)
            answers += found
            self.batches += kept
            on_done(len(batch.samples))
        if not answers:
            raise NumericError(f"no sample could be used: {next(iter(self.failed.values()))}")
        return answers

    def left(self, answers: Sequence[Answer]) -> list[Answer]:
        """Those of earlier answers whose questions have not failed since."""
        ids = {sample.id for batch in self.batches for sample in batch.samples}
        return [answer for answer in answers if answer.id in ids]

    def _answer(self, batch: EncodedBatch, run: RunBatch) -> list[Answer]:
        return answer(self.opened.model, self.opened.processor, [batch], run)

    def _one_by_one(
        self, batch: EncodedBatch, run: RunBatch
    ) -> tuple[list[Answer], list[EncodedBatch]]:
        """Answers to the questions of a batch, each as a batch of its own."""
        answers, kept = [], []
        for sample in batch.samples:
            alone, failed = prepare(
                self.opened.model, self.opened.processor, [sample], self.num_frames, 1
            )
            self.failed |= failed
            try:
                answers += [found for one in alone for found in self._answer(one, run)]
                kept += alone
            except NumericError as error:
                self.failed[sample.id] = str(error)
        return answers, kept
