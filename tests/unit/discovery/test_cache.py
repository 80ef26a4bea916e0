from fairlead.discovery.cache import NOTHING, Shelf, WireCache
from fairlead.discovery.names import Tables


def read(cache, key):
    return next(cache.entries.get(key, NOTHING), None)


def made(tables, shelf=None):
    cache = WireCache(tables, ("n",), shelf or Shelf())
    cache.refresh()
    return cache


def test_a_single_answer_is_kept_for_ever():
    cache = made(Tables())
    cache.keep(b"k", (b"a",))
    assert [read(cache, b"k") for _ in range(100)] == [b"a"] * 100 and read(cache, b"other") is None


def test_several_answers_are_drawn_in_turn_after_the_first_and_run_out():
    cache = made(Tables())
    cache.keep(b"k", (b"a", b"b", b"c"))
    assert [read(cache, b"k") for _ in range(3)] == [b"b", b"c", None]


def test_a_change_in_the_network_drops_the_answers_and_another_network_does_not():
    tables = Tables()
    cache = made(tables)
    cache.keep(b"k", (b"a",))
    tables.register("other", "other", "e", ("x",), "", "")
    assert cache.epoch != tables.epoch
    cache.refresh()
    assert read(cache, b"k") == b"a"
    tables.register("n", "net", "e", ("x",), "", "")
    cache.refresh()
    assert read(cache, b"k") is None and cache.epoch == tables.epoch


def test_the_number_of_answers_is_bounded_for_one_and_for_all():
    tables, shelf = Tables(), Shelf(entries_max=10, total_max=25)
    caches = [made(tables, shelf) for _ in range(4)]
    for number in range(1000):
        caches[number % 4].keep(b"%d" % number, (b"a",))
        assert all(len(cache.entries) <= 10 for cache in caches)
        assert shelf.total == sum(len(cache.entries) for cache in caches) <= 25


def test_closing_gives_the_room_back():
    shelf = Shelf()
    cache = made(Tables(), shelf)
    cache.keep(b"k", (b"a",))
    cache.keep(b"k", (b"a",))
    assert shelf.total == 1
    cache.close()
    assert shelf.total == 0 and not shelf.caches
