-- allocate(weights, caps, budget): whole counts proportional to the weights, none above what a group has; what full groups turn
-- away is offered to the others again, until the budget is met or every group of positive weight is full.
--   weights: list of numbers from 0 up, one a group, ordered by the groups' ids; a group of weight 0 gets none
--   caps: list of whole numbers: what each group has; budget: whole number; gives whole numbers in the order of `weights`
-- Example: allocate([1, 1, 1], [2, 9, 9], 12) is [2, 5, 5].
-- Source: "weighted allocation" of the catalogue; full groups get their caps, the others the rest by largest remainder.
CREATE MACRO allocate(weights, caps, budget) AS
    list_transform(
        list_transform(
            list_transform(
                -- the groups that fill up first stand first; each knows the weight of itself and all behind it
                [list_reduce(
                    list_reverse(list_sort(list_transform(
                        list_zip(weights::DOUBLE[], caps::BIGINT[]),
                        lambda g, i: {'fills': if(g[1] > 0, g[2] / g[1], 'infinity'::DOUBLE), 'i': i, 'weight': g[1], 'cap': g[2]}
                    ))),
                    lambda state, g: {
                        'behind': state.behind + g.weight,
                        'groups': list_append(state.groups, {'i': g.i, 'weight': g.weight, 'cap': g.cap, 'behind': state.behind + g.weight})
                    },
                    {'behind': 0.0::DOUBLE, 'groups': []::STRUCT(i BIGINT, weight DOUBLE, cap BIGINT, behind DOUBLE)[]}
                ).groups],
                -- full as long as the share of what is unspent reaches the cap; behind the first that is not, none is
                lambda groups: list_reduce(
                    list_reverse(groups),
                    lambda state, g: CASE
                        WHEN state.filling AND g.weight > 0 AND g.weight * state.unspent >= g.cap * g.behind
                            THEN {
                                'filling': true,
                                'unspent': state.unspent - g.cap,
                                'groups': list_append(state.groups, {'i': g.i, 'weight': 0.0::DOUBLE, 'given': g.cap})
                            }
                        ELSE {
                            'filling': false,
                            'unspent': state.unspent,
                            'groups': list_append(state.groups, {'i': g.i, 'weight': g.weight, 'given': 0::BIGINT})
                        }
                    END,
                    {'filling': true, 'unspent': budget::BIGINT, 'groups': []::STRUCT(i BIGINT, weight DOUBLE, given BIGINT)[]}
                )
            ),
            lambda state: {
                'unspent': state.unspent,
                'groups': list_sort(state.groups),
                'open': list_transform(list_sort(state.groups), lambda g: g.weight)
            }
        ),
        lambda state: list_transform(
            list_zip(state.groups, largest_remainder(state.open, if(list_max(state.open) > 0, state.unspent, 0))),
            lambda one: one[1].given + one[2]
        )
    )[1]
