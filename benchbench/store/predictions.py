"""Predictions of a trained network on the test images, in a file of its stage.

Of images the file has the likeliest classes and how likely they are; of a segmentation what pixels are taken for; of a
detection the boxes that were found and those that are there.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.errors import StoreError, one_line
from benchbench.store.files import write_atomic

if TYPE_CHECKING:
    import numpy as np

NAMES = ("labels", "classes", "probabilities")


@dataclass(frozen=True)
class Predictions:
    """Answers on the test images, in their order.

    Attributes:
        labels: of the images [N].
        classes: the K likeliest classes of each, the likeliest first [N, K].
        probabilities: theirs, float16 [N, K].
    """

    labels: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Writes them as .npz, classes in as few bytes as they need: 25 bytes an image, before compression, at K = 5."""
    import numpy as np

    largest = max(predictions.classes.max(initial=0), predictions.labels.max(initial=0))
    kind = np.min_scalar_type(int(largest))
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        labels=predictions.labels.astype(kind),
        classes=predictions.classes.astype(kind),
        probabilities=predictions.probabilities.astype(np.float16),
    )
    write_atomic(path, stream.getvalue())


def read_predictions(path: Path) -> Predictions | None:
    """The predictions of a stage; None where it has none, being of an earlier version.

    Raises:
        StoreError: the file is damaged.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as content:
            labels, classes, probabilities = (content[name] for name in NAMES)
    except FileNotFoundError:
        return None
    except Exception as error:  # damage shows as errors of many kinds: of zip, of its compression, of memory
        raise _damaged(path, one_line(error)) from None
    whole = all(each.dtype.kind in "iu" for each in (labels, classes)) and probabilities.dtype == np.float16
    is_table = labels.ndim == 1 and classes.ndim == 2 and classes.shape[1] > 0
    if not whole or not is_table or not len(labels) == len(classes) == len(probabilities):
        raise _damaged(path, "its arrays do not fit together")
    return Predictions(labels.astype(np.int64), classes.astype(np.int64), probabilities)


def write_confusions(path: Path, confusions: np.ndarray) -> None:
    """Writes the pixels of each image by class and predicted class [N, C, C] as .npz."""
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, confusions=confusions.astype(np.min_scalar_type(int(confusions.max(initial=0)))))
    write_atomic(path, stream.getvalue())


def read_confusions(path: Path) -> np.ndarray | None:
    """The pixels of each image by class and predicted class [N, C, C]; None where the stage has none.

    Whole numbers without a sign, of as few bytes as they are stored in: of many classes they take gigabytes.

    Raises:
        StoreError: the file is damaged.
    """
    confusions = _read(path, "confusions")
    if confusions is None:
        return None
    if confusions.dtype.kind != "u" or confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
        raise _damaged(path, "it holds no matrix for each image")
    return confusions


def write_boxes(path: Path, rows: np.ndarray) -> None:
    """Writes the boxes of each image, as `benchbench.statistics.detection` has them [N, L, 7], as .npz."""
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, boxes=rows.astype(np.float32))
    write_atomic(path, stream.getvalue())


def read_boxes(path: Path) -> np.ndarray | None:
    """The boxes of each image, float32 [N, L, 7]; None where the stage has none.

    Raises:
        StoreError: the file is damaged.
    """
    import numpy as np

    rows = _read(path, "boxes")
    if rows is not None and (rows.dtype != np.float32 or rows.ndim != 3 or rows.shape[2] != 7):
        raise _damaged(path, "it holds no boxes for each image")
    return rows


def _read(path: Path, name: str) -> np.ndarray | None:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as content:
            array: np.ndarray = content[name]
            return array
    except FileNotFoundError:
        return None
    except Exception as error:  # as above
        raise _damaged(path, one_line(error)) from None


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(f"{path} is damaged ({reason}); delete {path.parent} to run the stage again")
