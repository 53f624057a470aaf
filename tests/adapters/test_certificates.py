"""When certificates end, as metrics and the doctor tell it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from streams.adapters.certificates import first_ends_s, in_file
from streams.embedded.certificates import Authority
from streams.errors import SettingsError


def test_of_a_file_the_certificate_that_ends_first_counts(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("client", valid_for=datetime.timedelta(hours=1))
    chain = str(issued.chain_file)
    ours, authoritys = (one.ends_s for one in in_file(chain))
    assert ours < authoritys
    assert first_ends_s([chain]) == {chain: ours}


def test_a_file_that_cannot_be_read_just_now_has_no_end_and_the_others_have(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    half_written = tmp_path / "half.pem"
    half_written.write_text("-----BEGIN CERTIFICATE-----\n")
    files = [str(half_written), str(tmp_path / "gone.pem"), str(authority.ca_file)]
    assert list(first_ends_s(files)) == [str(authority.ca_file)]
    with pytest.raises(SettingsError, match=r"half\.pem"):
        in_file(str(half_written))
