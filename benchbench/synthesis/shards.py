"""Generated images on disk: Parquet shards of the images and of the draw behind each.

`shards/00000.parquet` has the columns `image` (bytes of a PNG; none where every attempt was refused), `label`, `index`
(number within the class), `seed`, `attempt`, `prompt`, `sha256` (of the PNG) and `refused` (the
reasons for which earlier attempts were).
Until a shard is full its images lie in `shards/unfinished.jsonl`, one line per image, so that a kill costs one batch.
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
class GeneratedImage:
    """One image of a set, or the account of one for which every attempt was refused.

    Attributes:
        label, index: its class, and its index within the class.
        seed, attempt, prompt: of the draw; attempts count from 0.
        png: the image; None where every attempt was refused.
        refused: reasons for which earlier attempts were.
    """

    label: int
    index: int
    seed: int
    attempt: int
    prompt: str | None
    png: bytes | None
    refused: tuple[str, ...] = ()

    @property
    def position(self) -> tuple[int, int]:
        """Label and index."""
        return self.label, self.index


def encode(image: np.ndarray) -> bytes:
    """PNG of an image [H, W, 3], uint8."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


class Shards:
    """The shards of one set while it is generated.

    Args:
        folder: of the stage.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "shards"
        self.folder.mkdir(exist_ok=True)
        self.open_file = self.folder / "unfinished.jsonl"
        self.finished: dict[int, list[tuple[int, int]]] = {}
        self.pending: list[GeneratedImage] = []
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                images = list(_read(path))
            except DataError as error:
                print(f"{error}: its images are made again")
                path.unlink()
                continue
            self.finished[int(path.stem)] = [image.position for image in images]
        done = self.done()
        self.pending = [image for image in self._unfinished() if image.position not in done]
        self._rewrite()

    def done(self) -> set[tuple[int, int]]:
        """Label and index of every image that is on disk, or has been given up."""
        finished = {position for positions in self.finished.values() for position in positions}
        return finished | {image.position for image in self.pending}

    def add(self, images: Sequence[GeneratedImage]) -> None:
        """Writes images to disk before it returns."""
        with self.open_file.open("ab") as stream:
            stream.write(b"".join(_line(image) for image in images))
            stream.flush()
            os.fsync(stream.fileno())
        self.pending += images
        while len(self.pending) >= SHARD:
            self._write_shard(self.pending[:SHARD])

    def finish(self) -> None:
        if self.pending:
            self._write_shard(self.pending)
        self.open_file.unlink(missing_ok=True)

    def _write_shard(self, images: list[GeneratedImage]) -> None:
        number = next(number for number in range(len(self.finished) + 1) if number not in self.finished)
        rows = [
            {
                **asdict(image),
                "image": {"bytes": image.png, "path": f"{image.label}-{image.index}.png"},
                "sha256": _sha256(image.png),
            }
            for image in images
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink, compression="none")  # PNGs are compressed
        write_atomic(self.folder / f"{number:05}.parquet", sink.getvalue())
        self.finished[number] = [image.position for image in images]
        self.pending = self.pending[len(images) :]
        self._rewrite()

    def _rewrite(self) -> None:
        write_atomic(self.open_file, b"".join(_line(image) for image in self.pending))

    def _unfinished(self) -> Iterator[GeneratedImage]:
        """The whole lines of the file; one that a kill has cut short is made again."""
        try:
            lines = self.open_file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            try:
                row = json.loads(line)
                png = base64.b64decode(row.pop("png"), validate=True) if row["png"] else row.pop("png")
                if row.pop("sha256") == _sha256(png):
                    yield GeneratedImage(**{**row, "png": png, "refused": tuple(row["refused"])})
            except (ValueError, KeyError, TypeError):
                continue


def _line(image: GeneratedImage) -> bytes:
    row = asdict(image) | {"sha256": _sha256(image.png)}
    row["png"] = base64.b64encode(image.png).decode() if image.png is not None else None
    return json.dumps(row).encode() + b"\n"


def _sha256(png: bytes | None) -> str | None:
    return None if png is None else hashlib.sha256(png).hexdigest()


def _read(path: Path) -> Iterator[GeneratedImage]:
    """The images of a shard, verified.

    Raises:
        DataError: it cannot be read, or an image has another hash than its row.
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
        yield GeneratedImage(**{name: row[name] for name in names}, png=png, refused=tuple(row["refused"] or ()))


def read_shards(folder: StageFolder) -> list[GeneratedImage]:
    """Everything that the shards of a set hold, by label and index; verified one by one.

    Raises:
        DataError: there are none, or one is damaged.
    """
    paths = sorted((folder.path / "shards").glob("*.parquet"))
    if not paths:
        raise DataError(f"{folder.path} has no shards of images; delete it to generate them again")
    return sorted((image for path in paths for image in _read(path)), key=lambda image: image.position)


def fingerprint(images: Sequence[GeneratedImage]) -> str:
    """sha256 over the images of a set and their labels, in order."""
    digest = hashlib.sha256()
    for image in images:
        if image.png is not None:
            digest.update(f"{image.label} {image.index} {_sha256(image.png)}\n".encode())
    return digest.hexdigest()


def summary(images: Sequence[GeneratedImage]) -> SynthesisMetrics:
    """Counts of a set, without its throughput."""
    refused = Counter(reason for image in images for reason in image.refused)
    return SynthesisMetrics(
        images=sum(image.png is not None for image in images),
        rejected=dict(sorted(refused.items())),
        retried=sum(image.png is not None and image.attempt > 0 for image in images),
        given_up=sum(image.png is None for image in images),
    )


def open_shards(folder: StageFolder) -> ImageDataset:
    """A finished set's images, by label and index, with `ImageDataset.class_index`.

    Raises:
        DataError: a shard is damaged, or the images are not those of the record.
    """
    record = folder.done()
    images = [image for image in read_shards(folder) if image.png is not None]
    if not isinstance(record, SynthesisRecord) or fingerprint(images) != record.data.sha256:
        raise DataError(f"the images in {folder.path} are not those of its record; delete it to generate them again")
    encoded = [image.png for image in images if image.png is not None]
    labels = np.array([image.label for image in images], np.int64)
    class_index = np.array([image.index for image in images], np.int64)
    sizes = {decode(encoded, index).size for index in range(len(encoded))}
    array = None
    if len(sizes) == 1:
        width, height = sizes.pop()
        if len(encoded) * width * height * 3 <= IN_MEMORY_BYTES:
            array = np.stack([np.array(decode(encoded, index)) for index in range(len(encoded))])
    return ImageDataset(labels, record.data.names, partial(decode, encoded), array, class_index)


def decode(encoded: Sequence[bytes], index: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded[index])).convert("RGB")
