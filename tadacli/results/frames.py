"""Rows as a data frame, whose columns and their types do not depend on what is in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas


def data_frame(
    rows: Sequence[Mapping[str, object]], order: Sequence[str], *, texts: Collection[str], counts: Collection[str]
) -> pandas.DataFrame:
    """A data frame of rows.

    Args:
        rows: Values by column; what is not there is missing.
        order: The columns.
        texts: Those of text.
        counts: Those of whole numbers; they are `Int64`, which knows missing values. The others are float64.

    Returns:
        The data frame, with a row for each of `rows`.
    """
    import pandas

    def column(name: str) -> pandas.Series[str] | pandas.Series[int] | pandas.Series[float]:
        values = [row.get(name) for row in rows]
        if name in counts:
            return pandas.Series(values, dtype="Int64")
        if name not in texts:
            return pandas.Series(values, dtype="float64")
        is_known = any(value is not None for value in values)
        return pandas.Series(values) if is_known else pandas.Series(values, dtype="str" if not values else "object")

    return pandas.DataFrame({name: column(name) for name in order}, columns=list(order))
