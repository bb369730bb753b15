-- Purpose:    how people judge enforcement, by brigade, officer and situation; and officers of whom it is suddenly said to be bad.
-- Inputs:     accepted_evaluations, report_periods, evaluation_policy.
-- Outputs:    sink evaluation_statistics (upsert by period, dimension and key; consumers: brigades, the province), sink officer_rises
--             (append, issued and withdrawn, proposals until somebody looks; consumer: the detachment's supervision).
-- Rules:      periods are calendar months of submitted_at, and the rows of report_periods. A row of fewer than n_min evaluations says that it
--             is suppressed and no number. The rate is dissatisfied / evaluations. A rise: the dissatisfied evaluations of an
--             officer's month are at least rise_min, of at least persons_min people, and less likely than rise_p / officers under a
--             Poisson distribution whose mean is evaluations x rate, where officers are those of whom anything was said in the
--             month, so that among many not one is named by chance alone. The rate is that of the officer in the
--             baseline_months before, shrunk to that of all officers then by prior_weight. Without anybody's baseline there is
--             no rise.
-- Thresholds: evaluation_policy when the period begins; 10 evaluations, 6 months, weight 10, 5 dissatisfied, 3 people, 0.05 where none is
--             in force.
-- Limits:     a row that is suppressed can be told from a sum when all others of it are shown: sums by brigade are not the sum of officers
--             where a document names none, but nothing more is done about it.

-- === by period ===

CREATE VIEW period_evaluations AS
SELECT
    year_month(submitted_at) AS period, month_started_at AS period_started_at,
    evaluation_id, verdict, situations, brigade_id, officer_id
FROM accepted_evaluations
UNION ALL
SELECT
    p.period, CAST(p.from_day AS TIMESTAMP WITH TIME ZONE), e.evaluation_id, e.verdict, e.situations, e.brigade_id, e.officer_id
FROM accepted_evaluations AS e
JOIN report_periods AS p ON local_date(e.submitted_at) >= p.from_day AND local_date(e.submitted_at) <= p.to_day;

CREATE VIEW dimension_evaluations AS
SELECT period, period_started_at, 'all' AS dimension, 'all' AS key, verdict FROM period_evaluations
UNION ALL
SELECT period, period_started_at, 'brigade', brigade_id, verdict FROM period_evaluations
UNION ALL
SELECT period, period_started_at, 'officer', officer_id, verdict FROM period_evaluations WHERE coalesce(officer_id, '') <> ''
UNION ALL
SELECT period, period_started_at, 'situation', situation, verdict
FROM (SELECT period, period_started_at, unnest(situations) AS situation, verdict FROM period_evaluations) AS s;

CREATE VIEW dimension_counts AS
SELECT
    period, dimension, key,
    min(period_started_at) AS period_started_at,
    count(*) AS evaluations,
    count(CASE WHEN verdict = 'satisfied' THEN 1 END) AS satisfied,
    count(CASE WHEN verdict = 'dissatisfied' THEN 1 END) AS dissatisfied
FROM dimension_evaluations
GROUP BY period, dimension, key;

CREATE TABLE statistics_rows (PRIMARY KEY (period, dimension, key)) AS
SELECT
    period, dimension, key,
    CASE WHEN is_shown THEN evaluations END AS evaluations,
    CASE WHEN is_shown THEN satisfied END AS satisfied,
    CASE WHEN is_shown THEN dissatisfied END AS dissatisfied,
    CASE WHEN is_shown THEN evaluations - satisfied - dissatisfied END AS other,
    CASE WHEN is_shown THEN CAST(dissatisfied AS DOUBLE) / evaluations END AS dissatisfied_rate,
    NOT is_shown AS suppressed
FROM (
    SELECT c.period, c.dimension, c.key, c.evaluations, c.satisfied, c.dissatisfied, c.evaluations >= coalesce(p.n_min, 10) AS is_shown
    FROM dimension_counts AS c
    LEFT JOIN evaluation_policy FOR SYSTEM_TIME AS OF c.period_started_at AS p ON TRUE
) AS c;

CREATE SINK evaluation_statistics WITH (topic = 'evaluation-statistics', format = 'json') AS SELECT * FROM statistics_rows;

-- === sudden rises ===

CREATE VIEW officer_months AS
SELECT
    officer_id, month_started_at,
    count(*) AS evaluations,
    count(CASE WHEN verdict = 'dissatisfied' THEN 1 END) AS dissatisfied,
    count(DISTINCT CASE WHEN verdict = 'dissatisfied' THEN person_id END) AS persons,
    array_agg(evaluation_id ORDER BY submitted_at, evaluation_id) FILTER (WHERE verdict = 'dissatisfied') AS evidence
FROM accepted_evaluations
WHERE coalesce(officer_id, '') <> ''
GROUP BY officer_id, month_started_at;

CREATE VIEW judged_months AS
SELECT
    m.officer_id, m.month_started_at, m.evaluations, m.dissatisfied, m.persons, m.evidence,
    coalesce(p.baseline_months, 6) AS baseline_months,
    coalesce(p.prior_weight, 10.0) AS prior_weight,
    coalesce(p.rise_min, 5) AS rise_min,
    coalesce(p.persons_min, 3) AS persons_min,
    coalesce(p.rise_p, 0.05) AS rise_p
FROM officer_months AS m
LEFT JOIN evaluation_policy FOR SYSTEM_TIME AS OF m.month_started_at AS p ON TRUE;

CREATE VIEW month_totals AS
SELECT month_started_at, sum(evaluations) AS evaluations, sum(dissatisfied) AS dissatisfied, count(*) AS officers
FROM officer_months
GROUP BY month_started_at;

-- The months before each, whether or not anybody said anything of the officer in them.
CREATE VIEW baseline_months AS
SELECT officer_id, month_started_at, add_months(month_started_at, -k) AS before_month
FROM (SELECT officer_id, month_started_at, unnest(generate_series(1, baseline_months)) AS k FROM judged_months) AS m;

CREATE VIEW baselines AS
SELECT
    b.officer_id, b.month_started_at,
    sum(coalesce(o.evaluations, 0)) AS own_evaluations, sum(coalesce(o.dissatisfied, 0)) AS own_dissatisfied,
    sum(coalesce(t.evaluations, 0)) AS all_evaluations, sum(coalesce(t.dissatisfied, 0)) AS all_dissatisfied
FROM baseline_months AS b
LEFT JOIN officer_months AS o ON o.officer_id = b.officer_id AND o.month_started_at = b.before_month
LEFT JOIN month_totals AS t ON t.month_started_at = b.before_month
GROUP BY b.officer_id, b.month_started_at;

CREATE VIEW expected_months AS
SELECT
    m.officer_id, m.month_started_at, m.evaluations, m.dissatisfied, m.persons, m.evidence, m.rise_min, m.persons_min, m.rise_p,
    n.officers,
    CASE WHEN b.all_evaluations > 0 THEN
        m.evaluations * (b.own_dissatisfied + m.prior_weight * b.all_dissatisfied / b.all_evaluations)
            / (b.own_evaluations + m.prior_weight)
    END AS expected
FROM judged_months AS m
JOIN baselines AS b ON b.officer_id = m.officer_id AND b.month_started_at = m.month_started_at
JOIN month_totals AS n ON n.month_started_at = m.month_started_at;

CREATE TABLE risen_officers (PRIMARY KEY (officer_id, month)) AS
SELECT
    officer_id, year_month(month_started_at) AS month, evaluations, dissatisfied, persons, evidence,
    round(expected, 4) AS expected, round(poisson_sf(dissatisfied - 1, expected), 6) AS p
FROM expected_months
WHERE dissatisfied >= rise_min AND persons >= persons_min AND poisson_sf(dissatisfied - 1, expected) * officers < rise_p;

CREATE SINK officer_rises WITH (topic = 'officer-rises', format = 'json', key = 'officer_id') AS
SELECT
    coalesce(after.officer_id, before.officer_id) AS officer_id,
    coalesce(after.month, before.month) AS month,
    coalesce(after.evaluations, before.evaluations) AS evaluations,
    coalesce(after.dissatisfied, before.dissatisfied) AS dissatisfied,
    coalesce(after.persons, before.persons) AS persons,
    coalesce(after.evidence, before.evidence) AS evidence,
    coalesce(after.expected, before.expected) AS expected,
    coalesce(after.p, before.p) AS p,
    CASE WHEN after.officer_id IS NULL THEN 'withdrawn' ELSE 'issued' END AS status,
    revision,
    true AS needs_approval
FROM CHANGES(risen_officers);
