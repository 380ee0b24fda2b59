"""Copies of stores at a URL: whole, verified, and nothing replaced; on a disk, in memory and on an S3 server."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import closing

import fsspec
import pytest

from benchbench.errors import StoreError
from benchbench.running.merge import MERGE
from benchbench.running.sync import MANIFEST, sync_stores
from benchbench.store import Claims, StageFolder, Store
from tests.running.merge.stores import calibration, files, finished, stage
from tests.specs import outputs_record, outputs_spec
from tests.stores import age


@pytest.fixture
def store(tmp_path):
    """A store with a trained cell and a calibration."""
    root = tmp_path / "runs"
    Store(root).open()
    return root, stage(root, 1), calibration(root)


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    address = f"file://{tmp_path}/remote" if request.param == "file" else "memory://bucket/runs"
    yield address
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


def test_there_and_back(store, url, tmp_path):
    root, *paths = store
    names = sorted(f"{path.parent.name}/{path.name}" for path in paths)
    assert sorted(sync_stores(str(root), url).copied) == names
    assert sorted(sync_stores(url, str(tmp_path / "other")).copied) == names
    for path in paths:
        here = files(tmp_path / "other" / path.parent.name / path.name)
        assert {name: content for name, content in here.items() if name != MANIFEST} == files(path)
    assert sorted(each.name for each in (tmp_path / "other").iterdir() if each.name.startswith(".sync")) == []


def test_again_nothing_is_copied(store, url, tmp_path):
    root, *paths = store
    for _ in range(2):
        there, back = sync_stores(str(root), url), sync_stores(url, str(tmp_path / "other"))
    for synced in (there, back):
        assert (synced.copied, len(synced.same), synced.conflicts, synced.damaged) == ([], len(paths), {}, {})


def test_another_result_is_never_replaced(store, url, tmp_path):
    root, path, _ = store
    sync_stores(str(root), url)
    Store(tmp_path / "other").open()
    theirs = stage(tmp_path / "other", 1, weights=b"others", hours=2.0)
    before = files(theirs)
    for synced in (sync_stores(str(tmp_path / "other"), url), sync_stores(url, str(tmp_path / "other"))):
        assert synced.conflicts == {f"cell/{path.name}": ["cost", "weights_sha256"]}
    assert files(theirs) == before
    sync_stores(url, str(tmp_path / "third"))
    assert files(tmp_path / "third" / "cell" / path.name)["weights.safetensors"] == b"weights"


def test_unfinished_and_damaged_stages_stay(store, url, tmp_path):
    root, path, other = store
    (path / "weights.safetensors").write_bytes(b"damaged")
    (other / "record.json").unlink()
    synced = sync_stores(str(root), url)
    assert (synced.copied, synced.unfinished) == ([], [f"calibration/{other.name}"])
    assert "are not those of its record" in synced.damaged[f"cell/{path.name}"]
    assert sync_stores(url, str(tmp_path / "other")).copied == []


@pytest.mark.parametrize("name", ["weights.safetensors", "curve.jsonl", "spec.json"])
def test_what_has_changed_on_the_way_is_not_taken(store, url, tmp_path, name):
    root, path, other = store
    sync_stores(str(root), url)
    remote, place = fsspec.core.url_to_fs(f"{url}/cell/{path.name}/{name}")
    remote.pipe_file(place, b"x" + remote.cat_file(place)[1:])
    synced = sync_stores(url, str(tmp_path / "other"))
    assert synced.copied == [f"calibration/{other.name}"]
    assert f"{name} has another content than when it was copied there" in synced.damaged[f"cell/{path.name}"]
    assert Store(tmp_path / "other").stage("cell", path.name).done() is None


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../evil", ".hidden", "./evil"])
def test_a_list_that_leads_out_of_the_folder_is_refused(store, url, tmp_path, name):
    root, path, _ = store
    sync_stores(str(root), url)
    remote, place = fsspec.core.url_to_fs(f"{url}/cell/{path.name}/{MANIFEST}")
    listed = json.loads(remote.cat_file(place))
    remote.pipe_file(place, json.dumps({**listed, name: listed["record.json"]}).encode())
    synced = sync_stores(url, str(tmp_path / "other"))
    assert "which is no file of a stage" in synced.damaged[f"cell/{path.name}"]
    assert list(tmp_path.rglob("evil")) == []


def test_a_sync_that_was_cut_short_goes_on(store, url, tmp_path):
    """Without its record a stage is not there, whatever else is."""
    root, path, _ = store
    sync_stores(str(root), url)
    remote, place = fsspec.core.url_to_fs(f"{url}/cell/{path.name}")
    remote.rm(f"{place}/record.json")
    remote.rm(f"{place}/{MANIFEST}")
    assert len(sync_stores(url, str(tmp_path / "other")).copied) == 1
    assert sync_stores(str(root), url).copied == [f"cell/{path.name}"]
    assert sync_stores(url, str(tmp_path / "other")).copied == [f"cell/{path.name}"]


@pytest.mark.parametrize(
    ("error", "ending", "text"),
    [
        (ConnectionError("gone"), StoreError, r"cannot reach \S+ \(ConnectionError: .*gone\)"),
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "No space left on device"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_stages_that_came_stay_where_the_next_do_not(store, url, tmp_path, monkeypatch, error, ending, text):
    """And nothing is left of the one that was on its way."""
    root, cell, other = store
    sync_stores(str(root), url)
    into, system = tmp_path / "other", type(fsspec.core.url_to_fs(url)[0])
    get_file = system.get_file

    def cut(files, source, target):
        if source.endswith(f"{cell.name}/weights.safetensors"):
            assert list(into.glob(".sync-*/*")) == list(into.glob(".sync-*/cell"))  # that of the first is gone
            raise error
        get_file(files, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(system, "get_file", cut)
        with pytest.raises(ending, match=text):
            sync_stores(url, str(into))
    assert [path.name for path in into.glob("*/*/record.json")] == ["record.json"]
    assert list(into.glob(".sync-*")) == []
    again = sync_stores(url, str(into))
    assert (again.same, again.copied) == ([f"calibration/{other.name}"], [f"cell/{cell.name}"])


def test_downloads_that_killed_syncs_left_are_removed(store, url, tmp_path):
    root, *_ = store
    sync_stores(str(root), url)
    left = tmp_path / "other" / ".sync-1"
    (left / "cell").mkdir(parents=True)
    age(StageFolder(left), 2)
    sync_stores(url, str(tmp_path / "other"))
    assert not left.exists()


def test_nothing_is_downloaded_where_another_process_is_merging(store, url, tmp_path, monkeypatch):
    root, *_ = store
    sync_stores(str(root), url)
    with closing(Claims(tmp_path / "other", "other")) as claims:
        claims.take(*MERGE)
        monkeypatch.setattr("benchbench.running.sync._download", None)
        with pytest.raises(StoreError, match=r"is merging into store \S+; wait for it"):
            sync_stores(url, str(tmp_path / "other"))


def test_folders_below_a_stage_travel(store, url, tmp_path):
    root, *_ = store
    folder = finished(root, outputs_spec(), outputs_record(), None)
    folder.outputs.mkdir()
    (folder.outputs / "logits.npy").write_bytes(b"0")
    sync_stores(str(root), url)
    sync_stores(url, str(tmp_path / "other"))
    assert (tmp_path / "other" / "outputs" / folder.path.name / "outputs" / "logits.npy").read_bytes() == b"0"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("runs", "others", "neither is a URL; `benchbench merge` joins folders"),
        ("memory://a", "memory://b", "both are URLs"),
        ("nothing", "memory://a", "nothing is no store"),
        ("runs", "://", "neither is a URL"),
        ("memory://nothing", "others", "memory://nothing is no store: it has no store.json"),
        ("runs", "cloud://a/b", "Protocol not known: cloud"),
        ("runs", "ssh://", "ssh://"),
    ],
)
def test_refusals(tmp_path, monkeypatch, source, target, message):
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "runs").open()
    with pytest.raises(StoreError) as error:
        sync_stores(source, target)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_another_format_is_refused_and_kept(store, url, tmp_path):
    root, *_ = store
    remote, place = fsspec.core.url_to_fs(f"{url}/store.json")
    remote.makedirs(place.rpartition("/")[0], exist_ok=True)
    remote.pipe_file(place, b'{"format": 1}')
    for source, target in ((str(root), url), (url, str(tmp_path / "other"))):
        with pytest.raises(StoreError, match="has format 1; this version reads"):
            sync_stores(source, target)


@pytest.mark.cluster
@pytest.mark.whole_run
def test_s3(store, tmp_path, monkeypatch):
    """A real S3 protocol, spoken to a server on this machine."""
    pytest.importorskip("s3fs", reason="needs s3fs")
    pytest.importorskip("moto", reason="needs moto[server]")
    root, *paths = store
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "Running on" in line)
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.split()[-1])
        import s3fs

        s3fs.S3FileSystem(anon=False).mkdir("bucket")
        assert len(sync_stores(str(root), "s3://bucket/runs").copied) == len(paths)
        assert len(sync_stores("s3://bucket/runs", str(tmp_path / "other")).copied) == len(paths)
        with pytest.raises(StoreError, match="cannot reach s3://absent"):
            sync_stores(str(root), "s3://absent/runs")
    finally:
        server.terminate()
        server.wait()
    assert os.path.exists(tmp_path / "other" / "store.json")
