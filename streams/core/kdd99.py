"""The columns of KDD Cup 1999: 38 numbers and 3 symbols, their order, and how a row of them is packed.

The vocabularies are those of the KDD'99 and NSL-KDD training files; no test file was read.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.tables import Numeric, Rows, Symbolic

SYMBOLIC: Final = (
    Symbolic("protocol_type", ("icmp", "tcp", "udp")),
    Symbolic(
        "service",
        tuple(
            """IRC X11 Z39_50 aol auth bgp courier csnet_ns ctf daytime discard domain domain_u echo eco_i
            ecr_i efs exec finger ftp ftp_data gopher harvest hostnames http http_2784 http_443 http_8001
            imap4 iso_tsap klogin kshell ldap link login mtp name netbios_dgm netbios_ns netbios_ssn netstat
            nnsp nntp ntp_u other pm_dump pop_2 pop_3 printer private red_i remote_job rje shell smtp sql_net
            ssh sunrpc supdup systat telnet tftp_u tim_i time urh_i urp_i uucp uucp_path vmnet
            whois""".split()
        ),
    ),
    Symbolic("flag", ("OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "S0", "S1", "S2", "S3", "SF", "SH")),
)

NUMERIC: Final = (
    Numeric("duration"),
    Numeric("src_bytes"),
    Numeric("dst_bytes"),
    Numeric("land"),
    Numeric("wrong_fragment"),
    Numeric("urgent"),
    Numeric("hot"),
    Numeric("num_failed_logins"),
    Numeric("logged_in"),
    Numeric("num_compromised"),
    Numeric("root_shell"),
    Numeric("su_attempted"),
    Numeric("num_root"),
    Numeric("num_file_creations"),
    Numeric("num_shells"),
    Numeric("num_access_files"),
    Numeric("num_outbound_cmds"),
    Numeric("is_host_login"),
    Numeric("is_guest_login"),
    Numeric("count"),
    Numeric("srv_count"),
    Numeric("serror_rate", is_rate=True),
    Numeric("srv_serror_rate", is_rate=True),
    Numeric("rerror_rate", is_rate=True),
    Numeric("srv_rerror_rate", is_rate=True),
    Numeric("same_srv_rate", is_rate=True),
    Numeric("diff_srv_rate", is_rate=True),
    Numeric("srv_diff_host_rate", is_rate=True),
    Numeric("dst_host_count"),
    Numeric("dst_host_srv_count"),
    Numeric("dst_host_same_srv_rate", is_rate=True),
    Numeric("dst_host_diff_srv_rate", is_rate=True),
    Numeric("dst_host_same_src_port_rate", is_rate=True),
    Numeric("dst_host_srv_diff_host_rate", is_rate=True),
    Numeric("dst_host_serror_rate", is_rate=True),
    Numeric("dst_host_srv_serror_rate", is_rate=True),
    Numeric("dst_host_rerror_rate", is_rate=True),
    Numeric("dst_host_srv_rerror_rate", is_rate=True),
)

SYMBOLIC_NAMES: Final = tuple(column.name for column in SYMBOLIC)
NUMERIC_NAMES: Final = tuple(column.name for column in NUMERIC)

# The column order of the KDD'99 and NSL-KDD files: the symbols stand second to fourth.
KDD_COLUMNS: Final = (NUMERIC_NAMES[0], *SYMBOLIC_NAMES, *NUMERIC_NAMES[1:])

# One event as it is kept: 38 float32 numbers, 3 symbol codes, one byte of padding. 156 bytes.
ROW: Final = np.dtype(
    [("numbers", "<f4", (len(NUMERIC),)), ("codes", "u1", (len(SYMBOLIC),)), ("pad", "u1")], align=False
)


def _digest() -> bytes:
    table = {
        "symbolic": [[column.name, list(column.symbols)] for column in SYMBOLIC],
        "numeric": [[column.name, column.is_rate] for column in NUMERIC],
        "row": str(ROW.descr),
    }
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).digest()


TABLE_DIGEST: Final = _digest()
"""SHA-256 of the table above: names, order, vocabularies and packing. 32 bytes."""


def pack_rows(numbers: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8]) -> Rows:
    """Pack columns, numbers (N, 38) and codes (N, 3), into (N,) rows."""
    rows = np.zeros(len(numbers), ROW)
    rows["numbers"] = numbers
    rows["codes"] = codes
    return rows
