"""Generated images on disk: Parquet shards that hold the images and say how each was made.

`shards/00000.parquet` has the columns `image` (bytes of a PNG; none where every attempt was refused), `label`, `index`
(number within the class), `seed`, `attempt`, `prompt`, `sha256` (of the PNG) and `refused` (why earlier attempts were).
Until a shard is full its images lie in `shards/unfinished.jsonl`, a line an image, so that a kill costs one batch.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchbench.data.images import IN_MEMORY_BYTES, ImageDataset
from benchbench.errors import DataError, one_line
from benchbench.specs.records import SynthesisMetrics, SynthesisRecord
from benchbench.store import StageFolder, write_atomic

SHARD = 512  # images in one file
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),  # as Hugging Face's image feature
        ("label", pa.int64()),
        ("index", pa.int64()),
        ("seed", pa.uint64()),
        ("attempt", pa.int64()),
        ("prompt", pa.string()),
        ("sha256", pa.string()),
        ("refused", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class Made:
    """One image, or what is known of one that could not be made.

    Attributes:
        label, index: which it is.
        seed, attempt, prompt: how it was made; attempts count from 0.
        png: the image; None where every attempt was refused.
        refused: why earlier attempts were.
    """

    label: int
    index: int
    seed: int
    attempt: int
    prompt: str | None
    png: bytes | None
    refused: tuple[str, ...] = ()


def encode(image: np.ndarray) -> bytes:
    """PNG of an image [H, W, 3], uint8."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


class Shards:
    """The shards of one set while it is made.

    Args:
        folder: of the stage.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "shards"
        self.folder.mkdir(exist_ok=True)
        self.open_file = self.folder / "unfinished.jsonl"
        self.finished: dict[int, list[tuple[int, int]]] = {}
        self.pending: list[Made] = []
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                made = list(_read(path))
            except DataError as error:
                print(f"{error}: its images are made again")
                path.unlink()
                continue
            self.finished[int(path.stem)] = [(each.label, each.index) for each in made]
        there = self.done()
        self.pending = [each for each in self._unfinished() if (each.label, each.index) not in there]
        self._rewrite()

    def done(self) -> set[tuple[int, int]]:
        """Label and index of every image that is there, or has been given up."""
        known = {place for places in self.finished.values() for place in places}
        return known | {(each.label, each.index) for each in self.pending}

    def add(self, made: Sequence[Made]) -> None:
        """Writes images down before anything else happens."""
        with self.open_file.open("ab") as stream:
            stream.write(b"".join(_line(each) for each in made))
            stream.flush()
            os.fsync(stream.fileno())
        self.pending += made
        while len(self.pending) >= SHARD:
            self._shut(self.pending[:SHARD])

    def finish(self) -> None:
        if self.pending:
            self._shut(self.pending)
        self.open_file.unlink(missing_ok=True)

    def _shut(self, made: list[Made]) -> None:
        number = next(number for number in range(len(self.finished) + 1) if number not in self.finished)
        rows = [
            {
                **asdict(each),
                "image": {"bytes": each.png, "path": f"{each.label}-{each.index}.png"},
                "sha256": _sha256(each.png),
            }
            for each in made
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink, compression="none")  # PNGs are compressed
        write_atomic(self.folder / f"{number:05}.parquet", sink.getvalue())
        self.finished[number] = [(each.label, each.index) for each in made]
        self.pending = self.pending[len(made) :]
        self._rewrite()

    def _rewrite(self) -> None:
        write_atomic(self.open_file, b"".join(_line(each) for each in self.pending))

    def _unfinished(self) -> Iterator[Made]:
        """The whole lines of the file; one that a kill has cut short is made again."""
        try:
            lines = self.open_file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            try:
                told = json.loads(line)
                png = base64.b64decode(told.pop("png"), validate=True) if told["png"] else told.pop("png")
                if told.pop("sha256") == _sha256(png):
                    yield Made(**{**told, "png": png, "refused": tuple(told["refused"])})
            except (ValueError, KeyError, TypeError):
                continue


def _line(made: Made) -> bytes:
    told = asdict(made) | {"sha256": _sha256(made.png)}
    told["png"] = base64.b64encode(made.png).decode() if made.png is not None else None
    return json.dumps(told).encode() + b"\n"


def _sha256(png: bytes | None) -> str | None:
    return None if png is None else hashlib.sha256(png).hexdigest()


def _read(path: Path) -> Iterator[Made]:
    """The images of a shard, verified.

    Raises:
        DataError: it cannot be read, or an image is not what its hash says.
    """
    try:
        rows = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"shard {path} is damaged ({one_line(error)[:200]})") from None
    for row in rows:
        png = row["image"]["bytes"] if row["image"] else None
        if _sha256(png) != row["sha256"]:
            raise DataError(f"shard {path} is damaged: image {row['index']} of class {row['label']} has another hash")
        names = ("label", "index", "seed", "attempt", "prompt")
        yield Made(**{name: row[name] for name in names}, png=png, refused=tuple(row["refused"] or ()))


def read_shards(folder: StageFolder) -> list[Made]:
    """Everything that the shards of a set hold, by label and index; verified one by one.

    Raises:
        DataError: there are none, or one is damaged.
    """
    paths = sorted((folder.path / "shards").glob("*.parquet"))
    if not paths:
        raise DataError(f"{folder.path} has no shards of images; delete it to generate them again")
    return sorted((each for path in paths for each in _read(path)), key=lambda each: (each.label, each.index))


def fingerprint(made: Sequence[Made]) -> str:
    """sha256 over the images of a set and their labels, in order."""
    digest = hashlib.sha256()
    for each in made:
        if each.png is not None:
            digest.update(f"{each.label} {each.index} {_sha256(each.png)}\n".encode())
    return digest.hexdigest()


def summary(made: Sequence[Made]) -> SynthesisMetrics:
    """Counts of a set, without its throughput."""
    refused = Counter(reason for each in made for reason in each.refused)
    return SynthesisMetrics(
        images=sum(each.png is not None for each in made),
        rejected=dict(sorted(refused.items())),
        retried=sum(each.png is not None and each.attempt > 0 for each in made),
        given_up=sum(each.png is None for each in made),
    )


def open_shards(folder: StageFolder) -> ImageDataset:
    """A finished set's images, by label and index, with `ImageDataset.numbers` their numbers within their class.

    Raises:
        DataError: a shard is damaged, or the images are not those of the record.
    """
    record = folder.done()
    made = [each for each in read_shards(folder) if each.png is not None]
    if not isinstance(record, SynthesisRecord) or fingerprint(made) != record.data.sha256:
        raise DataError(f"the images in {folder.path} are not those of its record; delete it to generate them again")
    encoded = [each.png for each in made if each.png is not None]
    labels = np.array([each.label for each in made], np.int64)
    numbers = np.array([each.index for each in made], np.int64)
    sizes = {decode(encoded, number).size for number in range(len(encoded))}
    array = None
    if len(sizes) == 1:
        width, height = sizes.pop()
        if len(encoded) * width * height * 3 <= IN_MEMORY_BYTES:
            array = np.stack([np.array(decode(encoded, number)) for number in range(len(encoded))])
    return ImageDataset(labels, record.data.names, partial(decode, encoded), array, numbers)


def decode(encoded: Sequence[bytes], number: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded[number])).convert("RGB")
