//! What cannot be streamed is refused with a code and a hint, and never gives a wrong result.

use crate::pack;

fn refused(code: &str, query: &str) {
    let rules =
        format!("CREATE TABLE r AS {query}; CREATE SINK k WITH (topic = 'k', format = 'json') AS SELECT * FROM r;");
    match pack::compile(&rules) {
        Ok(_) => panic!("was planned: {query}"),
        Err(text) => {
            assert!(text.contains(code), "{query}\n{text}");
            assert!(text.contains("hint: "), "without a hint: {query}\n{text}");
        }
    }
}

#[test]
fn queries_that_cannot_be_streamed_are_refused_with_a_hint() {
    refused("C0412", "SELECT s.id FROM s FULL JOIN t ON s.id = t.id");
    refused("C0318", "SELECT id, n FROM t LEFT JOIN u ON t.g = u.g RIGHT JOIN v USING (g)");
    refused("C0318", "SELECT * FROM t NATURAL LEFT JOIN u");
    refused("C0318", "SELECT * EXCLUDE (x) FROM t FULL JOIN v USING (g)");
    refused("C0415", "SELECT t.id, u.id AS b FROM t JOIN u ON t.n < u.n");
    refused("C0415", "SELECT t.id, u.id AS b FROM t CROSS JOIN u");
    refused("C0303", "SELECT id FROM t ORDER BY id");
    refused("C0304", "SELECT id FROM t LIMIT 3");
    refused("C0420", "SELECT g, n, count(*) AS c FROM t GROUP BY ROLLUP (g, n)");
    refused("C0310", "SELECT id, now() AS n FROM t");
    refused("C0402", "SELECT id FROM t UNION ALL SELECT id FROM s");
    refused("C0410", "SELECT s.id FROM s JOIN q ON s.id = q.id");
    refused("C0410", "SELECT s.id FROM s JOIN q ON s.id = q.id AND q.at >= s.at");
    refused("C0410", "SELECT s.id FROM s JOIN q ON s.id = q.id AND q.at <= s.at + INTERVAL '1 hour'");
    refused("C0410", "SELECT s.id FROM s JOIN q ON s.id = q.id AND extract(hour FROM s.at) = extract(hour FROM q.at)");
    refused("C0410", "SELECT id FROM s WHERE NOT EXISTS (SELECT 1 FROM q WHERE q.g = s.g)");
    refused("C0461", "SELECT id FROM s WHERE g NOT IN (SELECT g FROM q)");
    refused("C0462", "SELECT s.id FROM s JOIN (SELECT after.id AS id FROM CHANGES(t)) AS c ON c.id = s.id");
    refused("C0413", "SELECT t.id FROM t LEFT JOIN s ON s.id = t.id");
    refused("C0414", "SELECT t.id, v.val FROM t JOIN v FOR SYSTEM_TIME AS OF t.at ON TRUE");
    refused("C0430", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY n) AS r FROM s");
    refused("C0430", "SELECT id, sum(n) OVER (PARTITION BY g) AS r FROM s");
    refused("C0430", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY at DESC) AS r FROM s");
    refused("C0432", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY arrival) AS r FROM t");
    refused("C0433", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY arrival DESC) AS r FROM s");
    refused("C0433", "SELECT id, row_number() OVER (PARTITION BY g ORDER BY at, arrival) AS r FROM s");
    refused(
        "C0430",
        "SELECT id FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY n) > 1 OR row_number() OVER (PARTITION BY g ORDER BY n) = 1",
    );
    refused("C0439", "SELECT id FROM s QUALIFY row_number() OVER (PARTITION BY g ORDER BY n) <= 20000");
    refused("C0434", "SELECT id, ntile(4) OVER (PARTITION BY g ORDER BY at) AS r FROM s");
    refused("C0434", "SELECT id, lead(n) OVER (PARTITION BY g ORDER BY arrival) AS r FROM s");
    refused("C0434", "SELECT id, lead(n) IGNORE NULLS OVER (PARTITION BY g ORDER BY at) AS r FROM s");
    refused("C0434", "SELECT id, lead(n, -1) OVER (PARTITION BY g ORDER BY at) AS r FROM s");
    refused(
        "C0434",
        "SELECT id, sum(n) OVER (PARTITION BY g ORDER BY at ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING) AS r FROM s",
    );
    refused(
        "C0434",
        "SELECT id, sum(n) OVER (PARTITION BY g ORDER BY arrival ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS r FROM s",
    );
    refused("C0435", "SELECT id, sum(n) OVER (ORDER BY arrival RANGE 2 PRECEDING) AS r FROM s");
    refused("C0436", "SELECT id, median(n) OVER (PARTITION BY g ORDER BY at) AS r FROM s");
    refused("C0437", "SELECT id, array_agg(n) OVER (PARTITION BY g ORDER BY at) AS r FROM s");
    refused("C0421", "SELECT g, array_agg(id ORDER BY id) AS ids FROM s GROUP BY g");
    refused("C0422", "SELECT array_agg(id ORDER BY id) AS ids FROM t");
    refused("C0446", "SELECT * FROM (VALUES (1), (2)) AS x(n)");
    refused("C0403", "SELECT id, (SELECT lo FROM w) AS lo FROM t");
    refused("C0312", "SELECT t.id, u.id FROM t JOIN u ON t.id = u.id");
    refused("C0312", "WITH c AS (SELECT t.id, u.n, u.id FROM t JOIN u ON t.id = u.id) SELECT n FROM c");
    refused("C0405", "SELECT id, n FROM t WHERE false");
    refused("C0405", "SELECT count(*) AS c FROM t WHERE n > 1 AND 1 = 2");
    refused("C0404", "SELECT id FROM t WHERE n IN (SELECT n FROM u WHERE u.g = t.g ORDER BY n LIMIT 1)");
    refused("C0406", "SELECT t.id, e.tag FROM t CROSS JOIN UNNEST(t.tags) AS e(tag)");
    refused("C0404", "SELECT id, CASE WHEN id IN (SELECT id FROM u) THEN 1 ELSE 0 END AS known FROM t");
    refused("C0416", "SELECT t.id, v.val FROM t JOIN v FOR SYSTEM_TIME AS OF t.n ON v.g = t.g");
    refused("C0418", "SELECT id FROM t WHERE 5 NOT IN (SELECT n FROM u WHERE u.g = t.g)");
    refused("C0446", "SELECT g FROM t");
    refused("C0321", "SELECT g, add_working_days(max(at), 1) AS due FROM t GROUP BY g");
    refused("C0321", "SELECT g, count(*) AS c FROM t GROUP BY g HAVING working_days_between(min(at), max(at)) > 2");
}

#[test]
fn working_days_without_a_calendar_are_refused_with_a_hint() {
    let rules = "CREATE TABLE calendar (day DATE PRIMARY KEY, worked BOOLEAN) WITH (topic = 'c', format = 'json');
        CREATE TABLE e (id VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE) WITH (topic = 'e', format = 'json');
        CREATE SINK k WITH (topic = 'k', format = 'json') AS SELECT id, add_working_days(at, 3) AS due FROM e;";
    let text = pack::compile_whole(rules).expect_err("was planned");
    assert!(text.contains("C0320") && text.contains("working_calendar(day, working) makes one of any table"), "{text}");
    assert!(text.contains("3:73"), "{text}");
}

#[test]
fn a_wait_for_nothing_is_refused_and_one_of_a_step_of_with_is_not() {
    let planned = |query: &str| {
        pack::compile(&format!("CREATE SINK k WITH (topic = 'k', format = 'json', wait = '1 minute') AS {query};"))
    };
    let refused = planned("SELECT id, n FROM s").expect_err("was planned");
    assert!(refused.contains("C0464") && refused.contains("hint: "), "{refused}");
    planned("SELECT s.id, u.n FROM s JOIN u ON u.id = s.id").unwrap();
    planned("WITH c AS (SELECT s.id, u.n FROM s JOIN u ON u.id = s.id) SELECT id FROM c WHERE n > 0").unwrap();
}

#[test]
fn a_join_of_streams_without_bounds_says_what_is_missing() {
    let text = |condition: &str| {
        let rules = format!(
            "CREATE SINK k WITH (topic = 'k', format = 'json') AS\nSELECT s.id FROM s JOIN q ON s.g = q.g AND {condition};"
        );
        pack::compile(&rules).expect_err("was planned")
    };
    let one_sided = text("q.at >= s.at");
    assert!(one_sided.contains("no condition says up to which `q.at` rows may match a given `s.at`"), "{one_sided}");
    assert!(one_sided.contains("--> rules.sql:") && one_sided.contains(":25\n"), "{one_sided}");
    assert!(one_sided.contains("s.at BETWEEN q.at - INTERVAL '1 hour' AND q.at + INTERVAL '1 hour'"), "{one_sided}");
    let other = text("q.at <= s.at");
    assert!(other.contains("no condition says up to which `s.at` rows may match a given `q.at`"), "{other}");
    let without = text("q.n > s.n");
    assert!(without.contains("no condition bounds `s.at` and `q.at` by one another"), "{without}");
}

#[test]
fn an_instant_that_the_clocks_skip_is_refused_in_words() {
    let text =
        pack::compile("CREATE TABLE r AS SELECT id FROM t WHERE at > TIMESTAMP '2024-03-31T01:30:00';").unwrap_err();
    assert!(text.contains("hint: ") && !text.contains("ptimizer"), "{text}");
}

#[test]
fn buckets_that_cannot_be_streamed_are_refused_with_a_hint() {
    refused(
        "C0480",
        "SELECT count(*) AS c FROM s GROUP BY hop(at, INTERVAL '1 hour', INTERVAL '1 day'), session(at, INTERVAL '1 hour')",
    );
    refused("C0481", "SELECT id, hop(at, INTERVAL '1 hour', INTERVAL '1 day') AS h FROM s");
    refused("C0481", "SELECT id FROM t WHERE session(at, INTERVAL '1 hour') > at");
    refused(
        "C0483",
        "SELECT window_start, count(*) AS c FROM t GROUP BY hop(at, INTERVAL '1 minute', INTERVAL '1 day')",
    );
    refused(
        "C0483",
        "SELECT window_start, count(*) AS c FROM s GROUP BY hop(at, INTERVAL '1 minute', INTERVAL '1 day') EMIT CHANGES",
    );
    refused("C0484", "SELECT window_start, count(*) AS c FROM t GROUP BY tumble(at, INTERVAL '1 hour') EMIT FINAL");
    refused(
        "C0484",
        "SELECT window_start, count(*) AS c FROM timed GROUP BY tumble(at + INTERVAL '1 hour', INTERVAL '1 hour') EMIT FINAL",
    );
    refused("C0444", "SELECT g, count(*) AS c FROM timed GROUP BY g EMIT FINAL");
    refused("C0423", "SELECT g, count(*) AS c FROM s GROUP BY g EMIT FINAL");
    refused(
        "C0425",
        "SELECT window_start, count(*) AS c FROM s GROUP BY session(at + INTERVAL '1 day', INTERVAL '1 hour')",
    );
    refused(
        "C0425",
        "SELECT tumble(w, INTERVAL '1 day') AS d, count(*) AS c FROM (SELECT hop(at, INTERVAL '1 hour', INTERVAL '3 hours') AS w, count(*) AS c
         FROM s GROUP BY 1) AS a GROUP BY tumble(w, INTERVAL '1 day')",
    );
    refused(
        "C0427",
        "SELECT count(*) AS c FROM s GROUP BY date_bin(INTERVAL '1 hour', at, TIMESTAMP '2024-01-01T00:30:00Z')",
    );
    let sink = |query: &str| {
        let compiled = pack::compile(&format!("CREATE SINK k WITH (topic = 'k', format = 'json') AS {query};"));
        compiled.map(|_| ()).expect_err("it is refused")
    };
    assert!(sink("SELECT id FROM s WHERE n > 1 EMIT CHANGES EVERY '1 second'").contains("C0485"));
    let text = sink("SELECT count(*) AS c FROM s GROUP BY hop(at, INTERVAL '1 millisecond', INTERVAL '1 year')");
    assert!(text.contains("make the slide longer"), "{text}");
}
