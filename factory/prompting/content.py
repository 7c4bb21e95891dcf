"""Turns what a row holds into messages and clean text, or says why it cannot.

Text arrives as one user turn, as a list of messages (`role`/`content`, or ShareGPT's `from`/
`value`), or as JSON of such a list. Nothing is repaired: a row with a NUL, a lone surrogate or a
picture in it is refused with a reason, because training would see something else than was said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import FactoryError
from factory.prompting.mapping import ColumnMapping
from factory.prompting.verdicts import label
from factory.rows import canonical

Messages = list[dict[str, str]]

_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
_KNOWN_ROLES = {"system", "user", "assistant", "tool"}
_NOT_TEXT = ("tool_calls", "function_call", "images", "image", "audio", "videos", "video")
"""What a turn may hold beside its text, without which it would say something else."""


class Rejected(FactoryError):
    """A row that cannot be kept: a short stable reason, and what shows it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt, and the answer that followed it where the row held one."""

    messages: Messages
    answer: str | None = None
    next_turns: tuple[str, ...] = ()
    """What the user says later, whatever the answers are."""


def text_of(value: object, *, field: str) -> str:
    """A clean string.

    Raises:
        Rejected: `wrong_type` for what is no string, `bad_text` for NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        raise Rejected("wrong_type", f"{field} is {type(value).__name__}: {str(value)[:100]}")
    if "\x00" in value or not _encodes(value):
        raise Rejected("bad_text", f"{field} holds a NUL or a lone surrogate")
    return value


def _encodes(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def label_of(value: object, *, field: str) -> str:
    """An id, a name or a domain as text: numbers lose a zero fraction, missing is empty."""
    if isinstance(value, list | dict):
        raise Rejected("wrong_type", f"{field} is {type(value).__name__}")
    return text_of(label(value), field=field)


def json_of(value: object, *, field: str) -> str | None:
    """A reference or constraints: text as it is, anything else as canonical JSON."""
    if value is None or isinstance(value, str):
        return None if value is None else text_of(value, field=field)
    try:
        return text_of(canonical(value).decode("utf-8", "surrogatepass"), field=field)
    except (TypeError, ValueError) as bad:
        raise Rejected("wrong_type", f"{field}: {bad}") from bad


def conversation_of(values: Mapping[str, Any], mapping: ColumnMapping) -> Conversation | None:
    """The prompt of a row; None when the row holds none (it may name one by id).

    Raises:
        Rejected: `empty_prompt`, `last_message_not_user`, `unknown_role`, `not_messages`,
            `wrong_type` or `bad_text`.
    """
    messages = _messages(values, mapping)
    later: tuple[str, ...] = ()
    if messages is None and mapping.has("turns"):
        first, *rest = _user_turns(mapping.get(values, "turns"))
        messages, later = [{"role": "user", "content": first}], tuple(rest)
    if messages is None:
        return None
    _put_system(messages, mapping.get(values, "system"))
    answer = None
    if mapping.until_last_user:
        messages, answer = _until_last_user(messages)
    if not any(m["content"].strip() for m in messages if m["role"] in {"user", "tool"}):
        raise Rejected("empty_prompt")
    if messages[-1]["role"] not in {"user", "tool"}:
        raise Rejected("last_message_not_user", messages[-1]["role"])
    if not messages[-1]["content"].strip():
        raise Rejected("empty_prompt")
    return Conversation(messages, answer, later)


def _put_system(messages: Messages, system: object) -> None:
    """Put a column's system turn in front, unless the messages begin with the same one."""
    if system is None or system == "" or not messages:
        return
    said = text_of(system, field="system")
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": said})
    elif messages[0]["content"].strip() != said.strip():
        raise Rejected("not_messages", "the system column and the first turn differ")


def _user_turns(found: object) -> list[str]:
    """What a user says, turn by turn, as MT-bench has it."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as bad:
            raise Rejected("not_messages", str(found)[:100]) from bad
    if not isinstance(found, list) or not found:
        raise Rejected("not_messages", f"turns: {str(found)[:100]}")
    turns = [text_of(turn, field="turns") for turn in found]
    if not all(turn.strip() for turn in turns):
        raise Rejected("empty_prompt")
    return turns


def _messages(values: Mapping[str, Any], mapping: ColumnMapping) -> Messages | None:
    if mapping.has("messages"):
        found = mapping.get(values, "messages")
        if found is not None:
            return _turns(found)
    if not mapping.has("text"):
        if mapping.has("messages"):
            raise Rejected("empty_prompt")
        return None
    found = mapping.get(values, "text")
    if found is None:
        raise Rejected("empty_prompt")
    return [{"role": "user", "content": text_of(found, field="text")}]


def _turns(found: object) -> Messages:
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as bad:
            raise Rejected("not_messages", str(found)[:100]) from bad
    if not isinstance(found, list):
        raise Rejected("not_messages", f"a {type(found).__name__}, not a list")
    if not found:
        raise Rejected("empty_prompt")
    return [_turn(one) for one in found]


def _turn(one: object) -> dict[str, str]:
    if not isinstance(one, Mapping):
        raise Rejected("not_messages", f"a turn is {type(one).__name__}")
    role = one.get("role") or one.get("from")
    role = _ROLES.get(str(role), str(role))
    if role not in _KNOWN_ROLES:
        raise Rejected("unknown_role", role[:50])
    more = next((key for key in _NOT_TEXT if one.get(key)), None)
    if more is not None:
        raise Rejected("not_text", f"a turn holds {more}")
    content = one.get("content") if "content" in one else one.get("value")
    return {"role": role, "content": _content(content)}


def _content(content: object) -> str:
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, Mapping) else p for p in content]
        if any(not isinstance(p, str) for p in parts):
            raise Rejected("not_text", "a turn holds something that is no text")
        content = "".join(str(p) for p in parts)
    return text_of("" if content is None else content, field="messages")


def _until_last_user(messages: Messages) -> tuple[Messages, str | None]:
    last = max((i for i, m in enumerate(messages) if m["role"] in {"user", "tool"}), default=-1)
    after = messages[last + 1 :]
    # Of two answers in a row neither is what was said.
    answer = after[0]["content"] if [m["role"] for m in after] == ["assistant"] else None
    return messages[: last + 1], answer
