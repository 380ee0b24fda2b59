"""Claims: one holder at a time, found out by the folder alone, on any machine and by no clock but the server's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchbench.errors import ClaimLostError, StoreError
from benchbench.store import claims as module
from benchbench.store.claims import HOLDER, LEASE, Claim, Claims, Held
from benchbench.store.fencing import fence_of, fenced, put_fence, remove_fence
from benchbench.store.files import write_atomic
from benchbench.store.processes import this_process
from benchbench.store.stage_folder import StageFolder

STAGE = "cell", "0123456789abcdef"


def no_links(temporary: Path, path: Path) -> None:
    raise OSError(errno.ENOTSUP, "no links here")


@pytest.fixture(params=["link", "exclusive"])
def way(request, monkeypatch) -> str:
    """With the file system's links, and without."""
    if request.param == "exclusive":
        monkeypatch.setattr(module, "_link", no_links)
    return request.param


@pytest.fixture
def run_of(tmp_path) -> Iterator[Callable[[str], Claims]]:
    """Claims of a run by its name, on the same store."""
    made: list[Claims] = []

    def make(name: str) -> Claims:
        made.append(Claims(tmp_path, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def taken(claims: Claims) -> Claim:
    claim = claims.take(*STAGE)
    assert isinstance(claim, Claim)
    return claim


def grow_old(claim: Claim, seconds: float = LEASE + 1) -> None:
    """Lets a claim be so old by the server's clock."""
    file = claim.folder / str(claim.number)
    now = file.stat().st_mtime
    os.utime(file, (now, now - seconds))


def test_one_of_many_has_it(run_of, way):
    first, second = run_of("a"), run_of("b")
    claim = taken(first)
    held = second.take(*STAGE)
    assert isinstance(held, Held)
    assert (held.number, held.holder, held.state) == (1, first.holder, "live")
    assert str(held) == f"{this_process().host} {os.getpid()}"
    assert taken(first) == claim  # it may ask again
    claim.require()
    assert second.names() == {"cell-0123456789abcdef"}


def test_races_have_one_winner(tmp_path, run_of, way):
    """Threads that begin together, over and over; each winner gives the claim back."""
    runs = [run_of(f"run{number}") for number in range(6)]
    start, wins = threading.Barrier(6), []

    def compete(claims: Claims) -> None:
        for number in range(15):
            start.wait()
            claim = claims.take("cell", f"{number}")
            if isinstance(claim, Claim):
                wins.append(number)

    threads = [threading.Thread(target=compete, args=(claims,)) for claims in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(15))
    assert not list(tmp_path.rglob("*.tmp"))


def test_given_back_it_is_taken_with_the_next_number(run_of, way):
    first, second = run_of("a"), run_of("b")
    claim = taken(first)
    first.release(claim, finished=False)
    assert first.look(claim.folder).state == "released"
    with pytest.raises(ClaimLostError):
        claim.require()
    successor = taken(second)
    assert (successor.number, successor.contested) == (2, False)
    second.release(successor, finished=True)
    assert second.look(claim.folder) is None
    assert second.names() == set()
    for lost in (claim, successor):
        with pytest.raises(ClaimLostError):
            lost.require()


def test_silent_for_a_lease_it_is_taken_over(run_of, way):
    first, second = run_of("a"), run_of("b")
    claim = taken(first)
    grow_old(claim, LEASE - 60)
    assert isinstance(second.take(*STAGE), Held)
    first.renew(claim)
    grow_old(claim)
    assert second.look(claim.folder).state == "silent"
    successor = taken(second)
    assert (successor.number, successor.contested) == (2, True)
    for each in (claim.require, lambda: first.renew(claim)):
        with pytest.raises(ClaimLostError, match=f"^taken over by {this_process().host} {os.getpid()}$"):
            each()
    successor.require()
    first.release(claim, finished=True)  # which is not its own any more
    first.release(claim, finished=False)
    successor.require()


@pytest.mark.parametrize("minutes", [-10, 10])
def test_the_own_clock_does_not_matter(run_of, monkeypatch, minutes):
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + 60 * minutes)
    first, second = run_of("a"), run_of("b")
    claim = taken(first)
    assert isinstance(second.take(*STAGE), Held)
    assert abs(second.now() - true()) < 60
    grow_old(claim)
    assert taken(second).number == 2


def test_one_of_a_dead_process_is_taken_over_at_once(tmp_path, run_of):
    code = "import sys, pathlib; from benchbench.store.claims import Claims; import os, signal\n"
    code += f"Claims(pathlib.Path(sys.argv[1]), 'other').take(*{STAGE}); os.kill(os.getpid(), signal.SIGKILL)"
    claims = run_of("a")
    with subprocess.Popen([sys.executable, "-c", code, tmp_path]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, though nobody has asked for its end yet
        held = claims.look(claims.folder(*STAGE))
        assert (held.state, held.holder.process.pid) == ("dead", process.pid)
    claim = taken(claims)
    assert (claim.number, claim.contested) == (2, False)


@pytest.mark.parametrize("change", [{"boot": "other"}, {"namespace": "pid:[1]"}, {"born": ""}, {"boot": ""}])
def test_of_processes_elsewhere_nothing_is_known(run_of, change):
    """Not even where the host has the same name, as containers of one machine may."""
    here = this_process()
    assert not replace(here, **change).is_dead()
    assert replace(here, born="1").is_dead()  # its number is another's now
    assert not here.is_dead()


def test_a_claim_whose_holder_is_not_written_yet_is_live(run_of):
    claims = run_of("a")
    folder = claims.folder(*STAGE)
    folder.mkdir()
    (folder / "3").touch()
    held = claims.take(*STAGE)
    assert (held.number, held.holder, held.state) == (3, None, "live")
    assert str(held) == "another process"
    grow_old(Claim(folder, 3, claims.holder))
    assert taken(claims).number == 4


def test_an_answer_that_was_lost_and_sent_again(run_of, monkeypatch):
    """NFS: the link is made, and the repeated request says that it is there."""
    link = os.link

    def linked_twice(temporary: Path, path: Path) -> None:
        link(temporary, path)
        link(temporary, path)

    monkeypatch.setattr(module, "_link", linked_twice)
    assert taken(run_of("a")).number == 1


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "claims").touch()
    with pytest.raises(StoreError, match=r"^cannot write store \S+ \(FileExistsError: .*\); use another --store DIR$"):
        Claims(tmp_path, "a")


def test_what_killed_runs_left_is_removed(tmp_path, run_of):
    first, second = run_of("a"), run_of("b")
    dead, _ = first.take("run", "a"), second.take("run", "b")
    grow_old(dead)
    (first.root / ".clock-old").touch()
    os.utime(first.root / ".clock-old", (0, 0))
    third = run_of("c")
    assert third.names() == {"run-b"}
    assert len(list(third.root.glob(".*"))) == 3


def test_a_run_that_is_just_making_its_claim_keeps_it(tmp_path, run_of, monkeypatch):
    first = run_of("a")
    folder, look = first.folder("run", "a"), Claims.look
    folder.mkdir()

    def slow_look(claims: Claims, *args) -> Held | None:
        held = look(claims, *args)
        assert held is None
        assert isinstance(first.take("run", "a"), Claim)  # which calls another's look
        return held

    monkeypatch.setattr(Claims, "look", lambda claims, *args: (look if claims is first else slow_look)(claims, *args))
    run_of("b")
    assert look(first, folder).holder == first.holder


def test_a_stage_of_a_holder_that_has_ended_is_free_at_once(run_of, way):
    first, second = run_of("a"), run_of("b")
    claim = taken(first)
    second.expel(claim.folder, claim.number)
    assert second.look(claim.folder).state == "released"
    with pytest.raises(ClaimLostError):
        claim.require()
    assert taken(second).number == 3


def test_nobody_is_expelled_who_has_taken_the_stage_over_meanwhile(run_of, way):
    first, second, third = run_of("a"), run_of("b"), run_of("c")
    claim = taken(first)
    grow_old(claim)
    successor = taken(second)
    third.expel(claim.folder, claim.number)
    successor.require()
    assert third.look(claim.folder).state == "live"
    second.release(successor, finished=True)
    third.expel(claim.folder, claim.number)
    assert third.names() == set()


class TestFence:
    """Files of a stage are renamed into place by its holder alone."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        folder = tmp_path / "cell" / STAGE[1]
        (folder / "shards").mkdir(parents=True)
        return folder

    @pytest.mark.parametrize("name", ["record.json", "shards/0.parquet"])
    def test_a_zombie_writes_nothing(self, folder, run_of, name):
        first, second = run_of("a"), run_of("b")
        claim = taken(first)
        with fenced(folder, claim):
            write_atomic(folder / name, b"old")
            grow_old(claim)
            taken(second)
            with pytest.raises(ClaimLostError, match="taken over by"):
                write_atomic(folder / name, b"new")
            write_atomic(folder.with_name("other"), b"new")  # of no stage of its
        assert (folder / name).read_bytes() == b"old"
        assert not list(folder.rglob(".*"))

    def test_nor_after_the_other_has_finished(self, folder, run_of):
        first, second = run_of("a"), run_of("b")
        claim = taken(first)
        grow_old(claim)
        second.release(taken(second), finished=True)
        with fenced(folder, claim), pytest.raises(ClaimLostError, match="taken over and finished by another process"):
            write_atomic(folder / "record.json", b"new")

    def test_a_fence_that_is_gone_holds_nobody(self, folder, run_of):
        claim = replace(taken(run_of("a")), number=7)
        put_fence(folder, claim)
        remove_fence(folder)
        write_atomic(folder / "record.json", b"new")

    def test_temporary_files_are_named_by_their_writer(self, folder, run_of, monkeypatch):
        claim, names = taken(run_of("a")), []
        monkeypatch.setattr(Path, "replace", lambda old, new: names.append(old.name))
        with fenced(folder, claim):
            write_atomic(folder / "record.json", b"new")
        here = this_process()
        assert names[0].startswith(f".record.json.{here.host}-{here.pid}-1-")


class TestStageFolder:
    """A stage's folder as its worker holds it."""

    @pytest.fixture
    def place(self, tmp_path) -> StageFolder:
        place = StageFolder(tmp_path / "cell" / STAGE[1])
        place.outputs.mkdir(parents=True)
        return place

    @pytest.mark.parametrize("contested", [False, True])
    def test_files_that_a_zombie_has_open_are_its_own_from_then_on(self, place, run_of, contested):
        files = place.log, place.outputs / "logits.npy"
        for file in files:
            file.write_bytes(b"1")
        with files[0].open("ab", buffering=0) as log, files[1].open("r+b", buffering=0) as array:
            place.hold(replace(taken(run_of("a")), contested=contested))
            log.write(b"2"), array.write(b"2")
        assert [file.read_bytes() for file in files] == ([b"1", b"1"] if contested else [b"12", b"2"])
        assert not list(place.path.rglob(".*"))
        place.let_go()
        assert fence_of(place.record) is None

    def test_a_loss_has_a_log_of_its_own(self, place, run_of):
        place.write_loss(taken(run_of("a")), "taken over by node2 7")
        here = this_process()
        assert (place.path / f"log.{here.host}-{here.pid}-1.txt").read_text() == "taken over by node2 7\n"


def test_a_holder_is_read_as_it_was_written(run_of):
    holder = run_of("a").holder
    assert HOLDER.validate_json(HOLDER.dump_json(holder)) == holder
