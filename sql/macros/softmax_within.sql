-- softmax_within(x, temperature, by_): exp(x / temperature) as a share of what the answers that share `by_` have together: the
-- chance that a judge by Bradley-Terry (Plackett-Luce) picks this one; draw with sampling_key(seed, generation_id, share).
--   x: number; temperature: above 0; by_: prompt_id, or what else divides the answers into groups of some thousands at most
--   gives a double, null where x is null (nulls have no share)
-- Example: among two answers of a prompt with 0 and 1 they are 0.268941 and 0.731059 at temperature 1.
-- Source: the curation of Ferbach et al., "Self-Consuming Generative Models with Curated Data", arXiv 2407.09499.
CREATE MACRO softmax_within(x, temperature, by_) AS
    list_transform(
        -- each row looks at its whole group: windows cannot be nested, and without the maximum exp would overflow
        [{'own': x::DOUBLE, 't': temperature::DOUBLE, 'all': list_sort(list(x::DOUBLE) FILTER (WHERE x IS NOT NULL) OVER (PARTITION BY by_))}],
        lambda row_: exp((row_.own - list_max(row_.all)) / row_.t)
            / list_aggregate(list_transform(row_.all, lambda one: exp((one - list_max(row_.all)) / row_.t)), 'fsum')
    )[1]
