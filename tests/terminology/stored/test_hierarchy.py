"""Numbers and interval labels say what a walk along the parents says."""

from hypothesis import given
from hypothesis import strategies as st

from app.terminology.stored import bits
from app.terminology.stored.hierarchy import arrange, cycle


@st.composite
def graphs(draw):
    """Parents of each position, without cycles, in any order of positions."""
    size = draw(st.integers(1, 14))
    order = draw(st.permutations(range(size)))
    parents = [()] * size
    for place in range(1, size):
        above = draw(st.lists(st.integers(0, place - 1), max_size=3, unique=True))
        parents[order[place]] = tuple(order[one] for one in above)
    return parents


def above(parents, position):
    return {position}.union(*(above(parents, up) for up in parents[position]))


@given(graphs())
def test_below_is_what_has_it_above(parents):
    order = arrange(parents)

    for position, n in enumerate(order.numbers):
        found = bits.span(n, order.last[n]) | bits.spans(order.spans.get(n, ()))
        assert {order.positions[m] for m in bits.members(found)} == {
            other for other in range(len(parents)) if position in above(parents, other)
        }


@given(graphs())
def test_a_graph_without_a_cycle_has_none(parents):
    assert cycle(parents) == []


@given(graphs(), st.data())
def test_a_cycle_is_found_and_is_one(parents, data):
    start = data.draw(st.integers(0, len(parents) - 1))
    top = data.draw(st.sampled_from(sorted(above(parents, start))))
    parents[top] = (*parents[top], start)

    found = cycle(parents)

    assert found
    assert all(set(parents[position]) & set(found) for position in found)


SETS = st.sets(st.integers(0, 200_000), max_size=40)


@given(SETS)
def test_sets_come_back_from_their_blocks(numbers):
    blocks = {}
    for n in sorted(numbers):
        blocks.setdefault(n // bits.BLOCK, []).append(n % bits.BLOCK)

    packed = [(number, bits.packed(members)) for number, members in blocks.items()]

    found = bits.union(packed)
    assert set(bits.members(found)) == numbers == set(bits.members(bits.of(numbers, 200_001)))
    for number, block in packed:
        assert list(bits.unpacked(block)) == blocks[number]
        assert all(bits.holds(block, n) for n in blocks[number])
        assert bits.holds(block, 7) is (7 in blocks[number])


def test_full_blocks_are_kept_as_bits():
    many = list(range(0, bits.BLOCK, 3))
    block = bits.packed(many)

    assert len(block) == bits.BLOCK // 8
    assert list(bits.unpacked(block)) == many
    assert bits.holds(block, 3)
    assert not bits.holds(block, 4)
    assert list(bits.members(bits.union([(1, block), (1, bits.packed([1]))]))) == sorted(
        [bits.BLOCK + 1, *(bits.BLOCK + n for n in many)]
    )


@given(SETS, st.integers(0, 50))
def test_a_page_begins_after_so_many(numbers, count):
    found = bits.after(bits.of(numbers, 200_001), count)

    assert list(bits.members(found)) == sorted(numbers)[count:]
