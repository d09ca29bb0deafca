"""Images named by a CSV or inside parquet files, and what `nasbench data check` finds in them."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nasbench import cli
from nasbench.errors import UserError
from nasbench.proxy.data import load_dataset
from nasbench.proxy.data.checking import FINDINGS, check_data

CLASSES = ("cat", "dog")
EACH = 15  # images of a class in each split


def picture(seed: int, size: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train and test folders of two classes, a CSV that names the same files, and parquet files that hold them."""
    root = tmp_path_factory.mktemp("pets")
    rows = []
    for split in ("train", "test"):
        for label, name in enumerate(CLASSES):
            (root / "files" / split / name).mkdir(parents=True)
            for index in range(EACH):
                path = root / "files" / split / name / f"{index:02d}.png"
                picture(100 * label + index + 1000 * (split == "test")).save(path)
                rows.append({"path": str(path.relative_to(root)), "label": name, "split": split})
    pd.DataFrame(rows).to_csv(root / "pets.csv", index=False)
    (root / "parquet").mkdir()
    for split in ("train", "test"):
        write_parquet(
            root / "parquet" / f"{split}-00000-of-00001.parquet", root, [r for r in rows if r["split"] == split]
        )
    return root


def write_parquet(path: Path, root: Path, rows: list[dict[str, str]]) -> None:
    images = [{"bytes": (root / row["path"]).read_bytes(), "path": Path(row["path"]).name} for row in rows]
    table = pa.table({"image": images, "label": [CLASSES.index(row["label"]) for row in rows]})
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def test_a_folder_a_csv_and_parquet_files_are_the_same_images(folder: Path) -> None:
    sets = [load_dataset(str(folder / name)) for name in ("files", "pets.csv", "parquet")]
    for data in sets:
        assert data.classes == CLASSES
        assert data.validation is None
        for images, own in ((data.train, sets[0].train), (data.test, sets[0].test)):
            order, theirs = np.argsort(images.labels, kind="stable"), np.argsort(own.labels, kind="stable")
            assert np.array_equal(images.labels[order], own.labels[theirs])
            assert np.array_equal(images.read(order, 16)[0], own.read(theirs, 16)[0])
    assert len({data.id for data in sets}) == 3


def test_a_fifth_is_cut_out_where_nothing_is_of_a_test_split(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "pets.csv")
    table["path"] = [str(folder / path) for path in table["path"]]
    table[["path", "label"]].to_csv(tmp_path / "all.csv", index=False, sep=";")
    alone = tmp_path / "alone.parquet"
    write_parquet(alone, folder, pd.read_csv(folder / "pets.csv").to_dict("records"))
    for spec in (tmp_path / "all.csv", alone):
        data = load_dataset(str(spec))
        assert (len(data.train.labels), len(data.test.labels)) == (48, 12)
        assert load_dataset(str(spec)).id == data.id


def test_numbers_are_classes_in_their_order(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "pets.csv")
    table["path"] = [str(folder / path) for path in table["path"]]
    table["label"] = [{"cat": "10", "dog": "9"}[label] for label in table["label"]]
    table.to_csv(tmp_path / "n.csv", index=False)
    assert load_dataset(str(tmp_path / "n.csv")).classes == ("9", "10")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a table"),
        ("path,label\n", "has no line below its header"),
        ("a,b\n1,2\n", "no column of paths among 'a, b'; call one path or image or file"),
        ("path,b\n1,2\n", "no column of labels"),
        ("path,label\nx.png,\n", "line 2 has no value in 'label'"),
        ("path,label\nx.png,cat\n", "none of its 1 files is there"),
        ("path,label,split\nx.png,cat,later\n", "'later' is no split; write train, val or test"),
        ("path,label,split\nx.png,cat,test\n", "nothing is of the split train"),
        ('path,label\n"x', "not a table"),
        ("path,label\n{0},cat\n", "has 1 class(es) to train on"),
        ("path,label\n{0},cat\n{0},dog\n", "class 'cat' has 1 training images; at least 10 are needed"),
        ("path,label,split\n{0},cat,train\n{0},dog,test\n", "no training image is of class 'dog'"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_used_is_one_line(text: str, words: str, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text(text.replace("{0}", str(folder / "files" / "train" / "cat" / "00.png")))
    with pytest.raises(UserError) as caught:
        load_dataset(str(file))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_files_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    tables = {
        "no column of images": pa.table({"a": [1]}),
        "no column of labels": pa.table({"image": [b"x"]}),
        "its images are no encoded files": pa.table({"image": ["x.png"], "label": [1]}),
        "row 1 has no label": pa.table({"image": [b"x", b"y"], "label": [1, None]}),
        "has 1 class(es) to train on": pa.table({"image": [b"x"], "label": [1]}),
    }
    file = tmp_path / "own.parquet"
    for words, table in tables.items():
        pq.write_table(table, file)
        with pytest.raises(UserError) as caught:
            load_dataset(str(file))
        assert words in str(caught.value)
    file.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a parquet file that can be read"):
        load_dataset(str(file))


def planted(root: Path) -> dict[str, set[str]]:
    """A folder of a hundred odd files among good ones -> the names of each kind."""
    for split in ("train", "test"):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for index in range(EACH):
                picture(zlib.crc32(f"{split} {name} {index}".encode())).save(root / split / name / f"good{index}.png")
    makers = {
        "unreadable": lambda i: ("png", b"no image"),
        "16-bit or deeper": lambda i: ("png", _saved(Image.fromarray(_grey(i, 65535, np.uint16)), "png")),
        "CMYK": lambda i: ("jpg", _saved(picture(i).convert("CMYK"), "jpeg")),
        "palette": lambda i: ("png", _saved(picture(i).quantize(16), "png")),
        "transparent": lambda i: ("png", _saved(picture(i).convert("RGBA"), "png")),
        "animated": lambda i: ("webp", _saved(picture(i), "webp", save_all=True, append_images=[picture(i + 1)])),
        "rotated by EXIF": lambda i: ("jpg", _saved(picture(i), "jpeg", exif=_turned())),
        "grey": lambda i: ("png", _saved(Image.fromarray(_grey(i, 255, np.uint8)), "png")),
        "small": lambda i: ("png", _saved(picture(i, 20), "png")),
    }
    found: dict[str, set[str]] = {kind: set() for kind in makers}
    for kind, maker in makers.items():
        for index in range(10):
            suffix, content = maker(5000 + 100 * list(makers).index(kind) + index)
            file = f"{kind.replace(' ', '-')}{index}.{suffix}"
            (root / "train" / CLASSES[index % 2] / file).write_bytes(content)
            found[kind].add(file)
    copies = {
        "the same image in two splits": ("test", "cat", range(4)),
        "the same image in two classes": ("train", "dog", range(4, 7)),
        "the same image twice in a split": ("train", "cat", range(7, 10)),
    }
    for kind, (split, name, originals) in copies.items():
        for index in originals:  # another file, same pixels
            Image.open(root / "train" / "cat" / f"good{index}.png").save(root / split / name / f"copy{index}.bmp")
        found[kind] = {f"copy{index}.bmp" for index in originals}
    assert sum(map(len, found.values())) == 100
    return found


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _grey(seed: int, white: int, kind: type) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, white, (40, 40)).astype(kind)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


def test_each_planted_fault_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = planted(tmp_path / "odd")
    report = check_data(load_dataset(str(tmp_path / "odd")))
    assert {what: found.count for what, found in report.findings.items()} == {k: len(v) for k, v in wanted.items()}
    for what, found in report.findings.items():
        told = [" ".join(Path(part.strip("()")).name for part in file.split(" (as ")) for file in found.files]
        assert all(any(name in file.split() for file in told) for name in wanted[what]), what
    assert set(wanted) == set(FINDINGS), "every oddity has been planted"
    assert report.counts["train"] == [15 + 5 * 9 + 3, 15 + 5 * 9 + 3]
    assert len(report.sizes) == sum(map(sum, report.counts.values())) - 10
    assert cli.main(["data", "check", str(tmp_path / "odd"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["what"] for each in shown["findings"]] == list(FINDINGS)
    assert cli.main(["data", "check", str(tmp_path / "odd")]) == 0
    assert "skipped; replace or remove the file" in capsys.readouterr().out


def test_nothing_is_odd_about_good_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("files", "pets.csv", "parquet"):
        assert cli.main(["data", "check", str(folder / name)]) == 0
        assert "nothing odd: every image can be read" in capsys.readouterr().out


def test_names_of_classes_are_shown_and_not_obeyed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither as a terminal would, nor as rich does with tags of its own."""
    names = {"cat": "[/b] :cat:", "dog": "\x1b[31mred\x07"}
    table = pd.read_csv(folder / "pets.csv")
    table = table.assign(label=table.label.map(names), path=[str(folder / path) for path in table.path])
    table.to_csv(tmp_path / "names.csv", index=False)
    assert cli.main(["data", "check", str(tmp_path / "names.csv")]) == 0
    shown = capsys.readouterr().out
    assert "[/b] :cat:" in shown
    assert shown.count("?[31mred?") == 2  # in its line of the table, and as the largest or smallest class
    assert not set(shown) & {"\x1b", "\x07"}
