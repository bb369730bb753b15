-- Purpose:    how effective each unit of enforcement is, in one figure a month, and the five that it comes from.
-- Inputs:     indicators, aspect_weights, reported_indicators, units; and what other rules measure: unit_coverages,
--             unit_case_months, chains, rectification_rates, unit_training_months.
-- Outputs:    sink effectiveness_index (upsert by unit_id and month): the index, the five aspects, rank and number of
--             peers.
--             sink indicator_scores (upsert by unit_id, month and indicator_id): where it comes from.
--             sink indicator_faults (upsert by unit_id, month and indicator_id): reports that count nowhere.
--             sink weight_faults (upsert by effective_from): weights that do not make 1. Consumers: the provincial
--             supervision application, unit leaders.
-- Rules:      the score of an indicator is 100 times how far its value reaches the target, 100 at most; where less is
--             better, how far the target reaches the value. An aspect is the mean of its indicators by weight, the index
--             the mean of the five aspects by theirs. Definitions and weights are those in force when the month begins, so
--             that none changes what has begun. What this pack measures is not taken from reports (measured_here), so that
--             nobody's word stands against it; a report may be of no known indicator or unit (unknown_indicator,
--             unknown_unit), or of impossible figures (out_of_range). An index needs all five aspects, and every indicator
--             that concerns the unit and is not measured here must have been reported; who leaves a bad one out has no
--             index (incomplete). Rank 1 has the greatest index among the units of the kind; equal ones share a rank.
-- Thresholds: indicators (weights, targets), aspect_weights; a fifth each where none are in force. Weights that do not make
--             1 (to a billionth) yield no index until they are corrected.
-- Limits:     measured indicators: inspection_coverage, general_procedure_share, cases_standing, evidence_intact,
--             findings_rectified, training_hours (hours an officer trained). One without a denominator in a month is left
--             out.

CREATE VIEW case_chains AS
SELECT c.unit_id, year_month(c.opened_at) AS month, h.state
FROM cases AS c
JOIN chains AS h ON h.case_id = c.case_id;

CREATE TABLE measured_indicators (PRIMARY KEY (unit_id, month, indicator_id)) AS
SELECT
    unit_id, month, 'inspection_coverage' AS indicator_id,
    CAST(done AS DOUBLE) AS numerator, CAST(planned AS DOUBLE) AS denominator
FROM unit_coverages
UNION ALL
SELECT unit_id, month, 'general_procedure_share', CAST(general_cases AS DOUBLE), CAST(cases AS DOUBLE) FROM unit_case_months
UNION ALL
SELECT unit_id, month, 'cases_standing', CAST(cases - reversed_cases AS DOUBLE), CAST(cases AS DOUBLE) FROM unit_case_months
UNION ALL
SELECT unit_id, month, 'evidence_intact', CAST(count(*) FILTER (WHERE state = 'intact') AS DOUBLE), CAST(count(*) AS DOUBLE)
FROM case_chains GROUP BY unit_id, month
UNION ALL
SELECT unit_id, month, 'findings_rectified', CAST(in_time AS DOUBLE), CAST(due AS DOUBLE) FROM rectification_rates
UNION ALL
SELECT unit_id, month, 'training_hours', hours, CAST(officers AS DOUBLE) FROM unit_training_months;

CREATE VIEW known_indicators AS SELECT DISTINCT indicator_id FROM indicators;

CREATE TABLE judged_reports (PRIMARY KEY (unit_id, month, indicator_id)) AS
SELECT
    r.unit_id, r.month, r.indicator_id, r.numerator, r.denominator,
    CASE
        WHEN r.indicator_id IN ('inspection_coverage', 'general_procedure_share', 'cases_standing', 'evidence_intact',
            'findings_rectified', 'training_hours') THEN 'measured_here'
        WHEN k.indicator_id IS NULL THEN 'unknown_indicator'
        WHEN u.unit_id IS NULL THEN 'unknown_unit'
        WHEN r.denominator <= 0 OR r.numerator < 0 OR NOT regexp_like(r.month, '^[0-9]{4}-(0[1-9]|1[0-2])$') THEN 'out_of_range'
    END AS reason
FROM reported_indicators AS r
LEFT JOIN known_indicators AS k ON k.indicator_id = r.indicator_id
LEFT JOIN units AS u ON u.unit_id = r.unit_id;

CREATE SINK indicator_faults WITH (topic = 'indicator-faults', format = 'json', count_by = 'reason') AS
SELECT unit_id, month, indicator_id, reason FROM judged_reports WHERE reason IS NOT NULL;

CREATE VIEW indicator_values AS
SELECT unit_id, month, indicator_id, numerator, denominator, 0 AS reported FROM measured_indicators WHERE denominator > 0
UNION ALL
SELECT unit_id, month, indicator_id, numerator, denominator, 1 FROM judged_reports WHERE reason IS NULL;

-- === scores ===

CREATE TABLE scored_indicators (PRIMARY KEY (unit_id, month, indicator_id)) AS
SELECT
    v.unit_id, v.month, v.indicator_id, v.unit_kind, v.month_start, v.reported, i.aspect, i.weight, i.target,
    v.numerator, v.denominator, v.numerator / v.denominator AS value,
    100 * CASE
        WHEN i.less_is_better AND v.numerator / v.denominator <= i.target THEN 1
        WHEN i.less_is_better THEN i.target * v.denominator / v.numerator
        WHEN v.numerator / v.denominator >= i.target THEN 1
        ELSE v.numerator / v.denominator / i.target
    END AS score
FROM (
    SELECT v.*, u.unit_kind, TRY_CAST(v.month || '-01' AS TIMESTAMP WITH TIME ZONE) AS month_start
    FROM indicator_values AS v
    JOIN units AS u ON u.unit_id = v.unit_id
) AS v
JOIN indicators FOR SYSTEM_TIME AS OF v.month_start AS i ON i.indicator_id = v.indicator_id
WHERE i.weight > 0 AND coalesce(i.unit_kind = v.unit_kind, true);

CREATE SINK indicator_scores WITH (topic = 'indicator-scores', format = 'json') AS
SELECT unit_id, month, indicator_id, aspect, numerator, denominator, value, target, weight, score FROM scored_indicators;

CREATE VIEW unit_months AS
SELECT
    unit_id, month, min(unit_kind) AS unit_kind, min(month_start) AS month_start, sum(reported) AS reported,
    sum(CASE WHEN aspect = 'team_building' THEN weight * score END)
        / sum(CASE WHEN aspect = 'team_building' THEN weight END) AS team_building,
    sum(CASE WHEN aspect = 'performance' THEN weight * score END)
        / sum(CASE WHEN aspect = 'performance' THEN weight END) AS performance,
    sum(CASE WHEN aspect = 'coordination' THEN weight * score END)
        / sum(CASE WHEN aspect = 'coordination' THEN weight END) AS coordination,
    sum(CASE WHEN aspect = 'norms' THEN weight * score END)
        / sum(CASE WHEN aspect = 'norms' THEN weight END) AS norms,
    sum(CASE WHEN aspect = 'effects' THEN weight * score END)
        / sum(CASE WHEN aspect = 'effects' THEN weight END) AS effects
FROM scored_indicators
GROUP BY unit_id, month;

-- === completeness ===

CREATE VIEW indicator_spans AS
SELECT
    indicator_id, unit_kind, weight, effective_from, 1 AS every,
    lead(effective_from) OVER (PARTITION BY indicator_id ORDER BY effective_from) AS next_from
FROM indicators;

CREATE VIEW kind_months AS
SELECT DISTINCT unit_kind, month, month_start, 1 AS every FROM scored_indicators;

CREATE VIEW expected_reports AS
SELECT k.unit_kind, k.month, count(*) AS expected
FROM kind_months AS k
JOIN indicator_spans AS s
    ON s.every = k.every AND s.effective_from <= k.month_start AND coalesce(s.next_from > k.month_start, true)
    AND coalesce(s.unit_kind = k.unit_kind, true)
WHERE s.weight > 0
    AND s.indicator_id NOT IN ('inspection_coverage', 'general_procedure_share', 'cases_standing', 'evidence_intact',
        'findings_rectified', 'training_hours')
GROUP BY k.unit_kind, k.month;

-- === index ===

CREATE VIEW summed_weights AS
SELECT *, team_building + performance + coordination + norms + effects AS total FROM aspect_weights;

CREATE SINK weight_faults WITH (topic = 'weight-faults', format = 'json') AS
SELECT effective_from, total FROM summed_weights WHERE abs(total - 1) > 1e-9;

CREATE VIEW weighted_months AS
SELECT
    m.unit_id, m.month, m.unit_kind, m.team_building, m.performance, m.coordination, m.norms, m.effects,
    m.reported, coalesce(e.expected, 0) AS expected,
    CASE WHEN m.reported = coalesce(e.expected, 0)
            AND abs(coalesce(w.team_building + w.performance + w.coordination + w.norms + w.effects, 1) - 1) <= 1e-9 THEN
        coalesce(w.team_building, 0.2) * m.team_building + coalesce(w.performance, 0.2) * m.performance
        + coalesce(w.coordination, 0.2) * m.coordination + coalesce(w.norms, 0.2) * m.norms
        + coalesce(w.effects, 0.2) * m.effects
    END AS effectiveness
FROM unit_months AS m
LEFT JOIN expected_reports AS e ON e.unit_kind = m.unit_kind AND e.month = m.month
LEFT JOIN aspect_weights FOR SYSTEM_TIME AS OF m.month_start AS w ON TRUE;

CREATE SINK effectiveness_index WITH (topic = 'effectiveness-index', format = 'json') AS
SELECT
    unit_id, month, unit_kind, effectiveness, effectiveness IS NULL AS incomplete,
    team_building, performance, coordination, norms, effects, reported, expected,
    CASE WHEN effectiveness IS NOT NULL THEN
        rank() OVER (PARTITION BY unit_kind, month, effectiveness IS NULL ORDER BY round(effectiveness, 6) DESC)
    END AS rank,
    count(effectiveness) OVER (PARTITION BY unit_kind, month) AS peers
FROM weighted_months;
