"""How a report writes numbers and native text."""

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["breakable", "correlation", "count", "duration", "percent", "tied"]


def percent(value: float) -> str:
    """Write an accuracy in percent with two decimals; a dash for NaN.

    Examples
    --------
    >>> percent(93.456)
    '93.46'
    """
    return f"{value:.2f}" if math.isfinite(value) else "–"


def count(value: float) -> str:
    """Write a large whole number in groups of three digits; a dash for NaN.

    Examples
    --------
    >>> count(1073466.0)
    '1,073,466'
    """
    return f"{value:,.0f}" if math.isfinite(value) else "–"


def duration(seconds: float) -> str:
    """Write a time in the two largest units that fit; a dash for NaN.

    Examples
    --------
    >>> duration(3.24), duration(92), duration(7384)
    ('3.2 s', '1 min 32 s', '2 h 3 min')
    """
    if not math.isfinite(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min"


def breakable(text: str) -> "Markup":
    """Escape a long native text and let its lines break between its pieces.

    Examples
    --------
    >>> breakable("|a<b~0|+|c~1|")
    Markup('|a&lt;b~0|+|<wbr>c~1|')
    """
    from markupsafe import Markup

    pieces = re.split(r"(?<=.[|,;])(?=[^\W\d])", text)
    return Markup("<wbr>").join(pieces)


def tied(text: str) -> str:
    r"""Keep numbers and their percent signs on one line.

    Examples
    --------
    >>> tied("in 90 % of cases")
    'in 90\xa0% of cases'
    """
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def correlation(value: float, *, plus: bool = False) -> str:
    """Write a correlation with two decimals and a true minus sign.

    Parameters
    ----------
    value
        The correlation, finite.
    plus
        Whether to write the sign of positive values too.

    Examples
    --------
    >>> correlation(-0.123), correlation(0.5, plus=True), correlation(-0.001, plus=True)
    ('−0.12', '+0.50', '0.00')
    """
    rounded = round(value, 2)
    sign = "−" if rounded < 0 else "+" if plus and rounded > 0 else ""
    return f"{sign}{abs(rounded):.2f}"
