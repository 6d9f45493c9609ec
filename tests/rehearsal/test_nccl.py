"""What is kept of NCCL's own words. The lines have the form of NCCL's, with names and numbers of our own."""

from __future__ import annotations

from pathlib import Path

from mimo_gb10.generate.rehearsals import nccl_links
from mimo_gb10.rehearsal.nccl import topology

RANK0 = """\
[2026-11-26 12:22:30 TP0] Init torch distributed begin.
one:611:611 [0] NCCL INFO NET/Socket : Using [0]lo:127.0.0.1<0>
one:611:702 [0] NCCL INFO Using network Socket
one:611:702 [0] NCCL INFO comm 0x55d0 rank 0 nRanks 4 nNodes 4 localRanks 1 localRank 0 MNNVL 0
one:611:702 [0] NCCL INFO Channel 00/0 : 3[0] -> 0[0] [receive] via NET/Socket/0
one:611:702 [0] NCCL INFO Channel 01/0 : 3[0] -> 0[0] [receive] via NET/Socket/0
one:611:702 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/Socket/0
one:611:702 [0] NCCL INFO ncclCommInitRank comm 0x55d0 rank 0 nranks 4 cudaDev 0 nvmlDev 0 busId 6000 - Init COMPLETE
one:611:703 [0] NCCL INFO comm 0x55d1 rank 0 nRanks 1 nNodes 1 localRanks 1 localRank 0 MNNVL 0
"""
RANK1 = """\
one:612:612 [0] NCCL INFO Using network Socket
one:612:705 [0] NCCL INFO Channel 00/0 : 1[0] -> 2[1] via P2P/CUMEM
"""


def test_network_hosts_and_links(tmp_path: Path) -> None:
    logs = {0: tmp_path / "rank0.log", 1: tmp_path / "rank1.log", 2: tmp_path / "never-written.log"}
    logs[0].write_text(RANK0)
    logs[1].write_text(RANK1)
    assert topology(logs) == {
        "network": ["Socket"],
        "communicators": [{"ranks": 4, "hosts": 4}, {"ranks": 1, "hosts": 1}],
        "links": [
            {"from": 0, "to": 1, "via": "NET/Socket/0"},
            {"from": 1, "to": 2, "via": "P2P/CUMEM"},
            {"from": 3, "to": 0, "via": "NET/Socket/0"},
        ],
    }


def test_without_its_words_there_is_nothing(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    log.write_text("[2026-11-26 12:22:30 TP0] Init torch distributed begin.\n")
    assert topology({0: log}) == {}


def test_the_page_has_it_in_a_line(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    log.write_text(RANK0)
    assert nccl_links(topology({0: log})) == (
        "network `Socket`; 4 ranks on 4 hosts; 0 → 1 `NET/Socket/0`, 3 → 0 `NET/Socket/0`"
    )
