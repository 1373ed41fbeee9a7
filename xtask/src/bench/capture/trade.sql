-- One sale, as a till rings it, for pgbench: the customer and four articles are looked up, then twelve rows of six
-- tables are written, in one transaction.
--   pgbench --file=trade.sql --define=customers=2000 --define=articles=400
-- Each transaction locks a customer and then an article, in that order, so that no two wait for each other in a ring.
-- It runs in each of pgbench's protocols.
\set sale random(1, 9007199254740991)
\set customer random(1, :customers)
\set article random(1, :articles - 4)
\set cents random(500, 25000)
BEGIN;
SELECT full_name, owes FROM customers WHERE id = md5('branchline customer ' || :customer)::uuid;
SELECT id, label, price, duty FROM articles
WHERE branch_id = 'branch-' || 1 + (:article + 1) % 4 AND code = 'ART-' || lpad((:article + 1)::text, 6, '0');
SELECT id, label, price, duty FROM articles
WHERE branch_id = 'branch-' || 1 + (:article + 2) % 4 AND code = 'ART-' || lpad((:article + 2)::text, 6, '0');
SELECT id, label, price, duty FROM articles
WHERE branch_id = 'branch-' || 1 + (:article + 3) % 4 AND code = 'ART-' || lpad((:article + 3)::text, 6, '0');
SELECT id, label, price, duty FROM articles
WHERE branch_id = 'branch-' || 1 + (:article + 4) % 4 AND code = 'ART-' || lpad((:article + 4)::text, 6, '0');
INSERT INTO sales (id, branch_id, customer_id, staff_id, slip, state, sum, rung_at, changed_at)
VALUES (md5('till sale ' || :sale)::uuid, 'branch-' || 1 + :client_id % 4, md5('branchline customer ' || :customer)::uuid,
        md5('branchline staff ' || 1 + :customer % 40)::uuid, 'TILL-' || :sale, 'settled', :cents / 100.0, now(), now());
INSERT INTO sale_lines (sale_id, line, article_id, amount, each, changed_at)
SELECT md5('till sale ' || :sale)::uuid, line, md5('branchline article ' || :article + line)::uuid, line, :cents / 400.0, now()
FROM generate_series(1, 4) line;
INSERT INTO payments (id, sale_id, kind, paid, paid_at, changed_at)
VALUES (md5('till payment ' || :sale)::uuid, md5('till sale ' || :sale)::uuid, 'chip', :cents / 100.0, now(), now());
INSERT INTO stock_moves (article_id, sale_id, change, cause, moved_at)
SELECT md5('branchline article ' || :article + line)::uuid, md5('till sale ' || :sale)::uuid, -line, 'sold', now()
FROM generate_series(1, 4) line;
UPDATE customers SET owes = owes + :cents / 100.0, changed_at = now()
WHERE id = md5('branchline customer ' || :customer)::uuid;
UPDATE articles SET bought_at = :cents / 500.0, changed_at = now()
WHERE id = md5('branchline article ' || :article)::uuid;
COMMIT;
