"""Pieces of words as tokens: byte-pair encoding learned from one's own texts, or any tokenizer of Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from melle.errors import UserError
from melle.hub import is_hub_name, locate
from melle.text.base import EOS, FIRST, LenientTokenizer, Marks
from melle.text.verbalise import find_normaliser, verbalise

UNKNOWN = "<unk>"


class SubwordTokenizer(LenientTokenizer):
    """A tokenizer of the ``tokenizers`` library, in the JSON that the library writes. Its ids move up by two.

    Args:
        description: that JSON.
        bos: the token that begins a row, such as Llama's ``<s>``; None: nothing does.
        eos: whether <EOS> ends a row.
        upper: put texts into upper case first, for a model that was trained on such.
        spaced: a text that follows another in a row begins with a space, as if both were one text (see ``is_spaced``).
        normaliser: as for ``LenientTokenizer``.
    """

    def __init__(
        self,
        description: str,
        bos: str | None = None,
        eos: bool = True,
        upper: bool = False,
        spaced: bool = False,
        normaliser: str | None = None,
    ):
        super().__init__(normaliser)
        self._tokenizer = _library().Tokenizer.from_str(description)
        model = json.loads(description)["model"]
        name = model.get("unk_token")
        self._unknown = model.get("unk_id") if name is None else self._tokenizer.token_to_id(name)
        self.bos, self.eos, self.upper, self.spaced = bos, eos, upper, spaced
        begin = None if bos is None else self._tokenizer.token_to_id(bos)
        if bos is not None and begin is None:
            raise UserError(f"the tokenizer has no token {bos!r} to begin a text with")
        self.marks = Marks(None if begin is None else FIRST + begin, EOS if eos else None)

    @classmethod
    def fit(
        cls, texts: Iterable[str], vocab_size: int = 4000, language: str | None = None, normalise: bool = True
    ) -> SubwordTokenizer:
        """Byte-pair encoding (paper §4.1: 4K pieces) of the lower-cased ``texts``, with up to ``vocab_size`` pieces.

        ``normalise``: figures and abbreviations become words of ``language``, where there are readings for it.
        """
        library = _library()
        if vocab_size < 2:
            raise UserError(f"tokenizer.vocab_size={vocab_size}: give the number of pieces, 4000 for the paper's")
        tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
        tokenizer.normalizer = library.normalizers.Sequence(
            [library.normalizers.NFKC(), library.normalizers.Lowercase(), library.normalizers.Strip()]
        )
        tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace()
        tokenizer.decoder = library.decoders.Metaspace()
        trainer = library.trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[UNKNOWN], show_progress=False)
        normaliser = find_normaliser(language) if normalise else None
        tokenizer.train_from_iterator((verbalise(text, normaliser) for text in texts), trainer)
        return cls(tokenizer.to_str(), normaliser=normaliser)

    @classmethod
    def from_pretrained(
        cls, texts: Iterable[str], name: str | None, bos: bool = False, eos: bool = True, upper: bool = False
    ) -> SubwordTokenizer:
        """The tokenizer of a Hugging Face model, by its local folder or the model's name on the hub (hf://USER/MODEL).

        ``texts`` is not used: there is nothing to learn. The tokenizer goes into the checkpoint, so that nothing has to
        be fetched again. ``bos``: begin rows with its begin mark. Raises UserError where it has none.
        """
        tokenizer = open_pretrained(name)
        if bos and tokenizer.bos_token is None:
            raise UserError(
                f"tokenizer.bos=true: the tokenizer {name} names no begin mark (bos_token); set it to false"
            )
        description = tokenizer.backend_tokenizer.to_str()
        return cls(description, tokenizer.bos_token if bos else None, eos, upper, is_spaced(description))

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding and <EOS> counted."""
        return FIRST + 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())  # ids may have gaps

    def known(self, text: str) -> tuple[list[int], list[str]]:
        text = text.upper() if self.upper else text
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        unknown = sorted({text[a:b] for id, (a, b) in zip(encoding.ids, encoding.offsets) if id == self._unknown})
        return [FIRST + id for id in encoding.ids if id != self._unknown], unknown

    def encode_known(self, text: str, strict: bool = False, follows: bool = False) -> tuple[list[int], list[str]]:
        ids, unknown = super().encode_known(text, strict)
        return (self.known(f" {self.spoken(text)}")[0] if follows and self.spaced else ids), unknown

    def word_spans(self, ids: Iterable[int]) -> None:
        """Not known: tokens of a language model may reach across words."""
        return None

    def decode(self, ids: Iterable[int]) -> str:
        return self._tokenizer.decode([id - FIRST for id in ids if id >= FIRST])

    def as_dict(self) -> dict[str, Any]:
        own = {"bos": self.bos, "eos": self.eos, "upper": self.upper, "spaced": self.spaced}
        usual = {"bos": None, "eos": True, "upper": False, "spaced": False}  # left out, as before there were such
        own = {name: value for name, value in own.items() if value != usual[name]} | self._own()
        return {"kind": "subwords", "description": self._tokenizer.to_str(), **own}


def open_pretrained(name: str | None, option: str = "tokenizer.name") -> Any:
    """A fast tokenizer of ``transformers``, by folder or hf:// name; UserError, by ``option``, where there is none."""
    if not name:
        raise UserError(f"{option}: give the local folder of a Hugging Face tokenizer, or hf://USER/MODEL")
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise UserError('this tokenizer needs transformers: python -m pip install -e ".[huggingface]"') from None
    where, revision = locate(name, option)
    try:
        options = {"revision": revision or "main", "local_files_only": not is_hub_name(name)}
        tokenizer = AutoTokenizer.from_pretrained(where, use_fast=True, **options)
    except Exception as error:  # whatever the hub, the network or a broken folder raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the tokenizer {name} cannot be loaded ({reason}); give a local folder") from None
    if not tokenizer.is_fast:
        raise UserError(f"the tokenizer {name} has no fast version (tokenizer.json); choose another")
    return tokenizer


def is_spaced(description: str) -> bool:
    """Whether the space between two words is part of the second word's ids.

    So it is in byte-level encodings such as Qwen's; Llama's put a space in front of every text by themselves.
    """
    tokenizer = _library().Tokenizer.from_str(description)
    one, both = (tokenizer.encode(text, add_special_tokens=False).ids for text in ("a", "a a"))
    return both != one + one


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise UserError('this tokenizer needs tokenizers: python -m pip install -e ".[huggingface]"') from None
    return tokenizers
