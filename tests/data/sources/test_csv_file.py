"""Images that a CSV or TSV file lists."""

import pytest

from benchbench.data.sources.csv_file import CsvParams, load
from benchbench.errors import DataError

ROWS = """\
path,label,split
images/3.png,10,train
images/1.png,2,train
"images/0.png",2,train
images/2.png,10,test
images/4.png,2,test
images/5.png,2,val
"""


@pytest.fixture
def folder(tmp_path, save_image):
    for number in range(6):
        save_image(tmp_path / "here" / "images" / f"{number}.png", number)
    return tmp_path / "here"


@pytest.fixture
def csv(folder):
    """(text, parameters) -> parameters of a file of that text."""

    def write(text: str = ROWS, name: str = "labels.csv", **params) -> CsvParams:
        (folder / name).write_text(text, encoding="utf-8")
        return CsvParams(path=folder / name, **params)

    return write


def names_of(params: CsvParams, split: str) -> list[str]:
    return [file.rpartition("/")[2] for file in load(params, params.path.parent, split).image.files]


def test_rows_become_splits_of_classes_in_a_fixed_order(csv, folder):
    params = csv()
    train, info = load(params, folder, "train"), params.info(folder)
    assert (info.names, info.train, info.test, info.validation) == (("2", "10"), 3, 2, 0)
    assert info.note == (
        "rows of no part are left out, by column 'split': 1 'val' (`validation_split` names rows to choose epochs by)"
    )
    assert train.labels.tolist() == [0, 0, 1]
    assert names_of(params, "train") == ["0.png", "1.png", "3.png"]
    assert train.image(0).size == (8, 6)
    assert names_of(params, "test") == ["4.png", "2.png"]


def test_the_order_of_rows_and_the_place_change_nothing(csv, folder, tmp_path):
    before = {**csv().split_files("train", folder)}
    head, *rows = ROWS.splitlines(keepends=True)
    assert names_of(csv(head + "".join(reversed(rows))), "train") == ["0.png", "1.png", "3.png"]
    folder.rename(tmp_path / "there")
    after = CsvParams(path=tmp_path / "there" / "labels.csv").split_files("train", folder)
    assert [*sorted(after)] == [*sorted(before)] == ["10\t3.png", "2\t0.png", "2\t1.png"]


def test_a_validation_part(csv, folder):
    params = csv(validation_split="val")
    info, train = params.info(folder), load(params, folder, "train")
    assert (info.train, info.validation, info.note) == (3, 1, "")
    assert train.validation.tolist() == [3]
    assert "../validation/2\t5.png" in params.split_files("train", folder)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (ROWS.replace(",", "\t"), {"name": "labels.tsv"}),
        (ROWS.replace(",", ";"), {}),
        ("\ufeff" + ROWS.replace("path,label,split", "File_Name,Species,SET"), {}),
        (ROWS.replace("path,label,split", "a,b,c"), {"path_column": "a", "label_column": "b", "split_column": "c"}),
        (ROWS.replace("train\n", "Training\n").replace("val\n", "\n").replace("test\n", "validation\n"), {}),
        (ROWS.replace("images/", ""), {"folder": "images"}),
        (ROWS.replace("train\n", "1\n").replace("test\n", "2\n"), {"train_split": "1", "test_split": "2"}),
    ],
)
def test_forms_of_the_file(csv, folder, text, params):
    if "folder" in params:
        params = {"folder": folder / "images"}
    assert names_of(csv(text, **params), "train") == ["0.png", "1.png", "3.png"]


def test_drawn_parts(csv, folder):
    rows = "".join(f"images/{number}.png,{'ab'[number % 2]},p{number // 2}\n" for number in range(6))
    params = csv("path,label,patient\n" + rows, split={"test": 0.34, "by": "group"}, group_column="patient")
    tested = names_of(params, "test")
    assert tested in ([f"{number}.png", f"{number + 1}.png"] for number in (0, 2, 4))
    assert len(names_of(params, "train")) == 4
    drawn = csv(split={"test": 0.4})
    assert drawn.info(folder).note == "the column 'split' is not read, as `split` draws the parts"
    assert drawn.info(folder).test == 3


def test_a_row_from_another_folder_hardly_moves_others(csv, folder, save_image, tmp_path):
    for number in range(6, 40):
        save_image(folder / "images" / f"{number}.png", number)
    save_image(folder / "more" / "x.png", 50)
    save_image(tmp_path / "elsewhere" / "y.png", 51)
    text = "path,label\n" + "".join(f"images/{number}.png,{'ab'[number % 2]}\n" for number in range(40))
    before = {*names_of(csv(text, split={"test": 0.3}), "test")}
    for row in ("more/x.png,a\n", "../elsewhere/y.png,a\n", f"{tmp_path / 'elsewhere' / 'y.png'},a\n"):
        assert len(before - {*names_of(csv(text + row, split={"test": 0.3}), "test")}) <= 1


def test_a_drawn_part_does_not_depend_on_the_place_of_images_elsewhere(tmp_path, save_image):
    file, tested = tmp_path / "labels.csv", []
    for number in range(8):
        save_image(tmp_path / "here" / "more" / f"{number}.png", number)
    for place in ("here", "there"):
        rows = (f"{tmp_path / place}/more/{number}.png,{'ab'[number % 2]}\n" for number in range(8))
        file.write_text("path,label\n" + "".join(rows))
        tested.append(names_of(CsvParams(path=file, folder=tmp_path / "none", split={"test": 0.4}), "test"))
        if place == "here":
            (tmp_path / "here").rename(tmp_path / "there")
    assert tested[0] == tested[1]


def test_lines_before_the_columns_and_spaces_after_separators(csv, folder):
    """As in files of other programs; a label in quotes is no other label."""
    text = '\r\n\r\npath; label; split\r\nimages/0.png; "a, b"; train\r\nimages/1.png; "a, b"; test\r\n'
    info = csv(text).info(folder)
    assert (info.names, info.train, info.test) == (("a, b",), 1, 1)


@pytest.mark.parametrize(
    ("text", "params", "problem"),
    [
        ("", {}, r"labels\.csv: it is empty; the first row names the columns"),
        ("path,label,split\n", {}, "it lists no image"),
        (ROWS.replace("label", "kind"), {}, r"no column is called label, .* `label_column` \(columns: path, kind"),
        (ROWS, {"label_column": "lable"}, r"`label_column`: there is no column 'lable'; did you mean 'label'\?"),
        (ROWS.replace("split", "path"), {"path_column": "path"}, "2 columns are called 'path'; rename one"),
        (ROWS.replace("split", "Label"), {}, "2 columns are called 'label'; rename one"),
        (
            ROWS.replace("images/1", "images\\1"),
            {},
            r"1\.png is not there; .* to this file, and have / between folders",
        ),
        (ROWS.replace(",split", ",x"), {}, r"no column has the parts; name it with `split_column`, or draw them"),
        (ROWS.replace("images/2.png,10,test", "images/2.png,10"), {}, r"line 5: 2 columns, where the first row has 3"),
        (ROWS.replace("images/1.png,2", "images/1.png, "), {}, r"line 3: the label is empty; fill it in"),
        (ROWS.replace("images/1", "images/9"), {}, r"line 3: .*here/images/9\.png is not there; paths are relative to"),
        (ROWS.replace("images/1", "images/3"), {}, r"line 3: the image of line 2 again; .* keep one row"),
        (ROWS.replace("test\n", "held\n").replace("val", ""), {}, r"no row has 'test' .* \(it has 'train', 'held'"),
        (ROWS, {"test_split": "train"}, "the parts are to differ"),
        (ROWS.replace("10,test", "2,test"), {}, r"line 2: no row to test on has the label '10'; add one"),
        (ROWS, {"split": {"test": 0.2}, "split_column": "split"}, "'split' has the parts already"),
        (ROWS, {"split": {"test": 0.2, "by": "group"}}, "needs `group_column`"),
        (ROWS, {"split": {"test": 0.2}, "group_column": "split"}, "with `by: group` in `split`; add that"),
        (ROWS, {"split": {"test": 0.2}, "validation_split": "val"}, "and `validation_split` names one that is there"),
        (ROWS, {"split": {"test": 0.2}, "train_split": "train"}, "and `train_split` names one that is there"),
        ("path,label,split\nimages/0.png,a", {"split": {"test": 0.2}}, "line 2: 2 columns"),
        ("path,label\nimages/0.png,a", {"split": {"test": 0.2}}, "class 'a' has 1 image, and `split` leaves none"),
        (ROWS + '"open', {}, "it cannot be read"),
    ],
)
def test_what_is_refused_in_one_line(csv, folder, text, params, problem):
    with pytest.raises(DataError, match=problem) as caught:
        csv(text, **params).info(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_or_absent(csv, folder):
    params = csv()
    params.path.write_bytes(b"path,label,split\n\xff")
    with pytest.raises(DataError, match="byte 0xff is not UTF-8"):
        params.info(folder)
    with pytest.raises(DataError, match=r"none\.csv: there is no such file"):
        CsvParams(path=folder / "none.csv").info(folder)
