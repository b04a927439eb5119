"""HTML that escapes by construction: text becomes HTML in one place, and what is not `Html` is text.

    >>> element("a", "a < b", href="/x?a=1&b=2")
    '<a href="/x?a=1&amp;b=2">a &lt; b</a>'

A value of the database can't become markup: the only ways to an `Html` are `element`, which escapes its children and
attributes, and the constants of this package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias, Union

__all__ = ["Child", "Html", "element", "join", "visible"]


class Html(str):
    """Text that is HTML already. Adding anything to it gives plain text again, which is escaped once more."""

    __slots__ = ()


Child: TypeAlias = Union["Html", str, int, Iterable["Child"], None]
"""What may stand in an element: HTML, text, a number, nothing, or several of them."""

_VOID: Final = frozenset({"br", "input", "link", "meta"})

# What a browser doesn't show or lets turn around what follows: control characters, bidirectional overrides, and halves
# of surrogate pairs, which UTF-8 has no form for. A tab and a line break are shown as they are.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Return *text* with characters that can't be seen written as escapes.

    >>> print(visible("a\x00b\u202ec"))
    a\x00b\u202ec
    """
    return _INVISIBLE.sub(lambda found: ascii(found.group())[1:-1], text)


def element(tag: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """Return an element.

    Args:
        tag: The name of the element.
        children: What stands in it; text is escaped.
        attributes: Values are escaped. A final underscore is dropped (`class_`), others become hyphens (`aria_label`).
            True gives an attribute without a value, False and None give none.
    """
    parts = [tag]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(attribute if value is True else f'{attribute}="{escape(str(value))}"')
    if tag in _VOID:
        return Html(f"<{' '.join(parts)}>")
    return Html(f"<{' '.join(parts)}>{join(children)}</{tag}>")


def join(children: Child) -> Html:
    """Return several children as one piece of HTML."""
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    if isinstance(children, (str, int)):
        return Html(escape(visible(str(children))))
    return Html("".join(join(child) for child in children))
