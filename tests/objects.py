"""A detection that is learnt in a few steps: bright squares on dark noise in small images, as JSON of COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CLASSES = 32, ("small", "large")


def write_objects(folder: Path, train: int = 12, test: int = 4) -> Path:
    """Images below `folder`, and their boxes in train.json and test.json; the first image of each has none."""
    for split, count in (("train", train), ("test", test)):
        random = np.random.default_rng(len(split))
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            pixels = random.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
            if number:
                size = int(random.choice([7, 13]))
                left, top = random.integers(0, SIDE - size, 2).tolist()
                pixels[top : top + size, left : left + size] += 120
                box = {"bbox": [left, top, size, size], "category_id": 3 if size == 7 else 8, "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1, "image_id": number, **box})
            name = f"{split}/{number:03}.png"
            Image.fromarray(pixels).save(folder / name)
            images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        categories = [{"id": number, "name": name} for number, name in zip((3, 8), CLASSES, strict=True)]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(whole))
    return folder
