"""Made rows to train and score on: 20 columns of numbers and 4 of text, 2% of the cells missing."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = [f"n{place:02}" for place in range(20)]
TEXTS = {"plan": 4, "country": 40, "device": 12, "segment": 200}
"""The text columns, and how many categories each has."""

MISSING = 0.02


def make_rows(count: int, seed: int) -> "pd.DataFrame":
    """Make so many rows; the same seed makes the same ones."""
    import numpy as np  # noqa: PLC0415  # heavy, and only here
    import pandas as pd  # noqa: PLC0415  # as above

    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for place, name in enumerate(NUMBERS):
        match place % 4:
            case 0:
                values = random.normal(place, 1 + place, count)
            case 1:
                values = random.exponential(1 + place, count)
            case 2:
                values = np.round(random.normal(100, 30, count), 2)  # money: ties at thresholds
            case _:
                values = random.integers(0, 50, count).astype(np.float64)
        columns[name] = np.where(random.random(count) < MISSING, np.nan, values)
    for name, categories in TEXTS.items():
        # One category more than training sees: see `training_rows`.
        texts = np.array([f"{name} {place}" for place in range(categories + 1)], dtype=object)
        cells = texts[np.minimum(random.geometric(3 / categories, count) - 1, categories)]
        cells[random.random(count) < MISSING] = None
        columns[name] = cells
    return pd.DataFrame(columns)


def training_rows(count: int, seed: int = 1) -> "pd.DataFrame":
    """Make rows without each text column's last category: scored rows have categories that training never saw."""
    rows = make_rows(count, seed)
    for name, categories in TEXTS.items():
        rows.loc[rows[name] == f"{name} {categories}", name] = f"{name} 0"
    return rows


def target(rows: "pd.DataFrame", seed: int = 2) -> Any:
    """Make a number that depends on the columns, with noise: [N] of double."""
    import numpy as np  # noqa: PLC0415  # heavy, and only here

    filled = rows[NUMBERS].fillna(rows[NUMBERS].median())
    scaled = (filled - filled.mean()) / filled.std()
    weights = np.cos(np.arange(len(NUMBERS)))
    value = scaled.to_numpy() @ weights + np.sin(scaled["n01"].to_numpy() * scaled["n02"].to_numpy())
    for place, name in enumerate(TEXTS):
        codes = rows[name].str.rpartition(" ")[2].fillna(0).astype(int).to_numpy()
        value = value + np.sin(codes + place)
    return value + np.random.default_rng(seed).normal(0, 1, len(rows))


def two_classes(rows: "pd.DataFrame") -> Any:
    """Make labels, "no" and "yes": [N]."""
    import numpy as np  # noqa: PLC0415  # heavy, and only here

    value = target(rows)
    return np.where(value > np.quantile(value, 0.6), "yes", "no")


def three_classes(rows: "pd.DataFrame") -> Any:
    """Make labels, 10, 20 and 30: [N]."""
    import numpy as np  # noqa: PLC0415  # heavy, and only here

    value = target(rows)
    return 10 * (1 + np.digitize(value, np.quantile(value, [0.4, 0.8])))
