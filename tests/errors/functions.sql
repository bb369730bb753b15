--- a resolution that H3 does not have
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, h3_cell(speed, speed, 16) AS cell FROM rides;
--- a disk that is too large
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, unnest(h3_disk(ride_id, 50)) AS cell FROM rides;
--- a text that is no polygon
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id FROM rides WHERE point_in_polygon(speed, speed, 'CIRCLE (1 1)');
--- sections of a road without a length
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id, chainage_bin(speed, 0) AS bin FROM rides;
--- hot spots of numbers
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, gi_star(age) AS spots FROM people GROUP BY town;
--- a cell of a text
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT h3_cell(town, 3, 8) AS cell, person_id FROM people;
--- working days without a calendar
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id, add_working_days(at, 3) AS due FROM visits;
--- working days by a table that is no calendar
CREATE TABLE calendar (day DATE PRIMARY KEY, open BOOLEAN) WITH (topic = 'calendar', format = 'json');
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id, working_days_between(at, at) AS n FROM visits;
--- working days of groups
CREATE TABLE calendar (day DATE PRIMARY KEY, working BOOLEAN) WITH (topic = 'calendar', format = 'json');
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id, add_working_days(max(at), 3) AS due FROM visits GROUP BY person_id;
--- a calendar of other columns
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT town, working_calendar(born, age) AS c FROM people GROUP BY town;
--- working days in a query that reads nothing
CREATE TABLE calendar (day DATE PRIMARY KEY, working BOOLEAN) WITH (topic = 'calendar', format = 'json');
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT visit_id FROM visits AS v WHERE EXISTS (SELECT 1 WHERE add_working_days(v.at, 3) > v.at);
--- working days of the one stream by the calendar of the other
CREATE TABLE calendar (day DATE PRIMARY KEY, working BOOLEAN) WITH (topic = 'calendar', format = 'json');
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT ride_id FROM rides AS r
    WHERE NOT EXISTS (SELECT 1 FROM stops AS s WHERE s.ride_id = r.ride_id AND s.at >= r.at AND s.at <= add_working_days(r.at, 3));
--- working days without a calendar in a subquery
CREATE SINK s WITH (topic = 's', format = 'json') AS SELECT person_id FROM people AS p
    WHERE EXISTS (SELECT 1 FROM visits AS v WHERE v.person_id = p.person_id AND working_days_between(v.at, v.at) > 3);
