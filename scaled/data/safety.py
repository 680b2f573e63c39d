"""Who says whether a reply is safe: a sequence classifier, or a file of verdicts that were made before.

A verdict is of a conversation and the reply to it, under :func:`text_digest`. So whatever classifies, such as Llama
Guard behind a server, can be asked once and its verdicts be kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from inspo.command_line import one_line
from scaled.config import SafetyOptions
from scaled.data.messages import Message
from scaled.files import json_lines

Judge = Callable[[Sequence[Message], str], bool]
"""Whether a reply to a conversation is safe."""


def text_digest(turns: Sequence[Message], reply: str) -> str:
    """Sha256, in hexadecimal, of a conversation with its reply: JSON of [[role, content], ...], in UTF-8 as it is.

    >>> text_digest([{"role": "user", "content": "Hi"}], "Yo")[:16]
    '6cc75a2a1f05ffba'
    """
    said = [*([turn["role"], turn["content"]] for turn in turns), ["assistant", reply]]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def judge_of(options: SafetyOptions) -> Judge:
    """The judge that a configuration names.

    Raises:
        ValueError: a file or a classifier that cannot be read, or a label that it does not have.
    """
    if options.verdicts is not None:
        return _of_verdicts(Path(options.verdicts))
    return _of_classifier(str(options.classifier), str(options.unsafe), options.threshold)


def _of_verdicts(path: Path) -> Judge:
    verdicts: dict[bytes, bool] = {}
    try:
        for number, (_, _, line) in enumerate(json_lines(path), 1):
            try:
                digest, safe = bytes.fromhex(line["digest"]), line["safe"]
            except (TypeError, KeyError, ValueError):
                digest, safe = b"", None
            if len(digest) != hashlib.sha256().digest_size or not isinstance(safe, bool):
                raise ValueError(f'{path.name}: line {number} is no verdict: {{"digest": "...", "safe": true}}')
            verdicts[digest] = safe
    except OSError as error:
        raise ValueError(f"safety: verdicts = {path}: cannot be read ({error.strerror})") from error

    def judge(turns: Sequence[Message], reply: str) -> bool:
        digest = text_digest(turns, reply)
        safe = verdicts.get(bytes.fromhex(digest))
        if safe is None:
            raise ValueError(f"{path.name}: there is no verdict for {digest} ({reply[:40]!r}): judge all replies first")
        return safe

    return judge


def _of_classifier(name: str, unsafe: str, threshold: float) -> Judge:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForSequenceClassification.from_pretrained(name).eval()
    except Exception as error:  # each architecture has other errors for files of a wrong shape
        raise ValueError(f"safety: classifier = {name}: cannot be loaded ({one_line(error)})") from error
    labels = {str(label): index for index, label in model.config.id2label.items()}
    if unsafe not in labels:
        raise ValueError(f"safety: unsafe = {unsafe}: {name} has the labels {', '.join(labels)}")
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))

    def judge(turns: Sequence[Message], reply: str) -> bool:
        """By the last question and the reply, cut to what the classifier reads."""
        text = f"{turns[-1]['content']}\n\n{reply}"
        read = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).logits[0]
        return float(logits.softmax(-1)[labels[unsafe]]) < threshold

    return judge
