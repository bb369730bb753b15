--- a join without an equality
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT p.person_id, v.visit_id FROM people AS p JOIN visits AS v ON v.person_id > p.person_id;
--- every row with every row
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT p.person_id, v.visit_id FROM people AS p CROSS JOIN visits AS v;
--- a join in a view
CREATE VIEW pairs AS SELECT p.person_id, v.visit_id FROM people AS p JOIN visits AS v ON v.person_id > p.person_id;
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, visit_id FROM pairs;
--- two streams without a bound
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, s.stop_id FROM rides AS r JOIN stops AS s ON s.ride_id = r.ride_id;
--- a bound for one of two streams
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, s.stop_id FROM rides AS r JOIN stops AS s ON s.ride_id = r.ride_id AND s.at >= r.at;
--- a stream compared with all rows of another
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id FROM rides WHERE ride_id NOT IN (SELECT ride_id FROM stops);
--- a wait for nothing
CREATE SINK s WITH (topic = 's', format = 'json', wait = '1 minute') AS SELECT ride_id FROM rides;
--- rows of a table kept against a stream
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT p.person_id, r.ride_id FROM people AS p LEFT JOIN rides AS r ON r.person_id = p.person_id;
--- versions of a table that has none
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, p.town FROM rides AS r JOIN people FOR SYSTEM_TIME AS OF r.at AS p ON p.person_id = r.person_id;
--- a version without the rest of the key
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, o.person_id FROM rides AS r JOIN owners FOR SYSTEM_TIME AS OF r.at AS o ON TRUE;
--- a version without a condition
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, p.minimum FROM rides AS r JOIN policy FOR SYSTEM_TIME AS OF r.at AS p;
--- a version at what is no instant
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, p.minimum FROM rides AS r JOIN policy FOR SYSTEM_TIME AS OF r.speed AS p ON TRUE;
--- a version kept on the wrong side
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, p.minimum FROM rides AS r RIGHT JOIN policy FOR SYSTEM_TIME AS OF r.at AS p ON TRUE;
--- another way to choose a version
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, p.minimum FROM rides AS r JOIN policy FOR SYSTEM_TIME BETWEEN r.at AND r.at AS p ON TRUE;
--- one of two joins without an equality
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT p.person_id, o.plate, o.since, v.visit_id FROM people AS p JOIN owners AS o ON o.person_id = p.person_id JOIN visits AS v ON v.at > o.since;
--- rows of both sides kept, of which one is a stream
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT r.ride_id, p.town FROM rides AS r FULL JOIN people AS p ON p.person_id = r.person_id;
--- using, with two relations that may have the column
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, v.visit_id FROM people AS p JOIN owners AS o ON o.plate = p.town LEFT JOIN visits AS v USING (person_id);
--- natural, of an outer join
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM people NATURAL LEFT JOIN visits;
--- a star that leaves columns out, beside a pseudo-column
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT * EXCLUDE (town), p._offset FROM people AS p JOIN visits AS v ON v.visit_id = p.person_id;
