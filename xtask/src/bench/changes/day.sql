-- One day's changes in the shop of retail.sql, :units times 1,000 rows, in one transaction:
--   psql --set=run=1 --set=units=1 --set=first=0 --file=day.sql
-- A unit is 90 sales rung (90 + 360 lines + 90 payments + 90 stock moves), 150 customers, 50 articles and 30 sales
-- updated, 20 sales deleted with what hangs on them (20 + 80 lines by the cascade + 20 payments), and 20 stock moves.
-- The sales after number :first are the ones that it uses up. It answers with the number of rows that it changed.
\set ON_ERROR_STOP on
CREATE FUNCTION pg_temp.id(name text) RETURNS uuid
    LANGUAGE sql IMMUTABLE AS $$ SELECT md5('branchline ' || name)::uuid $$;
CREATE FUNCTION pg_temp.moment(run int, number int) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT timestamptz '2027-01-04 07:30:00+00' + run * interval '1 day' + number * interval '0.300017 seconds' $$;

BEGIN;

INSERT INTO sales (id, branch_id, customer_id, staff_id, slip, state, sum, remark, rung_at, changed_at)
SELECT pg_temp.id('day ' || :run || ' ' || n), 'branch-' || 1 + n % 4,
       CASE WHEN n % 3 = 0 THEN pg_temp.id('customer ' || 1 + n % (150 * :units)) END,
       pg_temp.id('staff ' || 1 + n % 40), 'DAY-' || :run || '-' || n, 'settled', 5 + n % 977 / 7.0,
       CASE WHEN n % 20 = 0 THEN 'to be fetched' END, pg_temp.moment(:run, n), pg_temp.moment(:run, n)
FROM generate_series(1, 90 * :units) n;
\set changed :ROW_COUNT

INSERT INTO sale_lines (sale_id, line, article_id, amount, each, rebate, changed_at)
SELECT pg_temp.id('day ' || :run || ' ' || n), l, pg_temp.id('article ' || 1 + (n * 7 + l) % (50 * :units)), l,
       1 + (n + l) % 89 / 4.0, CASE WHEN n % 9 = 0 THEN 0.5 END, pg_temp.moment(:run, n)
FROM generate_series(1, 90 * :units) n, generate_series(1, 4) l;
\set changed :changed + :ROW_COUNT

INSERT INTO payments (id, sale_id, kind, paid, trace, paid_at, changed_at)
SELECT pg_temp.id('day payment ' || :run || ' ' || n), pg_temp.id('day ' || :run || ' ' || n), 'chip', 5 + n % 977 / 7.0,
       upper(right(md5(:run || '.' || n), 10)), pg_temp.moment(:run, n), pg_temp.moment(:run, n)
FROM generate_series(1, 90 * :units) n;
\set changed :changed + :ROW_COUNT

INSERT INTO stock_moves (article_id, sale_id, change, cause, moved_at)
SELECT pg_temp.id('article ' || 1 + n * 7 % (50 * :units)), pg_temp.id('day ' || :run || ' ' || n), -1 - n % 8, 'sold',
       timestamp '2027-01-04 07:30:00' + n * interval '0.300017 seconds'
FROM generate_series(1, 90 * :units) n;
\set changed :changed + :ROW_COUNT

UPDATE customers SET owes = owes + :run, changed_at = pg_temp.moment(:run, 1)
WHERE id IN (SELECT pg_temp.id('customer ' || n) FROM generate_series(1, 150 * :units) n);
\set changed :changed + :ROW_COUNT

UPDATE articles SET price = price + 0.01, changed_at = pg_temp.moment(:run, 2)
WHERE id IN (SELECT pg_temp.id('article ' || n) FROM generate_series(1, 50 * :units) n);
\set changed :changed + :ROW_COUNT

UPDATE sales SET state = 'returned', remark = 'brought back on day ' || :run, changed_at = pg_temp.moment(:run, 3)
WHERE id IN (SELECT pg_temp.id('sale ' || :first + n) FROM generate_series(20 * :units + 1, 50 * :units) n);
\set changed :changed + :ROW_COUNT

CREATE TEMPORARY TABLE cancelled AS SELECT pg_temp.id('sale ' || :first + n) AS id FROM generate_series(1, 20 * :units) n;
SELECT count(*) AS cascaded FROM sale_lines JOIN cancelled ON cancelled.id = sale_lines.sale_id \gset
DELETE FROM payments USING cancelled WHERE payments.sale_id = cancelled.id;
\set changed :changed + :ROW_COUNT + :cascaded
DELETE FROM sales USING cancelled WHERE sales.id = cancelled.id;
\set changed :changed + :ROW_COUNT
DELETE FROM stock_moves WHERE id > :first AND id <= :first + 20 * :units;
\set changed :changed + :ROW_COUNT

COMMIT;

SELECT :changed;
