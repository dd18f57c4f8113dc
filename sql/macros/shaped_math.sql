-- shaped_math(reward, verified, alpha): sigmoid(alpha * reward) + verified - 1: every right answer lies in (0, 1), every wrong
-- one in (-1, 0), and among each of them the reward model decides.
--   reward: number of a reward model; verified: 1 right, 0 wrong; alpha: steepness, 0.5 in the paper; null where one is null
-- Example: shaped_math(2, 1, 0.5) is 0.731059, shaped_math(3, 0, 0.5) is -0.182426.
-- Source: Yang et al., "Qwen2.5-Math Technical Report", arXiv 2409.12122, the reward of its GRPO stage.
CREATE MACRO shaped_math(reward, verified, alpha) AS
    sigmoid(alpha::DOUBLE * reward::DOUBLE) + (verified::DOUBLE - 1.0::DOUBLE)
