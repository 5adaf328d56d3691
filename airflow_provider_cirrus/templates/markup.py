"""
What WhatsApp makes of a text: ``*bold*``, ``_italic_``, ``~strike~``, code, lists and quotes.

A mark counts where it stands against a word on its inner side and not against one on its outer side, and is closed on
the same line; else it is a character like others. Three backticks hold whatever stands between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_MARKS = {"*": "bold", "_": "italic", "~": "strike"}
_CODE = re.compile(r"```(.+?)```|`([^`\n]+)`", re.DOTALL)
_BULLET = re.compile(r"[-*] +(.*)")
_NUMBER = re.compile(r"(\d{1,9})\. +(.*)")
_QUOTE = re.compile(r"> ?(.*)")


@dataclass(frozen=True)
class Span:
    """
    A part of a line.

    :ivar kind: ``text``, ``bold``, ``italic``, ``strike`` or ``code``
    :ivar text: of ``text`` and ``code``
    :ivar inner: of the others
    """

    kind: str
    text: str = ""
    inner: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Block:
    """
    Lines that belong together.

    :ivar kind: ``lines``, ``bullets``, ``numbers`` or ``quote``
    :ivar lines: each in spans
    :ivar first: the number of the first, of ``numbers``
    """

    kind: str
    lines: tuple[tuple[Span, ...], ...]
    first: int = 1


def parse(text: str) -> list[Block]:
    """Return the blocks of a text."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[1] if found[1] is not None else found[2])
        # A character that no text holds: nothing in code is a mark, and its newlines are no lines.
        return f"\0{len(kept) - 1}\0"

    lines = _CODE.sub(keep, text.replace("\0", "\ufffd")).split("\n")
    blocks: list[Block] = []
    for line in lines:
        kind, rest, number = _kind_of(line)
        spans = tuple(_spans(rest, kept))
        if blocks and blocks[-1].kind == kind:
            blocks[-1] = Block(kind, (*blocks[-1].lines, spans), blocks[-1].first)
        else:
            blocks.append(Block(kind, (spans,), number))
    return blocks


def _kind_of(line: str) -> tuple[str, str, int]:
    if found := _BULLET.fullmatch(line):
        return "bullets", found[1], 1
    if found := _NUMBER.fullmatch(line):
        return "numbers", found[2], int(found[1])
    if found := _QUOTE.fullmatch(line):
        return "quote", found[1], 1
    return "lines", line, 1


def _spans(line: str, kept: Sequence[str]) -> list[Span]:
    spans: list[Span] = []
    plain = ""
    at = 0

    def flush() -> None:
        nonlocal plain
        if plain:
            spans.append(Span("text", plain))
            plain = ""

    while at < len(line):
        mark = line[at]
        if mark == "\0":
            end = line.index("\0", at + 1)
            flush()
            spans.append(Span("code", kept[int(line[at + 1 : end])]))
            at = end + 1
            continue
        if mark in _MARKS and _opens(line, at) and (closed := _closing(line, at)) is not None:
            flush()
            spans.append(Span(_MARKS[mark], inner=tuple(_spans(line[at + 1 : closed], kept))))
            at = closed + 1
            continue
        plain += mark
        at += 1
    flush()
    return spans


def _opens(line: str, at: int) -> bool:
    before = line[at - 1] if at else " "
    after = line[at + 1] if at + 1 < len(line) else " "
    return not before.isalnum() and not after.isspace() and after != line[at]


def _closing(line: str, at: int) -> int | None:
    mark = line[at]
    end = line.find(mark, at + 2)
    while end != -1:
        after = line[end + 1] if end + 1 < len(line) else " "
        if not line[end - 1].isspace() and not after.isalnum():
            return end
        end = line.find(mark, end + 1)
    return None


_TAGS = {"bold": "strong", "italic": "em", "strike": "s"}
_ANSI = {"bold": ("\x1b[1m", "\x1b[22m"), "italic": ("\x1b[3m", "\x1b[23m"), "strike": ("\x1b[9m", "\x1b[29m")}


def to_html(text: str) -> str:
    """Return a text as HTML: every character of it escaped, in elements without attributes."""
    return "".join(_block_html(block) for block in parse(text))


def _block_html(block: Block) -> str:
    lines = [
        _inline(line, lambda span, inner: f"<{_TAGS[span.kind]}>{inner}</{_TAGS[span.kind]}>") for line in block.lines
    ]
    if block.kind == "bullets":
        return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"
    if block.kind == "numbers":
        start = f' start="{block.first}"' if block.first != 1 else ""
        return f"<ol{start}>" + "".join(f"<li>{line}</li>" for line in lines) + "</ol>"
    inner = "<br>".join(lines)
    return f"<blockquote>{inner}</blockquote>" if block.kind == "quote" else f"<p>{inner}</p>"


def _inline(line: Sequence[Span], wrap: Callable[[Span, str], str]) -> str:
    parts = []
    for span in line:
        if span.kind == "text":
            parts.append(escape(span.text))
        elif span.kind == "code":
            parts.append(f"<code>{escape(span.text)}</code>")
        else:
            parts.append(wrap(span, _inline(span.inner, wrap)))
    return "".join(parts)


def to_terminal(text: str, *, colours: bool = True) -> str:
    """
    Return a text for a terminal.

    :param colours: whether it shows bold and its kin; else the marks are left out
    """
    codes: Mapping[str, tuple[str, str]] = _ANSI if colours else {}
    lines: list[str] = []
    for block in parse(text):
        for place, line in enumerate(block.lines):
            prefix = {"bullets": "• ", "numbers": f"{block.first + place}. ", "quote": "▎ "}.get(block.kind, "")
            lines.append(prefix + _terminal(line, codes))
    return "\n".join(lines)


def _terminal(line: Sequence[Span], codes: Mapping[str, tuple[str, str]]) -> str:
    parts = []
    for span in line:
        begin, end = codes.get(span.kind, ("", ""))
        parts.append(begin + (span.text or _terminal(span.inner, codes)) + end)
    return "".join(parts)
