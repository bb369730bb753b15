--- a name twice
CREATE VIEW people AS SELECT visit_id FROM visits;
--- a column twice
CREATE TABLE t (id VARCHAR PRIMARY KEY, n INT, id INT) WITH (topic = 't', format = 'json');
--- a pseudo-column
CREATE STREAM t (_offset BIGINT) WITH (topic = 't', format = 'json');
--- an unknown type
CREATE TABLE t (id STRNG PRIMARY KEY) WITH (topic = 't', format = 'json');
--- a type with arguments that it does not take
CREATE TABLE t (id VARCHAR PRIMARY KEY, n DECIMAL(50, 2)) WITH (topic = 't', format = 'json');
--- an unknown time zone
SET TIME ZONE = 'Asia/Shangai';
--- a time zone twice
SET TIME ZONE = 'Asia/Shanghai';
SET TIME ZONE = 'Europe/Berlin';
--- an option misspelt
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'json', retenton = '10 days');
--- an option twice
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', topic = 'u', format = 'json');
--- an option of sinks at a table
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'json', settle = '5 seconds');
--- a duration without a unit
CREATE STREAM t (at TIMESTAMP WITH TIME ZONE) WITH (topic = 't', format = 'json', event_time = 'at', watermark_delay = '30');
--- a duration in months
CREATE TABLE t (id VARCHAR PRIMARY KEY, at TIMESTAMP WITH TIME ZONE) WITH (topic = 't', format = 'json', event_time = 'at', retention = '6 months');
--- a retention without an event time
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'json', retention = '10 days');
--- an unknown format
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'jsn');
--- a topic and a file
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', path = 't.csv');
--- an event time that is not declared
CREATE STREAM t (id VARCHAR) WITH (topic = 't', format = 'json', event_time = 'at');
--- an event time that is no timestamp
CREATE STREAM t (at VARCHAR) WITH (topic = 't', format = 'json', event_time = 'at');
--- a valid-from outside the key
CREATE TABLE t (id VARCHAR PRIMARY KEY, since TIMESTAMP WITH TIME ZONE) WITH (topic = 't', format = 'json', valid_from = 'since');
--- a table without a key
CREATE TABLE t (id VARCHAR) WITH (topic = 't', format = 'json');
--- two keys
CREATE TABLE t (id VARCHAR PRIMARY KEY, n INT, PRIMARY KEY (n)) WITH (topic = 't', format = 'json');
--- a key of a column that is not there
CREATE TABLE t (id VARCHAR, PRIMARY KEY (idd)) WITH (topic = 't', format = 'json');
--- constraints that contradict each other
CREATE TABLE t (id VARCHAR PRIMARY KEY NULL) WITH (topic = 't', format = 'json');
--- unique for a time without a key
CREATE STREAM t (id VARCHAR, at TIMESTAMP WITH TIME ZONE) WITH (topic = 't', format = 'json', event_time = 'at', unique_for = '1 day');
--- a rate without a unit
CREATE SINK s WITH (topic = 's', format = 'json', max_rate = '1000') AS SELECT person_id FROM people;
--- a time of day
CREATE TABLE shifts (shift_id VARCHAR PRIMARY KEY, starts_at TIME) WITH (topic = 'shifts', format = 'json');
--- a span of time
CREATE TABLE limits (limit_id VARCHAR PRIMARY KEY, longest INTERVAL) WITH (topic = 'limits', format = 'json');
--- bytes
CREATE TABLE pictures (picture_id VARCHAR PRIMARY KEY, content BYTEA) WITH (topic = 'pictures', format = 'json');
--- a map
CREATE TABLE labels (label_id VARCHAR PRIMARY KEY, texts MAP) WITH (topic = 'labels', format = 'json');
--- a topic that is watched
CREATE TABLE towns (town VARCHAR PRIMARY KEY) WITH (topic = 'towns', format = 'json', watch = true);
--- a file without a format
CREATE TABLE towns (town VARCHAR PRIMARY KEY) WITH (path = 'towns.txt');
--- changes of rows as events
CREATE STREAM t (id VARCHAR) WITH (topic = 't', format = 'debezium-json');
--- a format without its schema
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'avro');
--- a schema that is not there
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'protobuf', schema_file = 'not-there.proto');
--- an option of another format
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'avro-confluent', delimiter = ';');
--- a delimiter of two characters
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (topic = 't', format = 'csv', delimiter = '||');
--- a file with an option of topics
CREATE TABLE t (id VARCHAR PRIMARY KEY) WITH (path = 't.csv', null_literal = '-');
