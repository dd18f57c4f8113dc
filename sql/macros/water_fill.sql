-- water_fill(sizes, budget): how many rows each group gives when all give the same number, as far as they have it.
-- Groups from the smallest: with m groups left and B unspent, a group gives min(size, floor(B / m)). What groups larger than
-- the budget allows cannot share evenly goes to the largest; where all groups together are smaller, the rest stays unspent.
--   sizes: list of whole numbers, one a group; equal sizes count in the order of the list, so order it by the groups' ids
--   budget: whole number; gives a list of whole numbers in the order of `sizes`
-- Example: water_fill([3, 10, 50, 100], 60) is [3, 10, 23, 24].
-- Source: balanced selection of S2L (Yang et al., arXiv 2403.07384) and uniform-by-source of Diversify-and-Conquer (2409.11378).
CREATE MACRO water_fill(sizes, budget) AS
    list_transform(
        list_sort(
            list_reduce(
                list_sort(list_transform(sizes, lambda n, i: {'n': n::BIGINT, 'i': i::BIGINT})),
                lambda state, one: {
                    'unspent': state.unspent - least(one.n, state.unspent // state.groups),
                    'groups': state.groups - 1,
                    'given': list_append(state.given, {'i': one.i, 'n': least(one.n, state.unspent // state.groups)})
                },
                {'unspent': budget::BIGINT, 'groups': len(sizes)::BIGINT, 'given': []::STRUCT(i BIGINT, n BIGINT)[]}
            ).given
        ),
        lambda one: one.n
    )
