--- a table without a key
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town FROM people;
--- another key than the table's
CREATE SINK s WITH (topic = 's', format = 'json', key = 'town') AS SELECT person_id, town FROM people;
--- a key that is not written
CREATE SINK s WITH (topic = 's', format = 'json', key = 'persn_id') AS SELECT person_id, town FROM people;
--- a declared key that is not there
CREATE TABLE t (PRIMARY KEY (city)) AS SELECT town, count(*) AS n FROM people GROUP BY town;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, n FROM t;
--- counted by what is not there
CREATE SINK s WITH (topic = 's', format = 'json', count_by = 'kind') AS SELECT person_id, town FROM people;
--- counted by a number
CREATE SINK s WITH (topic = 's', format = 'json', count_by = 'age') AS SELECT person_id, age FROM people;
--- counted by what is private
CREATE SINK s WITH (topic = 's', format = 'json', count_by = 'initial', allow_private = true) AS SELECT person_id, substr(name, 1, 1) AS initial FROM people;
--- what is private
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, upper(name) AS caller, town FROM people;
--- what is private, by way of a view and a star
CREATE VIEW neighbours AS SELECT p.person_id, p.town, q.name AS neighbour FROM people AS p JOIN people AS q ON q.person_id = p.town;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT * FROM neighbours;
--- what is private of a group
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, count(name) AS n, max(name) AS last FROM people GROUP BY town;
--- what is private of changes
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT after.person_id AS person_id, before.name AS name FROM CHANGES(people);
--- rows of a stream that are to settle
CREATE SINK s WITH (topic = 's', format = 'json', settle = '5 seconds') AS SELECT ride_id FROM rides;
--- an emit time that is no timestamp
CREATE SINK s WITH (topic = 's', format = 'json', emit_time = 'town') AS SELECT person_id, town FROM people;
--- an emit time of two columns
CREATE SINK s WITH (topic = 's', format = 'json', emit_time = 'person_id, town') AS SELECT person_id, town FROM people;
--- a topic with a bad name
CREATE SINK s WITH (topic = 'my topic', format = 'json') AS SELECT person_id FROM people;
--- a format whose schema is in a file that is not named
CREATE SINK s WITH (topic = 's', format = 'avro') AS SELECT person_id FROM people;
--- a schema that does not hold every row
CREATE SINK s WITH (topic = 's', format = 'avro', schema_file = 'tests/errors/narrow.avsc') AS SELECT person_id, age FROM people;
--- a file for a schema of which there is none
CREATE SINK s WITH (topic = 's', format = 'debezium-avro-confluent', schema_file = 'x.avsc') AS SELECT person_id FROM people;
--- a compression that does not exist
CREATE SINK s WITH (topic = 's', format = 'json', compression = 'brotli') AS SELECT person_id FROM people;
--- changes of rows of a stream
CREATE SINK s WITH (topic = 's', format = 'debezium-json') AS SELECT stop_id FROM stops;
--- a column that a format has no name for
CREATE SINK s WITH (topic = 's', format = 'avro-confluent') AS SELECT visit_id AS "visit id" FROM visits;
--- a list of lists in Protobuf
CREATE SINK s WITH (topic = 's', format = 'protobuf-confluent') AS SELECT visit_id, make_array(make_array(visit_id)) AS lists FROM visits;
--- a pseudonym under a key that is not there
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT pseudonym(visit_id, '2020') AS visit FROM visits;
