r"""Pictures of a page for the documents: how it opens, the wrong test images of a run, and these on a phone.

    benchbench run quickstart --set seeds=[0,1,2] --set recipes.default.image_size=32 \
      --set recipes.default.batch_size=50 --set teachers.lite2.adapt=[linear_probe] --set arms.A/U=null \
      --format html --wrong-images 12 --report build/page
    python -m tests.screenshots build/page/report.html docs/images

Each is written twice, as `page-NAME-light.webp` and `page-NAME-dark.webp`.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser import MISSING, set_screen, start_chromium

# By name: the size of the window in pixels, and whether a run is open.
PICTURES = {"top": ((1120, 980), False), "wrong-images": ((1000, 720), True), "phone": ((390, 720), True)}
QUALITY = 80  # of WebP
# Opens the best run that has a sheet, with its confusion matrix above, and scrolls to the end of the sheet.
OPEN = """
const done = arguments[0], data = JSON.parse(document.getElementById("data").textContent);
const drawn = data.cells.filter(cell => data.stages[cell.stage].wrong?.images);
const best = drawn.reduce((one, other) => (other.accuracy > one.accuracy ? other : one));
document.querySelectorAll("#cells tbody button")[data.cells.indexOf(best)].click();
for (const fold of document.querySelectorAll("dialog details")) {
    const title = fold.firstChild.textContent;
    fold.open = title === "Confusion matrix" || title === "Wrong test images";
}
setTimeout(() => {
    document.querySelector(".sheet").scrollIntoView({block: "end"});
    document.querySelector("dialog .body").scrollTop += 16;
    document.activeElement.blur();
    setTimeout(done, 200);
}, 200);
"""


def picture(browser: Any, page: Path, name: str, scheme: str) -> bytes:
    """One picture as WebP."""
    size, opened = PICTURES[name]
    set_screen(browser, size, scheme)
    browser.get(page.resolve().as_uri())
    if opened:
        browser.execute_async_script(OPEN)
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    stream = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB").save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def main(page: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        browser = start_chromium(Path(profile))
        if browser is None:
            sys.exit(MISSING)
        for name in PICTURES:
            for scheme in ("light", "dark"):
                path = folder / f"page-{name}-{scheme}.webp"
                path.write_bytes(picture(browser, page, name, scheme))
                print(f"{path}: {path.stat().st_size:,} bytes")
        browser.quit()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
