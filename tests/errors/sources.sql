CREATE STREAM rides (
    ride_id VARCHAR NOT NULL, person_id VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL, helmet BOOLEAN, speed DOUBLE
) WITH (topic = 'rides', format = 'json', event_time = 'at', watermark_delay = '30 seconds');
CREATE STREAM stops (stop_id VARCHAR NOT NULL, ride_id VARCHAR, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'stops', format = 'json', event_time = 'at');
CREATE TABLE people (
    person_id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, town VARCHAR, age INT, tags VARCHAR[], born DATE
) WITH (topic = 'people', format = 'json');
CREATE TABLE visits (visit_id VARCHAR PRIMARY KEY, person_id VARCHAR, at TIMESTAMP WITH TIME ZONE)
    WITH (topic = 'visits', format = 'json');
CREATE TABLE policy (since TIMESTAMP WITH TIME ZONE PRIMARY KEY, minimum INT)
    WITH (topic = 'policy', format = 'json', valid_from = 'since', broadcast = true);
CREATE TABLE owners (plate VARCHAR, since TIMESTAMP WITH TIME ZONE, person_id VARCHAR, PRIMARY KEY (plate, since))
    WITH (topic = 'owners', format = 'json', valid_from = 'since');
