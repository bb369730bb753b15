-- What the fixed queries read; `fixed_queries.py` writes the rows.
SET TIME ZONE = 'Asia/Shanghai';

CREATE TABLE orders (
    order_id VARCHAR PRIMARY KEY, customer VARCHAR, item VARCHAR, amount DOUBLE, qty BIGINT, paid BOOLEAN,
    placed_at TIMESTAMP WITH TIME ZONE, tags VARCHAR[]
) WITH (topic = 'orders', format = 'json');

CREATE TABLE customers (customer VARCHAR PRIMARY KEY, region VARCHAR, credit BIGINT)
    WITH (topic = 'customers', format = 'json');

CREATE TABLE prices (item VARCHAR, valid_from TIMESTAMP WITH TIME ZONE, price BIGINT, PRIMARY KEY (item, valid_from))
    WITH (topic = 'prices', format = 'json', valid_from = 'valid_from');

CREATE TABLE bands (band BIGINT PRIMARY KEY, low DOUBLE, high DOUBLE) WITH (topic = 'bands', format = 'json', broadcast = true);

CREATE STREAM clicks (click_id BIGINT NOT NULL, customer VARCHAR, page VARCHAR, millis BIGINT, clicked_at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'clicks', format = 'json', event_time = 'clicked_at', watermark_delay = '1 hour');

CREATE STREAM views (view_id BIGINT NOT NULL, customer VARCHAR, page VARCHAR, viewed_at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'views', format = 'json', event_time = 'viewed_at', watermark_delay = '1 hour');
