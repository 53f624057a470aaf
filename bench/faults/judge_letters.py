"""The laws of dead letters: each poison record has one, byte for byte, with its reason; no other has one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.faults.case import Broken, Case, Law, Letter
from bench.faults.feed import Record
from bench.faults.flow import SERIAL, Place


@dataclass(frozen=True, slots=True)
class Letters:
    broken: Sequence[Broken]
    repeats: int
    judged_us: Mapping[Place, int]


def judge_letters(case: Case) -> Letters:
    broken: list[Broken] = []
    by_place: dict[Place, list[Letter]] = defaultdict(list)
    for letter in case.letters:
        if letter.place is None or letter.place not in case.poison:
            broken.append(Broken(Law.EXTRA, f"a dead letter of {letter.place}: {letter.headers}"))
        else:
            by_place[letter.place].append(letter)
    for place, letters in by_place.items():
        record, _ = case.poison[place]
        wrong = _wrong(case, place, record, letters[0])
        if wrong is not None:
            broken.append(Broken(Law.WRONG_VERDICT, f"the dead letter of {place}: {wrong}"))
        if len({(letter.key, letter.value, letter.headers) for letter in letters}) > 1:
            broken.append(Broken(Law.DIFFERING, f"the dead letters of {place} differ: {letters}"))
    judged_us = {place: min(one.appended_us for one in letters) for place, letters in by_place.items()}
    return Letters(broken, sum(map(len, by_place.values())) - len(by_place), judged_us)


def _wrong(case: Case, place: Place, record: Record, letter: Letter) -> str | None:
    if (letter.key, letter.value) != (record.key, record.value):
        return "key or value are not the record's"
    if letter.headers[:1] != ((SERIAL, str(record.serial).encode()),):
        return "the record's headers are not kept"
    told = dict(letter.headers)
    if told.get("autodeep.reason") != str(record.poison).encode():
        return f"the reason is {told.get('autodeep.reason')!r}, not {record.poison}"
    if told.get("autodeep.id") != case.id_of(place).encode():
        return f"the id is {told.get('autodeep.id')!r}, not {case.id_of(place)}"
    return None
