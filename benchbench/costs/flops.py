"""What a network is, before it is trained: parameters, multiply-adds, embedding width; kept so that planning is quick.

Building a network means importing torch and its library, which takes seconds. `cards_for` does it in a process of its
own, once for each network and image size, and remembers the answer in the user's cache.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchbench.errors import BenchBenchError, one_line
from benchbench.plan.content_hash import user_cache
from benchbench.plan.keys import key_of
from benchbench.store import write_json


def cards_for(requests: Mapping[str, dict[str, Any]], plugins: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Cards of networks: `parameters`, `flops` (of one forward pass of one image), `dim`; or `error`.

    A request with a `loss` is answered with `refused` instead: why its losses cannot work on its networks, or None.

    Args:
        requests: by any name: a model's job (without weights), its `kind`, `image_size` and the hash of its source; or
            what `benchbench.costs.dry_run.LossDryRun` takes, with the hashes of the sources.
        plugins: plugin files to load.
    """
    cache = user_cache("cards.json")
    kept = _read(cache)
    keys = {name: key_of(request) for name, request in requests.items()}
    missing = {keys[name]: request for name, request in requests.items() if keys[name] not in kept}
    if missing:
        question = json.dumps({"plugins": [str(path) for path in plugins], "requests": missing})
        command = [sys.executable, "-m", "benchbench.costs.flops"]
        answer = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            lines = answer.stderr.strip().splitlines() or [
                f"its process ended with code {answer.returncode}; try again"
            ]
            raise BenchBenchError(f"cannot look at the suite's models: {one_line(lines[-1])}")
        new = json.loads(answer.stdout.splitlines()[-1])
        kept |= {key: card for key, card in new.items() if "error" not in card}
        with contextlib.suppress(OSError):  # only a cache
            cache.parent.mkdir(parents=True, exist_ok=True)
            write_json(cache, kept)
        kept = kept | new
    return {name: kept.get(key, {"refused": None}) for name, key in keys.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):  # only a cache
        return {}
    cards = content.items() if isinstance(content, dict) else ()
    return {
        key: card
        for key, card in cards
        if isinstance(card, dict) and (card.keys() >= {"parameters", "flops", "dim"} or card.keys() == {"refused"})
    }


def _card(request: Mapping[str, Any], registry: Any) -> dict[str, Any]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchbench.models.backbone import build_backbone

    registry.get(request["kind"], request["model"]["source"]).load()  # some libraries compute with tensors at import
    # On the meta device a network has shapes and no memory, and its FLOPs are counted without computing anything.
    try:
        with torch.device("meta"):
            backbone = build_backbone(request["model"], request["kind"], registry, classes=None)
    except NotImplementedError:  # torchvision's RegNet computes its widths with tensors
        backbone = build_backbone(request["model"], request["kind"], registry, classes=None).to("meta")
    size = request["image_size"]
    counter = FlopCounterMode(display=False)
    with counter, torch.device("meta"), torch.no_grad():
        embedding = backbone.eval()(torch.zeros(1, 3, size, size)).embedding
    if embedding.shape != (1, backbone.dim):
        shape = list(embedding.shape[1:])
        raise BenchBenchError(f"its embedding has shape {shape} instead of [{backbone.dim}]; it must pool its last map")
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    return {"parameters": parameters, "flops": counter.get_total_flops(), "dim": backbone.dim}


def _main() -> None:
    from benchbench.costs.dry_run import LossDryRun
    from benchbench.plan.keys import unwrap
    from benchbench.plugins import load_plugins

    question = json.load(sys.stdin)
    registry = load_plugins([Path(path) for path in question["plugins"]]).registry
    rehearsal = LossDryRun(registry)
    answer: dict[str, dict[str, Any]] = {}
    for key, request in question["requests"].items():
        if "loss" in request:
            # What only fails without memory must not keep a suite from running; the run itself will tell.
            with contextlib.suppress(Exception):
                answer[key] = {"refused": rehearsal.refused(unwrap(request))}
            continue
        try:
            answer[key] = _card(unwrap(request), registry)
        except BenchBenchError as error:
            answer[key] = {"error": one_line(error)}
        except Exception as error:
            model = "/".join(filter(None, (request["model"]["source"], request["model"]["name"])))
            answer[key] = {"error": f"{model} fails on images of {request['image_size']} px ({one_line(error)})"}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
