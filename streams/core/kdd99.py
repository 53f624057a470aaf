"""The columns of KDD Cup 1999: 38 numbers and 3 symbols, their order, and how a row of them is packed.

The vocabularies are those of the KDD'99 and NSL-KDD training files; no test file was read.
"""

from __future__ import annotations

from typing import Final

from streams.core.tables import FeatureTable, Numeric, Symbolic

_SYMBOLIC: Final = (
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

_NUMERIC: Final = (
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

KDD99: Final = FeatureTable(
    name="kdd99",
    numeric=_NUMERIC,
    symbolic=_SYMBOLIC,
    # The order of the KDD'99 and NSL-KDD files: the symbols stand second to fourth.
    file_columns=(
        _NUMERIC[0].name,
        *(column.name for column in _SYMBOLIC),
        *(column.name for column in _NUMERIC[1:]),
    ),
)
"""A row is 38 float32 numbers, 3 symbol codes and one byte of padding: 156 bytes."""
