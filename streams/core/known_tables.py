"""The feature tables that models of this version may name: a new one is added here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from streams.core.flow.table import FLOW
from streams.core.kdd99 import KDD99
from streams.core.tables import FeatureTable

TABLES: Final[Mapping[str, FeatureTable]] = MappingProxyType({table.name: table for table in (KDD99, FLOW)})
"""By name."""
