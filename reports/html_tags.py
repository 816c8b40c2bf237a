"""Small pieces of HTML. `Html` is text that has been escaped; a plain `str` has not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import NewType

from perfkit.reports.format import clean, clean_lines, shorten

Html = NewType("Html", str)
_LONGEST = 400


def text(value: str, most: int = _LONGEST) -> Html:
    """One line of text."""
    return Html(escape(shorten(clean(value), most)))


def join(parts: Iterable[Html], between: str = "\n") -> Html:
    """Pieces one after another."""
    return Html(between.join(parts))


def tag(name: str, *content: Html, **attributes: str) -> Html:
    """An element; `class_` is class, an underscore in a name is a hyphen."""
    listed = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    return Html(f"<{name}{listed}>{''.join(content)}</{name}>")


def code(value: str) -> Html:
    """A name from the trace."""
    return tag("code", text(value) or Html("(no name)"))


def block(value: str) -> Html:
    """Lines of code."""
    return tag("pre", tag("code", Html(escape(clean_lines(value)))), tabindex="0")


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Html]], names: int) -> Html:
    """A table whose first `names` columns are words and whose others are numbers."""
    head = [
        tag("th", text(title), scope="col", class_="word" if i < names else "number")
        for i, title in enumerate(header)
    ]
    body = [tag("tr", *(_cell(cell, i, names) for i, cell in enumerate(row))) for row in rows]
    inner = tag(
        "table",
        tag("caption", text(caption)),
        tag("thead", tag("tr", *head)),
        tag("tbody", join(body)),
    )
    # tabindex: a keyboard can scroll what does not fit
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(content: Html, column: int, names: int) -> Html:
    if column == 0:
        return tag("th", content, scope="row", class_="word")
    return tag("td", content, class_="word" if column < names else "number")


def swatch(color: str, *, hatched: bool = False) -> Html:
    """A patch of colour beside the words that name it."""
    kind = "swatch hatched" if hatched else "swatch"
    return tag("span", class_=kind, style=f"background-color:{color}", aria_hidden="true")


def meter(share: float, color: str, number: str) -> Html:
    """A short bar and its number, for a table cell."""
    width = max(0.0, min(share, 1.0)) * 100
    fill = tag("span", style=f"width:{width:.2f}%;background-color:{color}")
    bar = tag("span", fill, class_="meter", aria_hidden="true")
    return join((bar, tag("span", text(number), class_="beside")), "")


def section(anchor: str, title: str, *content: Html, class_: str = "") -> Html:
    """A part of the page under its heading."""
    heading = tag("h2", text(title), id=f"{anchor}-title")
    return tag(
        "section",
        heading,
        *content,
        id=anchor,
        class_=class_,
        aria_labelledby=f"{anchor}-title",
    )
