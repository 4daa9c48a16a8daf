"""One script with many questions, and its one answer: each part follows upon a line with a nonce and its name."""

from __future__ import annotations

from collections.abc import Mapping


def asked(questions: Mapping[str, str], nonce: str) -> str:
    """The questions by name, in sh, each in a shell of its own: none can end or change the next."""
    parts = (f"printf '\\n{nonce} {name}\\n'\n(\nset +e\n{text}\n) || :" for name, text in questions.items())
    return "\n".join(parts) + "\n"


def answered(output: str, nonce: str) -> dict[str, str]:
    """What was said to each question, by name."""
    parts = (part.partition("\n") for part in output.split(f"\n{nonce} ")[1:])
    return {name: text for name, _, text in parts}
