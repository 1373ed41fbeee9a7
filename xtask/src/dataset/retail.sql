-- A made-up shop of any size, for measuring: psql --set=sales=250000 --file=retail.sql
--
-- About eight rows a sale. The same number gives the same data: every id and amount is drawn from a hash of the row's
-- number. It has what shop schemas have and copies trip over: uuid, text and serial keys, money, both kinds of
-- timestamp, jsonb with an integer past 2^53, arrays with quotes in them, bytes, an enum, a generated column, a table
-- that refers to itself, and two tables that refer to each other.
\set ON_ERROR_STOP on
BEGIN;

CREATE TYPE sale_state AS ENUM ('started', 'settled', 'returned', 'cancelled');
CREATE TYPE pay_kind AS ENUM ('notes', 'chip', 'phone', 'account');

CREATE TABLE branches (
    id          text PRIMARY KEY,
    title       text NOT NULL UNIQUE,
    head_id     uuid,
    options     jsonb NOT NULL DEFAULT '{}',
    opened_at   timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE staff (
    id          uuid PRIMARY KEY,
    branch_id   text NOT NULL REFERENCES branches (id),
    reports_to  uuid REFERENCES staff (id),
    full_name   text NOT NULL,
    tax_number  text UNIQUE,
    joined_on   date NOT NULL,
    wage        numeric(10, 4) NOT NULL,
    portrait    bytea,
    present     boolean NOT NULL DEFAULT true,
    changed_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE branches
    ADD CONSTRAINT branches_head FOREIGN KEY (head_id) REFERENCES staff (id) DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE shelves (
    id          text PRIMARY KEY,
    above_id    text REFERENCES shelves (id),
    label       text NOT NULL,
    sign        text,
    UNIQUE (above_id, label)
);
CREATE TABLE articles (
    id          uuid PRIMARY KEY,
    branch_id   text NOT NULL REFERENCES branches (id),
    shelf_id    text REFERENCES shelves (id),
    code        text NOT NULL,
    ean         text,
    label       text NOT NULL,
    price       numeric(12, 2) NOT NULL,
    bought_at   numeric(12, 4),
    marks       text[] NOT NULL DEFAULT '{}',
    traits      jsonb,
    duty        double precision NOT NULL DEFAULT 0.2,
    gain        numeric(14, 4) GENERATED ALWAYS AS (price - bought_at) STORED,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (branch_id, code)
);
CREATE TABLE customers (
    id          uuid PRIMARY KEY,
    full_name   text NOT NULL,
    mobile      text,
    mail        text UNIQUE,
    owes        numeric(14, 2) NOT NULL DEFAULT 0,
    born_on     date,
    remarks     text,
    first_seen  timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL
);
CREATE TABLE sales (
    id          uuid PRIMARY KEY,
    branch_id   text NOT NULL REFERENCES branches (id),
    customer_id uuid REFERENCES customers (id),
    staff_id    uuid NOT NULL REFERENCES staff (id),
    slip        text NOT NULL,
    state       sale_state NOT NULL,
    sum         numeric(14, 2) NOT NULL,
    remark      text,
    rung_at     timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    UNIQUE (branch_id, slip)
);
CREATE TABLE sale_lines (
    sale_id     uuid NOT NULL REFERENCES sales (id) ON DELETE CASCADE,
    line        smallint NOT NULL,
    article_id  uuid NOT NULL REFERENCES articles (id),
    amount      numeric(10, 3) NOT NULL,
    each        numeric(12, 2) NOT NULL,
    rebate      numeric(12, 2),
    changed_at  timestamptz NOT NULL,
    PRIMARY KEY (sale_id, line)
);
CREATE TABLE payments (
    id          uuid PRIMARY KEY,
    sale_id     uuid NOT NULL REFERENCES sales (id),
    kind        pay_kind NOT NULL,
    paid        numeric(14, 2) NOT NULL,
    trace       text,
    paid_at     timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL
);
CREATE TABLE stock_moves (
    id          bigserial PRIMARY KEY,
    article_id  uuid NOT NULL REFERENCES articles (id),
    sale_id     uuid,
    change      numeric(10, 3) NOT NULL,
    cause       text NOT NULL,
    moved_at    timestamp NOT NULL
);

-- A stable id, and a stable number from 0 to below `bound`, for a name.
CREATE FUNCTION pg_temp.id(name text) RETURNS uuid
    LANGUAGE sql IMMUTABLE AS $$ SELECT md5('branchline ' || name)::uuid $$;
CREATE FUNCTION pg_temp.draw(name text, bound int) RETURNS int
    LANGUAGE sql IMMUTABLE AS $$ SELECT ('x' || left(md5(name), 7))::bit(28)::int % bound $$;
CREATE FUNCTION pg_temp.moment(number int, lag interval) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT timestamptz '2024-06-03 07:30:00+00' + number * interval '19.000321 seconds' + lag $$;

SELECT greatest(200, :sales / 50) AS articles, greatest(100, :sales / 10) AS customers \gset

INSERT INTO branches (id, title, options, opened_at, changed_at)
SELECT 'branch-' || n, 'Branch no. ' || n || ' (' || (ARRAY['Bakery', 'Tools', 'Shoes', 'Garden'])[n] || ')',
       jsonb_build_object('money', 'EUR', 'duty', 0.2, 'slip', jsonb_build_object('last', E'See you soon\nYour "corner" shop \u263a')),
       timestamptz '2024-01-15 06:00:00+00', timestamptz '2024-01-15 06:00:00+00'
FROM generate_series(1, 4) n;

INSERT INTO staff (id, branch_id, reports_to, full_name, tax_number, joined_on, wage, portrait, changed_at)
SELECT pg_temp.id('staff ' || n), 'branch-' || 1 + n % 4,
       CASE WHEN n > 4 THEN pg_temp.id('staff ' || 1 + n % 4) END,
       E'Zo\u00eb No. ' || n || E' \u0141ukaszewska', 'TX/' || lpad((n * 7919)::text, 8, '0') || '/' || n % 10,
       date '2019-03-30' + n, 11 + n / 9.0,
       CASE WHEN n % 3 = 0 THEN decode(repeat(md5('portrait ' || n), 64), 'hex') END,
       timestamptz '2024-01-16 06:00:00+00'
FROM generate_series(1, 40) n;
UPDATE branches SET head_id = pg_temp.id('staff ' || substr(id, 8));

INSERT INTO shelves (id, above_id, label, sign)
SELECT 'shelf-' || n, CASE WHEN n > 10 THEN 'shelf-' || 1 + n % 10 END, 'Shelf ' || n,
       (ARRAY[E'\U0001F956', E'\U0001F528', E'\U0001F45F', E'\U0001F33B'])[1 + n % 4]
FROM generate_series(1, 60) n;

INSERT INTO articles (id, branch_id, shelf_id, code, ean, label, price, bought_at, marks, traits, duty, changed_at)
SELECT pg_temp.id('article ' || n), 'branch-' || 1 + n % 4, 'shelf-' || 1 + n % 60,
       'ART-' || lpad(n::text, 6, '0'), lpad((4000000000000 + n * 41::bigint)::text, 13, '0'),
       'Article ' || n || ' ' || substr(md5('label ' || n), 1, 12),
       (99 + pg_temp.draw('price ' || n, 90000)) / 100.0, (50 + pg_temp.draw('price ' || n, 90000)) / 161.0,
       CASE WHEN n % 5 = 0 THEN '{}' ELSE ARRAY['row ' || n % 32, E'2",\\half'] END,
       CASE WHEN n % 4 > 0 THEN jsonb_build_object('weight', n % 70, 'shade', (ARRAY['oak', 'slate', 'rose'])[1 + n % 3],
                                                   'chilled', n % 2 = 1, 'batch', 9007199254740995) END,
       0.2 + n % 7 / 6.0, timestamptz '2024-01-17 06:00:00+00' + n * interval '1 second'
FROM generate_series(1, :articles) n;

INSERT INTO customers (id, full_name, mobile, mail, owes, born_on, remarks, first_seen, changed_at)
SELECT pg_temp.id('customer ' || n), 'Buyer ' || n, '+4915' || lpad(n::text, 9, '0'),
       CASE WHEN n % 3 > 0 THEN 'buyer' || n || '@shop.example' END, (pg_temp.draw('owes ' || n, 1500000) - 400000) / 100.0,
       CASE WHEN n % 2 = 0 THEN date '1961-04-12' + n % 16000 END,
       CASE WHEN n % 10 = 0 THEN repeat('rings before noon. ', 1 + n % 12) END,
       timestamptz '2024-01-18 06:00:00+00', timestamptz '2024-01-18 06:00:00+00' + n * interval '1 second'
FROM generate_series(1, :customers) n;

INSERT INTO sales (id, branch_id, customer_id, staff_id, slip, state, sum, remark, rung_at, changed_at)
SELECT pg_temp.id('sale ' || n), 'branch-' || 1 + n % 4,
       CASE WHEN n % 3 = 0 THEN pg_temp.id('customer ' || 1 + pg_temp.draw('buyer ' || n, :customers)) END,
       pg_temp.id('staff ' || 1 + n % 40), 'SLIP' || lpad(n::text, 9, '0'),
       (ARRAY['settled', 'settled', 'settled', 'started', 'returned', 'cancelled'])[1 + n % 6]::sale_state,
       (150 + pg_temp.draw('sum ' || n, 480000)) / 100.0,
       CASE WHEN n % 20 = 0 THEN 'wrap it as a gift' END,
       pg_temp.moment(n, '0'), pg_temp.moment(n, '2 minutes')
FROM generate_series(1, :sales) n;

INSERT INTO sale_lines (sale_id, line, article_id, amount, each, rebate, changed_at)
SELECT pg_temp.id('sale ' || n), l, pg_temp.id('article ' || 1 + pg_temp.draw('line ' || n || '.' || l, :articles)),
       1 + n * l::bigint % 8 + CASE l WHEN 3 THEN 0.375 ELSE 0 END,
       (75 + pg_temp.draw('each ' || n || '.' || l, 19000)) / 100.0,
       CASE WHEN (n + l) % 11 = 0 THEN 0.25 END, pg_temp.moment(n, '2 minutes')
FROM generate_series(1, :sales) n, generate_series(1, 4) l;

INSERT INTO payments (id, sale_id, kind, paid, trace, paid_at, changed_at)
SELECT pg_temp.id('payment ' || n), pg_temp.id('sale ' || n), (ARRAY['notes', 'chip', 'phone', 'account'])[1 + n % 4]::pay_kind,
       (150 + pg_temp.draw('sum ' || n, 480000)) / 100.0, CASE WHEN n % 4 > 0 THEN upper(right(md5('trace ' || n), 10)) END,
       pg_temp.moment(n, '3 minutes'), pg_temp.moment(n, '3 minutes')
FROM generate_series(1, :sales) n;

INSERT INTO stock_moves (article_id, sale_id, change, cause, moved_at)
SELECT pg_temp.id('article ' || 1 + pg_temp.draw('line ' || n || '.1', :articles)), pg_temp.id('sale ' || n),
       -1 - n % 8, 'sold', timestamp '2024-06-03 07:34:00' + n * interval '19.000321 seconds'
FROM generate_series(1, :sales) n;

COMMIT;

CREATE INDEX ON sale_lines (article_id);
CREATE INDEX ON sales (rung_at);
CREATE INDEX ON payments (sale_id);
