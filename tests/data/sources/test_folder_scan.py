"""Files that count below a folder per class, and those that are left out by name."""

import os
from pathlib import Path

import pytest

from benchbench.data.sources.folder_scan import class_folders, scan_split
from benchbench.errors import DataError


@pytest.fixture
def split(tmp_path):
    """A split of two classes of one file each; no test opens one."""
    put(tmp_path / "train", "cat/1.jpg", "dog/1.jpg")
    return tmp_path / "train"


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_every_kind_that_is_read_counts(split):
    names = [
        "a.TIF",
        "a.tiff",
        "a.gif",
        "a.avif",
        "a.jfif",
        "a.webp",
        "a.BMP",
        "a.ppm",
        "a.pgm",
        "a.Jp2",
        "a.JPEG",
        "a.png",
    ]
    put(split / "cat", *names)
    scan = scan_split(split)
    assert {Path(path).name for path in scan.by_class["cat"]} == {"1.jpg", *names}
    assert str(scan.left_out) == ""


def test_all_else_is_counted_and_named(split):
    put(split, "cat/a.heic", "cat/b.heic", "dog/raw/c.nef", "cat/noextension", "loose.jpg", "cat/.kept.png")
    assert str(scan_split(split).left_out) == (
        "6 files are left out: 2 .heic (cat/a.heic, ...), 1 .nef (dog/raw/c.nef), 1 hidden (cat/.kept.png), "
        "1 outside of the class folders (loose.jpg), 1 without an extension (cat/noextension)"
    )


def test_what_systems_put_beside_files_is_no_image_and_no_class(split):
    put(split, "cat/._1.jpg", "cat/.DS_Store", "cat/Thumbs.db", "cat/@eaDir/1.jpg", "@eaDir/1.jpg", "__MACOSX/a/1.jpg")
    put(split, ".DS_Store", "desktop.ini")
    scan = scan_split(split)
    assert list(scan.files()) == ["cat/1.jpg", "dog/1.jpg"]
    assert str(scan.left_out) == ""


def test_links_to_folders_and_files_are_followed(split, tmp_path):
    put(tmp_path, "more/2.jpg", "more/deep/3.jpg", "bird/1.jpg", "one.jpg")
    (split / "cat" / "more").symlink_to(tmp_path / "more")
    (split / "bird").symlink_to(tmp_path / "bird")
    (split / "dog" / "one.jpg").symlink_to(tmp_path / "one.jpg")
    names = ["bird/1.jpg", "cat/1.jpg", "cat/more/2.jpg", "cat/more/deep/3.jpg", "dog/1.jpg", "dog/one.jpg"]
    assert sorted(scan_split(split).files()) == names


@pytest.mark.parametrize("target", [".", "..", "../..", "../../.."])
def test_a_link_to_a_folder_that_it_lies_in_is_a_loop(target, split):
    (split / "cat" / "deep").mkdir()
    (split / "cat" / "deep" / "loop").symlink_to(target)
    scan = scan_split(split)
    assert list(scan.files()) == ["cat/1.jpg", "dog/1.jpg"]
    assert str(scan.left_out) == "1 file is left out: 1 link back to a folder above it (cat/deep/loop)"


def test_folders_that_link_to_each_other(split, tmp_path):
    put(tmp_path, "a/2.jpg", "b/3.jpg")
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    (split / "cat" / "a").symlink_to(tmp_path / "a")
    assert list(scan_split(split).files()) == ["cat/1.jpg", "cat/a/2.jpg", "cat/a/b/3.jpg", "dog/1.jpg"]


def test_names_in_the_working_folder_are_whole(split, monkeypatch):
    put(split / "cat", "note.md")
    monkeypatch.chdir(split)
    scan = scan_split(Path("."))
    assert list(scan.files()) == ["cat/1.jpg", "dog/1.jpg"]
    assert str(scan.left_out) == "1 file is left out: 1 .md (cat/note.md)"


def test_a_link_to_nothing_is_refused(split):
    (split / "cat" / "gone.jpg").symlink_to(split / "nowhere.jpg")
    with pytest.raises(DataError, match=r"cat/gone\.jpg is a link to nothing"):
        scan_split(split)


def test_a_link_to_itself_is_one_to_nothing(split):
    for place in (split, split / "cat"):
        (place / "loop").symlink_to("loop")
    assert str(scan_split(split).left_out) == (
        "2 files are left out: 1 outside of the class folders (loop), 1 without an extension (cat/loop)"
    )
    assert class_folders(split) == ["cat", "dog"]
    (split / "cat" / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(DataError, match=r"cat/loop\.jpg is a link to nothing"):
        scan_split(split)


def test_names_that_differ_in_case_alone_are_doubtful(split):
    put(split, "cat/A.JPG", "cat/a.jpg")
    doubt = "2 images have names that differ in upper and lower case alone (cat/A.JPG, cat/a.jpg)"
    assert scan_split(split).doubtful_names() == doubt


def test_a_class_whose_name_is_no_utf_8(split):
    os.mkdir(os.fsencode(split) + b"/caf\xe9")
    with pytest.raises(DataError, match=r"class folder .*caf\\udce9 is no UTF-8; rename it"):
        scan_split(split)


def test_an_image_whose_name_is_no_utf_8_counts(split):
    name = os.fsencode(split) + b"/cat/\xe9.jpg"
    Path(os.fsdecode(name)).write_bytes(b"")
    assert len(scan_split(split).by_class["cat"]) == 2
