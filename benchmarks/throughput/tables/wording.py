"""How figures are written."""

_DIGITS = 3


def written(value: float) -> str:
    """A figure with three digits that say something."""
    rounded = float(f"{value:.{_DIGITS}g}")
    return f"{rounded:,.0f}" if rounded >= 10 ** (_DIGITS - 1) else f"{rounded:g}"
