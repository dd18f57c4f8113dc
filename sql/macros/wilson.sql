-- wilson(share, n, z): the interval {'low', 'high'} of a proportion that was seen as `share` in n trials.
--   share: 0 to 1; n: trials, or for weighted trials their effective number (sum w)^2 / sum w^2; z: 1.96 for 95%
-- Unlike share +- z * stderr it stays within 0 to 1 and does not shrink to a point at 0 of n.
-- Example: wilson(0.1, 20, 1.96).low is 0.0279 and .high is 0.3010.
-- Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
CREATE MACRO wilson(share, n, z) AS
    list_transform(
        [{'p': share::DOUBLE, 'n': n::DOUBLE, 'z': z::DOUBLE}],
        lambda given: list_transform(
            [
                {
                    'middle': (given.p + given.z * given.z / (2 * given.n)) / (1 + given.z * given.z / given.n),
                    'half': given.z * sqrt(given.p * (1 - given.p) / given.n + given.z * given.z / (4 * given.n * given.n))
                    / (1 + given.z * given.z / given.n)
                }
            ],
            lambda made: {'low': greatest(0.0, made.middle - made.half), 'high': least(1.0, made.middle + made.half)}
        )[1]
    )[1]
