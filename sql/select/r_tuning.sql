-- R-Tuning: every prompt trains with its gold answer, followed by a question whether that is sure and the verdict of what the
-- policy knew: "sure" where its own answer was right, "unsure" where not; or a refusal takes the place of an unknown answer.
--   $split = "supervised"  how a prompt is known: supervised: by its first answer (ask greedily, once); entropy: by how far its
--                          answers differ, the half of the prompts with the lower entropy (rounded down) counts as known
--   $match = "contains"    supervised: contains: the gold text stands in the answer; equals: it is the answer; score: by the
--                          verifiers, score >= $min_score
--   $min_score = 1.0       score from which an answer is right
--   $cut = "."             an answer ends before this text; "": it is taken whole, as numbers with a point need it
--   $mode = "unsure"       unsure: the question and verdict stand behind the gold answer; unknown: known prompts train with their
--                          gold answer alone, unknown ones with a refusal
--   $target = "gold"       the answer that trains: gold, or majority: the policy's most frequent one (entropy needs no gold then)
--   $gold = null           JSON path in prompts.meta to the gold answer, such as "$.solution"; null: prompts.reference
--   $gold_form = "{gold}"  text around the gold answer where it trains
--   $ask = "Are you sure that this answer is right?"  the question behind the answer
--   $sure = "I am sure."   verdict on what is known
--   $unsure = "I am unsure."  and on what is not
--   $refusals = null       sentences that mode unknown draws from, a list
-- Source: Zhang et al., "R-Tuning: Instructing Large Language Models to Say 'I Don't Know'", arXiv 2311.09677, and the code
-- shizhediao/R-Tuning. Three slips of the code are not repeated: an answer without a period loses its last character there, an
-- empty gold text matches every answer, and of all entropies only the last is kept.
WITH told AS (
    SELECT
        prompt_id,
        generation_id,
        sample,
        score,
        trim(if($cut = '', response, split_part(response, $cut, 1)), concat(' ', chr(9), chr(10), chr(13))) AS said
    FROM scored
),

counts AS (
    SELECT
        prompt_id,
        said,
        count(generation_id) AS n,
        count(generation_id) / sum(count(generation_id)) OVER (PARTITION BY prompt_id) AS share,
        min(sample) AS earliest
    FROM told
    GROUP BY prompt_id, said
),

spread AS (
    SELECT
        prompt_id,
        sum(n) AS answers,
        -- rounded: equal frequencies in another order are equal
        round(abs(fsum(share * ln(share))), 12) AS entropy,
        arg_max(said, {'n': n, 'first': -earliest}) AS majority
    FROM counts
    GROUP BY prompt_id
),

first_said AS (
    SELECT *
    FROM told
    QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY sample, generation_id) = 1
),

judged AS (
    SELECT
        p.prompt_id,
        p.messages,
        s.entropy,
        s.answers,
        CASE $split
            WHEN 'entropy' THEN row_number() OVER (ORDER BY s.entropy, p.prompt_id) <= count(p.prompt_id) OVER () // 2
            WHEN 'supervised'
                THEN CASE $match
                    WHEN 'contains' THEN contains(f.said, gold_answer(p.prompt_id, p.meta, p.reference, $gold, '{gold}'))
                    WHEN 'equals' THEN f.said = gold_answer(p.prompt_id, p.meta, p.reference, $gold, '{gold}')
                    WHEN 'score' THEN coalesce(f.score >= $min_score, false)
                    ELSE error(format('match: expected contains, equals or score, found {}', $match))::BOOLEAN
                END
            ELSE error(format('split: expected supervised or entropy, found {}', $split))::BOOLEAN
        END AS known,
        CASE $target
            WHEN 'gold' THEN gold_answer(p.prompt_id, p.meta, p.reference, $gold, $gold_form)
            WHEN 'majority' THEN s.majority
            ELSE error(format('target: expected gold or majority, found {}', $target))::VARCHAR
        END AS answer
    FROM first_said AS f
    INNER JOIN spread AS s ON s.prompt_id = f.prompt_id
    INNER JOIN prompts AS p ON p.prompt_id = f.prompt_id AND p.split = 'train'
)

SELECT
    prompt_id,
    CASE
        WHEN $mode = 'unsure'
            THEN list_concat(
                demonstration(messages, answer, $target),
                [
                    {'role': 'user', 'content': $ask, 'origin': 'prompt', 'weight': 0.0::DOUBLE},
                    {'role': 'assistant', 'content': if(known, $sure, $unsure), 'origin': 'given', 'weight': 1.0::DOUBLE}
                ]
            )
        WHEN $mode <> 'unknown' THEN error(format('mode: expected unsure or unknown, found {}', $mode))
        WHEN known THEN demonstration(messages, answer, $target)
        WHEN coalesce(len($refusals::VARCHAR[]), 0) = 0
            THEN error('mode unknown draws from refusals, a list of sentences, and there are none')
        ELSE demonstration(
            messages, ($refusals::VARCHAR[])[1 + floor(draw($seed, prompt_id) * len($refusals::VARCHAR[]))::BIGINT], 'refusal'
        )
    END AS messages,
    if(known, 'certain', 'uncertain') AS label,
    CASE WHEN known OR $mode = 'unsure' THEN if($target = 'gold', 'gold', 'generation') ELSE 'refined' END AS origin,
    CASE
        WHEN $split = 'entropy' THEN format('entropy {:.4f} nats of {} answers, {:s} half', entropy, answers, if(known, 'lower', 'upper'))
        WHEN $match = 'score' THEN format('the first answer is {:s}', if(known, 'right', 'not right'))
        ELSE format('the first answer {:s} the gold one', if(known, $match, if($match = 'equals', 'is not', 'does not contain')))
    END AS reason
FROM judged
