"""The rules of a library against a search through all products, written down once more."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emdarks.library import Covariance, Entry, Kind, Request
from emdarks.library.match import Catalogue
from loops import for_each

SETTINGS = ("", "mode=1; hbin=1", "mode=2; hbin=1")
NAN = math.nan


def maybe(values: Any) -> Any:
    return st.one_of(st.just(NAN), values)


DAYS = st.integers(0, 80).map(lambda half_days: 61000 + half_days / 2)


@st.composite
def covariances(draw: Any) -> Covariance | None:
    """Of a random positive semi-definite matrix; none now and then."""
    if draw(st.integers(0, 9)) == 0:
        return None
    numbers = draw(st.lists(st.sampled_from((-2.0, -0.5, 0.0, 0.25, 1.0)), min_size=9, max_size=9))
    root = np.array(numbers).reshape(3, 3)
    c = root @ root.T
    return Covariance(c[0, 0], c[1, 1], c[2, 2], c[0, 1], c[0, 2], c[1, 2])


@st.composite
def entries(draw: Any) -> Entry:
    begin = draw(maybe(DAYS))
    kind = draw(st.sampled_from([Kind.NOISE_MAPS, Kind.DARK, Kind.DARK, Kind.BAD_PIXEL_MAP]))
    certified = draw(st.booleans())
    return Entry(
        path=f"{draw(st.integers(0, 99))}.fits",
        size=1,
        sha256="",
        kind=kind,
        camera=draw(st.sampled_from(("a", "a", "b"))),
        settings=draw(st.sampled_from((*SETTINGS, None))),
        level=draw(st.sampled_from(("", "L1", "L2a"))),
        bias=draw(st.sampled_from(("", "level 100 DN", "level 200 DN"))),
        rows=draw(st.sampled_from((7, 7, 9))),
        columns=8,
        model=draw(st.sampled_from(("full", "one-gain", "one-time"))),
        gain=draw(st.sampled_from((1.0, 50.0, 50.0))),
        exposure_time=draw(st.sampled_from((2.0, 10.0, 10.0))),
        k_gain=draw(st.sampled_from((8.0, 8.0, 9.0))),
        k_gains_used=draw(st.sampled_from(((), (8.0,), (9.0, 7.0)))),
        begin=begin,
        end=begin + draw(st.sampled_from((0.0, 0.25, 1.5))),
        covariance=draw(covariances()),
        temperature=draw(st.sampled_from((NAN, -88.0, -88.0, -88.4, -80.0))),
        made=draw(st.sampled_from(("2026-01-01", "2026-01-02"))),
        certified=certified,
        valid_from=draw(maybe(DAYS)) if certified else NAN,
        valid_to=draw(maybe(DAYS)) if certified else NAN,
        rejected=draw(st.sampled_from(("", "", "", "light"))),
    )


@st.composite
def requests(draw: Any) -> Request:
    return Request(
        kind=draw(st.sampled_from([Kind.DARK, Kind.DARK, Kind.NOISE_MAPS, Kind.BAD_PIXEL_MAP])),
        name="frame.fits",
        camera=draw(st.sampled_from(("a", "a", "b"))),
        settings=draw(st.sampled_from(SETTINGS)),
        level=draw(st.sampled_from(("", "L1", "L2a"))),
        bias=draw(st.sampled_from(("", "level 100 DN"))),
        shapes=draw(st.sampled_from((frozenset({(7, 8)}), frozenset({(7, 8), (9, 8)})))),
        gain=draw(st.sampled_from((1.0, 50.0, 50.2))),
        commanded_gain=draw(st.sampled_from((1.0, 50.0))),
        exposure_time=draw(st.sampled_from((2.0, 10.0))),
        k_gain=8.0,
        in_dn=draw(st.booleans()),
        time=draw(maybe(DAYS)),
        temperature=draw(st.sampled_from((NAN, -88.0, -79.5))),
    )


# Once more, product by product


def may_be(asked: Request, one: Entry) -> bool:
    """Whether a product may be used for a frame, its time aside."""
    kinds = (Kind.DARK, Kind.NOISE_MAPS) if asked.kind is Kind.DARK else (asked.kind,)
    if one.kind not in kinds or one.rejected or one.camera != asked.camera:
        return False
    of_frames = one.kind is not Kind.BAD_PIXEL_MAP
    return read_alike(asked, one) and (not of_frames or of_this_setting(asked, one))


def read_alike(asked: Request, one: Entry) -> bool:
    settings = (one.settings or "") == asked.settings
    if one.kind is Kind.BAD_PIXEL_MAP:  # need not say its settings
        settings = settings or not one.settings
    bias = not (one.bias and asked.bias) or one.bias == asked.bias
    k_gain = not (asked.in_dn and one.k_gains_used) or asked.k_gain in one.k_gains_used
    return settings and bias and k_gain and (one.rows, one.columns) in asked.shapes


def of_this_setting(asked: Request, one: Entry) -> bool:
    if abs(one.temperature - asked.temperature) > 1.0:
        return False
    if one.level and asked.level and (one.level == "L1") != (asked.level == "L1"):
        return False
    if one.kind is Kind.DARK:
        same = (one.gain, one.exposure_time) == (asked.commanded_gain, asked.exposure_time)
        return same and (one.k_gain == asked.k_gain or one.k_gains_used == (asked.k_gain,))
    if one.model == "one-gain":
        return abs(one.gain - asked.gain) <= 0.01 * one.gain
    return one.model == "full" or one.exposure_time == asked.exposure_time


def covers(one: Entry, time: float) -> bool:
    if not one.certified:
        return False
    first = -math.inf if math.isnan(one.valid_from) else one.valid_from
    last = math.inf if math.isnan(one.valid_to) else one.valid_to
    if math.isnan(time):
        return first == -math.inf and last == math.inf
    return first <= time <= last


def days_off(one: Entry, time: float) -> float:
    if one.begin <= time <= one.end:
        return 0
    off = min(abs(time - one.begin), abs(time - one.end))
    return math.floor(off + 0.5) if off == off else math.inf


def error(one: Entry, asked: Request) -> float:
    """By the matrix of covariances and the derivatives of the dark."""
    if asked.kind is Kind.BAD_PIXEL_MAP:
        return 0.0
    if one.covariance is None:
        return math.inf
    c = one.covariance
    matrix = np.array([[c.ff, c.fc, c.fd], [c.fc, c.cc, c.cd], [c.fd, c.cd, c.dd]])
    slope = np.array([1 / asked.gain, 1.0, asked.exposure_time])
    return float(np.sqrt(max(slope @ matrix @ slope, 0.0)))


def exhaustive(products: list[Entry], asked: Request, days: float) -> set[int]:
    """Numbers of the products that may be chosen; several where rounding decides."""
    left = [one for one in products if may_be(asked, one)]
    certified = [one for one in left if covers(one, asked.time)]
    if certified:
        left = certified
    else:
        left = [one for one in left if not one.certified]
        offs = [days_off(one, asked.time) for one in left]
        left = [o for o, off in zip(left, offs, strict=True) if off == min(offs) and off <= days]
    if not left:
        return set()
    errors = [error(one, asked) for one in left]
    least = min(errors)
    best = [o for o, e in zip(left, errors, strict=True) if e <= least + 1e-7]
    surely = [o for o, e in zip(left, errors, strict=True) if e == least]
    if len(best) > len(surely) or least < 1e-6:  # rounding of a root near 0
        return {one.id for one in best}
    return {max(best, key=lambda o: (-math.inf if o.end != o.end else o.end, o.made, o.id)).id}


@settings(max_examples=400)
@given(st.lists(entries(), max_size=25), st.lists(requests(), min_size=1, max_size=4), st.data())
def test_find_is_the_exhaustive_search(
    products: list[Entry], asked: list[Request], data: Any
) -> None:
    products = [replace(entry, id=number) for number, entry in enumerate(products, 1)]
    days = data.draw(st.sampled_from((0.0, 1.0, 5.0, 30.0)))
    catalogue = Catalogue(products)
    for request in asked:
        match = catalogue.find(request, days)
        wanted = exhaustive(products, request, days)
        assert (match.entry.id in wanted) if match.entry else not wanted
        assert bool(match.missing) == (match.entry is None)
        # Rule by rule: each product but the one chosen is left out once, for a reason.
        out = [number for step in match.steps for number in step.out]
        chosen = [] if match.entry is None else [match.entry.id]
        assert sorted(out + chosen) == [entry.id for entry in products]
        left = len(products)
        for step in match.steps:
            left -= len(step.out)
            assert step.left == left
            assert step.words


@given(st.lists(entries(), min_size=1, max_size=12), requests(), st.randoms())
def test_the_choice_does_not_depend_on_the_order(
    products: list[Entry], request: Request, random: Any
) -> None:
    products = [replace(entry, id=number) for number, entry in enumerate(products, 1)]
    shuffled = products.copy()
    random.shuffle(shuffled)
    found = [Catalogue(each).find(request).entry for each in (products, shuffled)]
    assert (found[0] and found[0].id) == (found[1] and found[1].id)


# Each rule, by itself

FRAME = Request(
    kind=Kind.DARK,
    name="frame.fits",
    camera="a",
    settings="mode=1",
    level="L2a",
    bias="level 100 DN",
    shapes=frozenset({(7, 8)}),
    gain=50.0,
    commanded_gain=50.0,
    exposure_time=10.0,
    k_gain=8.0,
    in_dn=True,
    time=61000.25,
    temperature=-88.0,
)
DARK = Entry(
    path="dark.fits",
    size=1,
    sha256="",
    kind=Kind.DARK,
    camera="a",
    settings="mode=1",
    level="L2a",
    bias="level 100 DN",
    rows=7,
    columns=8,
    gain=50.0,
    exposure_time=10.0,
    k_gain=8.0,
    k_gains_used=(8.0,),
    begin=61000.0,
    end=61000.1,
    covariance=Covariance(cc=0.04),
    id=1,
)
MAPS = replace(DARK, kind=Kind.NOISE_MAPS, model="full", gain=NAN, exposure_time=NAN, k_gain=NAN)


def chosen(*products: Entry, request: Request = FRAME, days: float = 30.0) -> Any:
    return Catalogue(products).find(request, days)


@for_each(
    "rule, change, words",
    [
        ("kind", {"kind": Kind.K_GAIN}, "1 k-gain"),
        ("rejected", {"rejected": "light"}, "1 rejected: light"),
        ("camera", {"camera": "b"}, "1 of camera b"),
        ("settings", {"settings": "mode=2"}, "1 read with mode=2"),
        ("settings", {"settings": "hbin=1"}, "1 read with hbin=1"),
        ("settings", {"settings": None}, "1 does not say mode=1"),
        ("level", {"level": "L1"}, "1 made of frames of level L1"),
        ("bias", {"bias": "nothing"}, "1 bias subtracted: nothing"),
        ("shape", {"rows": 9}, "1 9 x 8 pixels"),
        ("k-gain", {"k_gains_used": (7.0,)}, "1 made with k-gain 7"),
        ("gain and time", {"gain": 40.0}, "1 EM gain 40"),
        ("gain and time", {"exposure_time": 10.1}, "1 exposure time 10.1"),
        ("gain and time", {"gain": NAN}, "1 no EM gain"),
        ("gain and time", {"k_gain": 9.0, "k_gains_used": ()}, "1 k-gain 9"),
        ("temperature", {"temperature": -80.0}, "1 taken at -80.0 degrees, the frame at -88.0"),
        ("time", {"begin": 60900.0, "end": 60900.0}, "none was taken within 30 days"),
        ("time", {"begin": NAN, "end": NAN}, "none says its time"),
        ("time", {"certified": True, "valid_to": 61000.0}, "1 certified for other times"),
    ],
)
def test_each_rule_leaves_out_and_says_why(rule: str, change: dict[str, Any], words: str) -> None:
    assert chosen(DARK).entry == DARK
    match = chosen(replace(DARK, **change))
    assert match.entry is None
    assert [step.rule for step in match.steps if step.out] == [rule]
    assert words in next(step.words for step in match.steps if step.out)
    assert "emdarks noisemaps DARKS --add DIR" in match.missing
    assert "emdarks dark DARKS --gain 50 --exptime 10 --add DIR" in match.missing


def test_darks_counted_above_other_thresholds_do_not_serve() -> None:
    low, high = (replace(DARK, kind=Kind.COUNTED_DARK, threshold=t) for t in (800.0, 900.0))
    asked = replace(FRAME, kind=Kind.COUNTED_DARK)
    low, high = replace(low, id=1), replace(high, id=2)
    assert Catalogue([low, high]).find(replace(asked, threshold=900.0)).entry == high
    assert Catalogue([low, high]).find(replace(asked, threshold=850.0)).entry is None
    match = Catalogue([low, high]).find(asked)
    assert match.entry is None
    assert (
        "counted above 800 and 900 EM electrons: say which (emdarks library find" in match.missing
    )
    assert "--photon-counting --add DIR" in match.missing
    assert Catalogue([low]).find(asked).entry == low


def test_two_maps_serve_their_own_gain_or_time() -> None:
    one_gain = replace(MAPS, model="one-gain", gain=50.2)
    assert chosen(one_gain).entry == one_gain  # measured gains of one commanded gain differ
    assert chosen(replace(one_gain, gain=60.0)).entry is None
    one_time = replace(MAPS, model="one-time", exposure_time=10.0)
    assert chosen(one_time).entry == one_time
    assert chosen(replace(one_time, exposure_time=11.0)).entry is None


def test_maps_and_darks_are_compared_by_the_error_at_the_gain_and_time_of_the_frame() -> None:
    # s = sqrt(F/g^2 + C + t^2 D + 2 (FC + t FD)/g + 2 t CD) = 0.19 here, and 0.2 of the dark.
    c = Covariance(ff=25.0, cc=0.02, dd=1e-4, fc=-0.05, fd=-0.01, cd=1e-5)
    by_hand = math.sqrt(25 / 2500 + 0.02 + 100 * 1e-4 + 2 * (-0.05 - 0.1) / 50 + 20 * 1e-5)
    maps = replace(MAPS, covariance=c, id=2)
    assert c.error(50.0, 10.0) == by_hand
    match = chosen(DARK, maps)
    assert match.entry == maps
    assert match.predicted_error == by_hand
    assert f"smallest error of the dark, {by_hand:.4g} e- (the next 0.2 e-)" in str(match.steps)
    longer = replace(FRAME, exposure_time=20.0), replace(DARK, exposure_time=20.0)
    assert chosen(longer[1], maps, request=longer[0]).entry == longer[1]


def test_a_certified_product_comes_first_and_is_not_used_outside() -> None:
    near, far = DARK, replace(DARK, id=2, begin=60000.0, end=60000.0)
    certified = replace(far, certified=True, valid_from=60999.0)
    assert chosen(near, far).entry == near
    assert chosen(near, certified).entry == certified
    assert chosen(near, replace(certified, valid_from=61001.0)).entry == near
    assert chosen(replace(certified, valid_from=61001.0)).entry is None
    assert chosen(near, certified, request=replace(FRAME, time=NAN)).entry is None
    anytime = replace(certified, valid_from=NAN)
    assert chosen(near, anytime, request=replace(FRAME, time=NAN)).entry == anytime


def test_the_nearest_in_time_is_that_of_the_same_night() -> None:
    """Distances count in whole days: within a night the predicted error decides."""
    tonight = replace(DARK, begin=61000.0, end=61000.1)
    better = replace(tonight, id=2, begin=61000.6, end=61000.7, covariance=Covariance(cc=0.03))
    last_night = replace(tonight, id=3, begin=60999.0, end=60999.1, covariance=Covariance())
    match = chosen(tonight, better, last_night)
    assert match.entry == better
    assert "2 of 3 the nearest in time, 0 days off" in str(match.steps)
    assert chosen(last_night, days=0.5).entry is None


def test_ties_go_to_the_newest() -> None:
    older = replace(DARK, id=9)
    newer = replace(DARK, id=3, end=61000.2)
    made_again = replace(older, id=2, made="2027-01-01")
    assert chosen(newer, older, made_again).entry == newer
    assert chosen(older, made_again).entry == made_again
    assert chosen(older, replace(older, id=10)).entry.id == 10


def test_of_maps_the_bias_offset_alone_may_be_wanted() -> None:
    """Of any gain, shape, level and k-gain."""
    wanted = replace(FRAME, kind=Kind.NOISE_MAPS)
    other = {"rows": 99, "level": "L1", "bias": "nothing", "k_gains_used": (7.0,)}
    maps = replace(MAPS, model="one-gain", gain=3.0, **other)
    assert chosen(maps, request=wanted).entry is None
    assert chosen(maps, request=replace(wanted, offset_only=True)).entry == maps
    assert chosen(DARK, request=replace(wanted, offset_only=True)).entry is None


def test_maps_beyond_their_stacks_are_said_to_be() -> None:
    maps = replace(MAPS, lowest_gain=1.0, highest_gain=20.0, longest_time=2.0)
    beyond = chosen(maps).beyond
    assert "EM gain 50 is outside the gains of the maps, 1 to 20" in beyond
    assert "exposure time 10 s is far above the longest of the maps, 2 s" in beyond
    assert chosen(replace(maps, highest_gain=60.0, longest_time=9.0)).beyond == ""


def test_an_empty_library_says_what_would_make_what_is_missing() -> None:
    assert "emdarks noisemaps DARKS --add DIR" in chosen().missing
    wanted = replace(FRAME, kind=Kind.NONLINEARITY)
    assert "emdarks library add DIR FILE" in chosen(request=wanted).missing
