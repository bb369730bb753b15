--- a relation misspelt
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM poeple;
--- a column misspelt
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, twon FROM people;
--- a column of another relation
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT p.person_id, p.at FROM people AS p JOIN visits AS v ON v.person_id = p.person_id;
--- a column that two relations have
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id, person_id FROM visits AS v JOIN people AS p ON v.person_id = p.person_id;
--- a function misspelt
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, uper(town) AS town FROM people;
--- arguments that a function does not take
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, year_month(town) AS month FROM people;
--- types that cannot be compared
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM people WHERE tags > 5;
--- a column that is not grouped
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, age, count(*) AS n FROM people GROUP BY town;
--- an aggregate in WHERE
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town FROM people WHERE count(*) > 3 GROUP BY town;
--- two columns of one name
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT v.visit_id, v.person_id, p.person_id FROM visits AS v JOIN people AS p ON v.person_id = p.person_id;
--- sides of a union that differ
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM people UNION ALL SELECT visit_id, person_id FROM visits;
--- a sink is not read
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, town FROM people;
CREATE SINK t WITH (topic = 't', format = 'json') AS SELECT person_id FROM s;
--- a view that reads itself
CREATE VIEW a AS SELECT person_id FROM b;
CREATE VIEW b AS SELECT person_id FROM a;
--- an error in a view is told once
CREATE VIEW a AS SELECT person_id, twon FROM people;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, twon FROM a;
--- a relation of another schema
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM public.people;
--- a value for a column that takes another
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id FROM visits WHERE at = 'tomorrow';
--- too few arguments
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, age_in_years(born) AS age FROM people;
--- an alias in WHERE
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, upper(town) AS city FROM people WHERE city = 'A';
--- a struct that is none
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, town.name AS name FROM people;
--- a cast that does not exist
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, CAST(tags AS INT) AS n FROM people;
